"""What is looked for in a Dockerfile before the engine builds it: the images it starts from, and what it may not do.

`ADD` of a URL is fetched by the engine itself, with this host's place in the network and without any of what holds for
jobs. So ADD takes plain paths only, of which nothing can be made that is a URL. What `RUN` does, a container does.

Readers of Dockerfiles differ in what a line is. So the engine does not get the file but the instructions found in it,
each in one line and without comments or parser directives, and `FROM` with the image it comes to. What could still be
read in two ways (control characters, a doubled backslash at a line's end, here-documents) is refused.

Source: the Dockerfile reference (parser directives, line continuation, `FROM`, `ARG`, `ADD`, variables).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

import msgspec

from buildsys.errors import ImageNotBuilt

_WORD = re.compile(
    "ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME"
    "|WORKDIR"
)
_BLANK = " \t"
_SPACE = re.compile(r"[ \t]+")
_UNCLEAR = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff]")
_OTHER_ESCAPE = re.compile(r"\s*#\s*escape\s*=\s*[^\\\s]", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(r"(?<!<)<<(?!<)")
_ADD_FLAG = re.compile(r"--(?:chown|chmod)=[\w:.${}-]+")
_PLAIN_PATH = re.compile(r"[^:$\\\"'`]+")
_PLAIN_TARGET = re.compile(r"[^:\\\"'`\[\]]+")
_PLATFORM = re.compile(r"--platform=([\w/.${}-]+)")
_IMAGE = re.compile(r"[\w.:/@-]*")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::(?P<sign>[-+])(?P<other>[^}]*))?\}|(?P<plain>\w+))")


class Base(msgspec.Struct, frozen=True):
    """An image that a Dockerfile starts from, and the platform that it names with it."""

    image: str
    platform: str = ""


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile that may be built: `text` is what the engine gets of it."""

    text: str
    bases: tuple[Base, ...]


def read_dockerfile(text: str, arguments: Mapping[str, str]) -> Dockerfile:
    """The file as it may be built. Raises `ImageNotBuilt`, with the line's number, for what it may not do."""
    lines: list[str] = []
    bases: list[Base] = []
    stages = {"scratch"}
    values: dict[str, str] = {}
    began = False
    for number, line in _instructions(text):
        try:
            word, rest = check_instruction(line)
            if word == "ARG" and not began:  # only those before the first FROM are known to a FROM
                for name, value in _declared(rest):
                    values[name] = arguments.get(name, _expand(value, values))
            elif word == "FROM":
                began = True
                base, stage = _base(rest, values)
                if base.image.lower() not in stages:
                    bases.append(base)
                stages.update(each.lower() for each in stage[1:])
                rest = " ".join([base.image, *stage])
        except ImageNotBuilt as error:
            raise ImageNotBuilt(f"line {number}: {error}") from None
        lines.append(f"{word} {rest}\n")
    return Dockerfile(text="".join(lines), bases=tuple(bases))


def check_instruction(line: str) -> tuple[str, str]:
    """The instruction in capitals, and what follows it.

    Raises `ImageNotBuilt` for an ADD, now or in a later build, of what is no file of the context, and for what only
    some engines know.
    """
    found, _, rest = _SPACE.sub(" ", line.strip(_BLANK), count=1).partition(" ")
    word = found.upper()
    if not found.isascii() or not _WORD.fullmatch(word):
        raise ImageNotBuilt(f"{found[:80]!r} is no instruction of a Dockerfile")
    if _HERE_DOCUMENT.search(rest):
        raise ImageNotBuilt(f"{word}: here-documents (<<) are not built in; use printf, or COPY a file")
    if rest.endswith("\\"):
        raise ImageNotBuilt(f"{word}: a backslash at the end, with nothing that it continues with; leave it out")
    if word == "ONBUILD":
        check_instruction(rest)
    elif word == "ADD":
        _check_added(rest)
    elif word == "RUN" and rest.startswith("--"):
        raise ImageNotBuilt(f"RUN {rest.split()[0][:80]}: options of RUN are not built in; leave it out")
    return word, rest


def check_triggers(image: str, triggers: list[str]) -> None:
    """The same for what an image has to be done in the builds that start from it."""
    for trigger in triggers:
        try:
            for _, line in _instructions(trigger):
                check_instruction(line)
        except ImageNotBuilt as error:
            raise ImageNotBuilt(f"the image {image} wants in every build: {error}") from None


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Each instruction in one line, with the number of the line that it begins in."""
    text = text.replace("\r\n", "\n")
    if unclear := _UNCLEAR.search(text):
        number = text.count("\n", 0, unclear.start()) + 1
        raise ImageNotBuilt(f"line {number}: the character {unclear[0]!a} is not built in; write a plain space")
    whole, began = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if _OTHER_ESCAPE.match(line):
            raise ImageNotBuilt(f"line {number}: an escape character other than \\ is not built in")
        shown = line.strip(_BLANK)
        if not shown or shown.startswith("#"):
            continue
        if shown.endswith("\\\\"):
            raise ImageNotBuilt(f"line {number}: engines differ in what \\\\ at a line's end means; end it otherwise")
        began = began or number
        whole += line.rstrip(_BLANK).removesuffix("\\")
        if not shown.endswith("\\"):
            yield began, whole
            whole, began = "", 0
    if whole.strip(_BLANK):
        yield began, whole


def _check_added(rest: str) -> None:
    words = rest.split()
    while words and words[0].startswith("--"):
        if not _ADD_FLAG.fullmatch(words[0]):
            raise ImageNotBuilt(f"ADD {words[0][:80]}: of ADD's options only plain --chown and --chmod are built in")
        del words[0]
    if words and words[0].startswith("["):
        paths = _listed(" ".join(words))
    else:
        paths = words[:-1]
        if words and not _PLAIN_TARGET.fullmatch(words[-1]):
            raise ImageNotBuilt(f"ADD to {words[-1][:80]}: only files of the context can be added, to a plain path")
    for path in paths:
        if not _PLAIN_PATH.fullmatch(path):
            raise ImageNotBuilt(f"ADD {path[:80]}: only files of the context can be added; fetch others with RUN")


def _listed(text: str) -> list[str]:
    """All paths of ADD's other form, the target too: what one reader takes for a list, another takes for words."""
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        return [text]


def _base(rest: str, values: Mapping[str, str]) -> tuple[Base, list[str]]:
    """The image, and the words after it."""
    words = rest.split()
    platform = ""
    while words and words[0].startswith("--"):
        flag = _PLATFORM.fullmatch(words.pop(0))
        if flag is None:
            raise ImageNotBuilt("FROM: of its options only --platform is built in")
        platform = _expand(flag[1], values)
    image, *stage = words or [""]
    image = _expand(image, values)
    if not _IMAGE.fullmatch(image):
        raise ImageNotBuilt(f"FROM {image[:80]}: this is no image's name")
    return Base(image, platform), stage


def _declared(rest: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(rest)
    except ValueError:
        raise ImageNotBuilt(f"ARG {rest[:80]}: a quote is not closed") from None
    for each in words:
        name, _, value = each.partition("=")
        yield name, value


def _expand(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        known = values.get(found["braced"] or found["plain"], "")
        if found["sign"] == "+":
            return (found["other"] or "") if known else ""
        return known or found["other"] or ""

    return _VARIABLE.sub(value, text)
