"""Random expressions over hostile contexts, and random patterns: a value or an error with a place, in moments."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from fuzz_cases import CASES, fuzz
from fuzz_expressions import CONTEXTS, SECRET, VALUES, any_contexts, any_expression, any_pattern

from buildsys.core.expressions import (
    MAX_TEXT,
    PLACES,
    ExpressionError,
    Node,
    check,
    check_types,
    evaluate,
    is_true,
    names_of,
    parse_condition,
    parse_expression,
    parse_template,
    references,
    to_number,
    to_text,
)
from buildsys.core.glob import Glob
from buildsys.core.injection import strangers
from buildsys.core.payload_filter import parse_filter
from buildsys.runner.hash_files import FileHasher
from buildsys.runner.step_preparation import Status

PARSERS: tuple[tuple[Callable[[str], Node], str], ...] = (
    (parse_expression, "{}"),
    (parse_condition, "{}"),
    (parse_template, "{}"),
    (parse_template, "a ${{{{ {} }}}} b"),
    (parse_template, "${{{{ {} }}}}"),
)
GLOBS = (
    *"abAB01/.-_*?+[]!\\^$(){}|é😀\0\n",
    "**",
    "**/",
    "[a-z]",
    "[0-9]+",
    "[é😀]",
    "a?",
    "\\*",
    "[!a]",
    "*a",
    "[a-\0]",
)
PATHS = (
    *"ab/.*?[]!\\\0\né",
    "**",
    "**/",
    "/**",
    "../",
    "./",
    "[a-z]",
    "[!a]",
    "[^",
    "[z-a]",
    "*.py",
    "a*",
    "\n!",
    "#x",
)

FILTERS = (
    *(
        "body",
        ".",
        ".a",
        "[0]",
        "[-1]",
        "['a']",
        "body.a",
        "body.b.a",
        "[",
        "]",
        "(",
        ")",
        ",",
        "'x'",
        '"y"',
        "'",
        "1.5",
    ),
    *(
        " in ",
        " not in ",
        "!",
        "==",
        "!==",
        " && ",
        " || ",
        " and ",
        " or ",
        "null",
        "true",
        "undefined",
        " ",
        "\n",
        "\\",
    ),
)


def status_in(folder: Path) -> Status:
    """The surroundings of a step in a workspace with some files, one of which leads out of it."""
    for name in ("a", "b/a.py", "b/c/é", ".x/y", "[a]"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET)
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(".")
    hasher = FileHasher(folder=folder, seen_at=PurePosixPath("/workspace"))
    return Status(failed=False, canceled=False, hasher=hasher)


@pytest.mark.timeout(max(300, CASES))
def test_every_expression_is_a_value_or_an_error_with_its_place(tmp_path: Path) -> None:
    status = status_in(tmp_path)

    def check_one(text: str, chance: random.Random) -> None:
        parse, around = chance.choice(PARSERS)
        written = around.format(text)
        try:
            tree = parse(written)
        except ExpressionError as error:
            _check_error(error, written)
            return
        for place in (PLACES["jobs.<job_id>.if"], PLACES["jobs.<job_id>.steps.run"]):
            for problem in (*check(tree, place), *check_types(tree, condition=parse is parse_condition)):
                assert 0 <= problem.at <= len(written)
        assert all(reference.path[0] for reference in references(tree))
        assert all(0 <= stranger.at < len(written) for stranger in strangers(tree, {}))
        names_of("secrets", [tree])
        try:
            value = evaluate(tree, any_contexts(chance), status)
        except ExpressionError as error:
            _check_error(error, written)
            return
        assert len(to_text(value).encode()) <= 4 * MAX_TEXT
        to_number(value)
        is_true(value)

    fuzz(any_expression, check_one, cases=1500)


def _check_error(error: ExpressionError, written: str) -> None:
    assert 0 <= error.at <= len(written)
    assert str(error)
    assert SECRET not in str(error)


@pytest.mark.timeout(max(300, CASES))
def test_every_pattern_of_refs_and_paths_fits_what_it_says() -> None:
    def check_one(text: str, chance: random.Random) -> None:
        try:
            glob = Glob.parse(text)
        except ValueError:
            return
        for name in ("", text, any_pattern(chance, tuple("abA0/.-é\n")), "a" * chance.choice((1, 4000))):
            fits = glob.matches(name)
            if len(text) * len(name) < 1000:
                assert fits == _fits(_parts(text), name), name

    fuzz(lambda chance: any_pattern(chance, GLOBS), check_one, cases=2000)


def _parts(text: str) -> list[tuple[Callable[[str], bool], str]]:
    """A pattern that was read, in other words: what one character must be, and `?`, `+`, `*` or nothing behind it.

    `/` behind a part stands for it any number of times, and then a `/`, or not at all.
    """
    parts: list[tuple[Callable[[str], bool], str]] = []
    whole = text
    while text:
        if text.startswith("**"):
            folders = text.startswith("**/") and whole.removesuffix(text)[-1:] in ("", "/")
            parts.append((_is_any, "/" if folders else "*"))
            text = text[3 if folders else 2 :]
        elif text[0] == "*":
            parts.append((lambda character: character != "/", "*"))
            text = text[1:]
        elif text[0] in "?+":
            parts[-1] = (parts[-1][0], text[0])
            text = text[1:]
        elif text[0] == "[":
            listed, text = text[1:].split("]", 1)
            parts.append((_one_of(listed), ""))
        else:
            text = text.removeprefix("\\")
            parts.append((_one_of(text[0]), ""))
            text = text[1:]
    return parts


def _is_any(character: str) -> bool:
    return True


def _one_of(listed: str) -> Callable[[str], bool]:
    members: set[str] = set()
    while listed:
        if len(listed) > 2 and listed[1] == "-":
            members.update(map(chr, range(ord(listed[0]), ord(listed[2]) + 1)))
            listed = listed[3:]
        else:
            members.add(listed[0])
            listed = listed[1:]
    return members.__contains__


def _fits(parts: list[tuple[Callable[[str], bool], str]], name: str) -> bool:
    """Whether the whole name fits, by all the places in it that each part may end at."""
    ends = {0}
    for fits, repeated in parts:
        ends = _after(ends, fits, repeated, name)
    return len(name) in ends


def _after(begins: set[int], fits: Callable[[str], bool], repeated: str, name: str) -> set[int]:
    if repeated == "/":
        return begins | {end + 1 for end in range(min(begins, default=len(name)), len(name)) if name[end] == "/"}
    once = {begin + 1 for begin in begins if begin < len(name) and fits(name[begin])}
    if not repeated:
        return once
    reached, fresh = set(once), once
    while repeated in "*+" and fresh:
        fresh = {at + 1 for at in fresh if at < len(name) and fits(name[at])} - reached
        reached |= fresh
    return reached if repeated == "+" else reached | begins


@pytest.mark.timeout(max(300, CASES))
def test_every_pattern_of_hash_files_is_a_hash_or_an_error(tmp_path: Path) -> None:
    status = status_in(tmp_path)

    def check_one(patterns: tuple[str, ...], chance: random.Random) -> None:
        try:
            assert len(status.hash_files(patterns)) in (0, 64)
        except ExpressionError as error:
            _check_error(error, "")

    def make(chance: random.Random) -> tuple[str, ...]:
        return tuple(any_pattern(chance, PATHS) for _ in range(chance.choice((1, 1, 2, 5))))

    fuzz(make, check_one, cases=2000)


@pytest.mark.timeout(max(300, CASES))
def test_every_filter_of_payloads_says_whether_one_fits_or_what_is_wrong() -> None:
    def check_one(text: str, chance: random.Random) -> None:
        try:
            fits = parse_filter(text)
        except ValueError:
            return
        for payload in (*VALUES, {"a": list(VALUES), "b": {"a": "x"}}):
            assert fits(payload) in (True, False)

    fuzz(lambda chance: any_pattern(chance, FILTERS), check_one, cases=2000)


def test_the_contexts_hold_what_is_hidden() -> None:
    assert evaluate(parse_expression("secrets.x"), CONTEXTS) == SECRET
