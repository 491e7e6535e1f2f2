"""The house holds: who may import whom, which words are not used, how long a file may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for room in ("actors", "buildsys", "tests", "examples")
    for path in sorted((ROOT / room).rglob("*.py"))
}
SOURCE = {module: path for module, path in FILES.items() if module.startswith(("actors.", "buildsys."))}

ROOMS = {
    "actors": set[str](),
    "buildsys.errors": set[str](),
    "buildsys.core": {"buildsys.errors"},
    "buildsys.store": {"buildsys.errors", "buildsys.core", "actors"},
    "buildsys.adapters": {"buildsys.errors", "buildsys.core"},
    "buildsys.objects": {"buildsys.errors", "buildsys.core", "buildsys.store", "actors"},
    "buildsys.runner": {"buildsys.errors", "buildsys.core"},
    "buildsys.web": {"buildsys.errors", "buildsys.core", "buildsys.store", "buildsys.objects", "actors"},
}
"""What each room may import beside itself. All else is the top floor, which may import anything."""

NOT_USED = {"task", "worker", "agent", "master", "slave", "manager", "handler", "helper", "helpers", "utils"}

PRESCRIBED = {("buildsys.web.middleware", "handler")}
"""Where a library calls by name: aiohttp passes `handler` to a middleware."""

LONGEST = 400


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    upward = [
        f"{module} imports {imported}"
        for module in SOURCE
        if _is_in(module, room)
        for imported in _imports(module)
        if not any(_is_in(imported, allowed) for allowed in (room, *ROOMS[room]))
    ]
    assert upward == []


def test_the_files_of_one_adapter_know_no_other() -> None:
    across = [
        f"{module} imports {imported}"
        for module in SOURCE
        if _is_in(module, "buildsys.adapters")
        for imported in _imports(module)
        if _is_in(imported, "buildsys.adapters") and _adapter(imported) != _adapter(module)
    ]
    assert across == []


def test_every_module_is_in_a_room_or_on_the_top_floor() -> None:
    rooms = {module.split(".")[1] for module in SOURCE if module.count(".") > 1 and module.startswith("buildsys.")}
    assert rooms - {room.partition(".")[2] for room in ROOMS} == {"cli"}


def test_actors_have_never_heard_of_a_build() -> None:
    heard = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("actors", "sql/actors", "sql/migrations/actors")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".sql")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "build" in line.lower()
    ]
    assert heard == []


def test_words_that_are_not_used() -> None:
    used = [
        f"{module}: {name}"
        for module in SOURCE
        for name in sorted(set(_names(module)))
        for word in NOT_USED & set(_words(name))
        if (module, name) not in PRESCRIBED and not (word == "task" and "asyncio" in _imported(module))
    ]
    assert used == []


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES.values()}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_pattern_is_possessive() -> None:
    """Python 3.11.2, which is Debian's, does not match what such a pattern matches."""
    possessive = [
        f"{module}:{line}: {pattern}"
        for module in SOURCE
        for line, pattern in _patterns(module)
        if re.search(r"[*+?}]\+", re.sub(r"\\.|\[[^]]+\]", "x", pattern))
    ]
    assert possessive == []


def test_no_error_is_raised_out_of_a_group() -> None:
    """Python 3.11.2, which is Debian's, wraps what an `except*` raises into one more group."""
    raising = [
        f"{module}:{part.lineno}"
        for module, path in SOURCE.items()
        for part in ast.walk(ast.parse(path.read_text()))
        if isinstance(part, ast.TryStar)
        and any(isinstance(each, ast.Raise) for clause in part.handlers for each in ast.walk(clause))
    ]
    assert raising == []


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _adapter(module: str) -> str:
    """`docker` for docker.py, docker_engine.py and the names they define."""
    return module.split(".")[2].partition("_")[0]


def _imports(module: str) -> set[str]:
    """What the module imports of ours, wherever in it; `from a.b import c` counts as `a.b`, or the module `a.b.c`."""
    return {name for name in _imported(module) if _is_in(name, "actors") or _is_in(name, "buildsys")}


def _imported(module: str) -> set[str]:
    found = set[str]()
    for node in ast.walk(_tree(module)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(origin), names=names, level=0):
                submodules = {f"{origin}.{alias.name}" for alias in names} & FILES.keys()
                found |= submodules if len(submodules) == len(names) else {origin, *submodules}
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{module} imports relatively")
    return found


def _names(module: str) -> Iterator[str]:
    """Every name that the module gives to something: classes, functions, parameters, variables, attributes."""
    for node in ast.walk(_tree(module)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
    yield module.rpartition(".")[2]


def _patterns(module: str) -> Iterator[tuple[int, str]]:
    """The regular expressions that the module compiles, and in which line."""
    for node in ast.walk(_tree(module)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr="compile"), args=[pattern, *_]):
                for part in ast.walk(pattern):
                    match part:
                        case ast.Constant(value=bytes() as text):
                            yield part.lineno, text.decode("latin-1")
                        case ast.Constant(value=str() as text):
                            yield part.lineno, text


def _words(name: str) -> list[str]:
    """The words of `snake_case` and `CamelCase` names, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def _tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())
