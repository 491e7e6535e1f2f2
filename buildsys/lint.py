"""Workflow files examined where they lie, with the actions and workflows of their repository that they use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from buildsys.core.built_in import lacking_kind
from buildsys.core.definition import Action, Workflow
from buildsys.core.findings import Finding
from buildsys.core.uses import Use, check_action, check_called, in_circle, missing
from buildsys.core.workflow_file import Examined, examine_action, examine_workflow
from buildsys.core.yaml_source import MAX_BYTES

_PLACES = (".buildsys.yml", ".buildsys/*.yml", ".github/workflows/*.yml", ".github/workflows/*.yaml")
_ACTIONS = ("action.yml", "action.yaml")


class Linted(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found, by file and in the order of each, and the files' text by name."""

    findings: tuple[Finding, ...]
    sources: dict[str, bytes]


def workflows(folder: Path) -> tuple[Path, ...]:
    """The workflow files of a repository."""
    return tuple(path for place in _PLACES for path in sorted(folder.glob(place)) if path.is_file())


def workflows_in(folder: Path) -> tuple[Path, ...]:
    """The same, of a folder that may also be the one where a repository has its workflow files."""
    beside = workflows(_root(folder / "any"))
    return workflows(folder) or tuple(path for path in beside if path.parent.resolve() == folder.resolve())


def lint(files: Iterable[Path], *, texts: Mapping[Path, bytes] | None = None) -> Linted:
    """Examine files, and those of their repository that they use. Raises `OSError` where one cannot be read.

    Of those in `texts` these are the contents.
    """
    return _Linter(texts or {}).run(files)


class _Linter:
    def __init__(self, texts: Mapping[Path, bytes]) -> None:
        self._texts = texts
        self._examined: dict[Path, Examined] = {}
        self._sources: dict[str, bytes] = {}

    def run(self, files: Iterable[Path]) -> Linted:
        found: dict[Path, list[Finding]] = {}
        used_by: dict[Path, list[tuple[Use, Path]]] = {}
        ahead = deque((path, _root(path)) for path in files)
        while ahead:
            path, root = ahead.popleft()
            if path in found:
                continue
            examined = self._examine(path)
            found[path] = list(examined.findings)
            used_by[path] = []
            for use in examined.uses:
                used = _used(root, use)
                if used is None:
                    found[path].append(missing(use))
                else:
                    found[path] += self._check(use, used)
                    used_by[path].append((use, used))
                    ahead.append((used, root))
        for use, paths in _circles(used_by):
            found[paths[-1]].append(in_circle(use, paths))
        findings = tuple(finding for of_file in found.values() for finding in sorted(of_file))
        return Linted(findings=findings, sources=self._sources)

    def _examine(self, path: Path) -> Examined:
        if path not in self._examined:
            source = self._texts[path] if path in self._texts else _read(path)
            self._sources[str(path)] = source
            examine = examine_action if path.name in _ACTIONS else examine_workflow
            self._examined[path] = examine(source, file=str(path))
        return self._examined[path]

    def _check(self, use: Use, used: Path) -> Iterator[Finding]:
        """Whether what is used takes what it is given; nothing is said where it cannot be read or called."""
        match self._examine(used).value:
            case Action() as action if action.steps or lacking_kind(action.using):
                yield from check_action(use, action)
            case Workflow(on=on):
                yield from check_called(use, on)


def _circles(used_by: Mapping[Path, Sequence[tuple[Use, Path]]]) -> Iterator[tuple[Use, list[Path]]]:
    """What uses a file that leads to it again, and the files of that circle, the one that uses it last."""
    done: set[Path] = set()
    for first in used_by:
        way = [] if first in done else [first]
        ahead = [iter(used_by[path]) for path in way]
        while ahead:
            use, used = next(ahead[-1], (None, None))
            if use is None or used is None:
                ahead.pop()
                done.add(way.pop())
            elif used in way:
                yield use, way[way.index(used) :]
            elif used not in done:
                way.append(used)
                ahead.append(iter(used_by[used]))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _root(path: Path) -> Path:
    """The repository's folder, where a workflow file lies in its usual place; else the current one."""
    here = path.absolute()
    if here.parent.parts[-2:] == (".github", "workflows"):
        return Path(os.path.relpath(here.parents[2]))
    if here.parent.name == ".buildsys":
        return Path(os.path.relpath(here.parents[1]))
    return path.parent if path.name == ".buildsys.yml" else Path()


def _used(root: Path, use: Use) -> Path | None:
    """The file that is meant."""
    path = root / use.uses
    candidates = [path] if use.is_workflow else [path / name for name in _ACTIONS]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
