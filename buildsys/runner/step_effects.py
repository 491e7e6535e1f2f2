"""What a step left in its environment files, or said with older commands, and what all steps of a job may leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from buildsys.runner.environment_files import (
    MAX_FILE,
    FileError,
    read_assignments,
    read_environment,
    read_paths,
)
from buildsys.runner.folder import JobFolder
from buildsys.runner.older_commands import read_older_commands
from buildsys.runner.recall import printed

MAX_ENVIRONMENT = 1 << 20
"""Bytes of the variables that a job's steps may set in all: more would not fit into a process."""

MAX_OUTPUTS = 16 << 20
"""Bytes of the outputs that a job's steps may have in all; the runner holds them until the job ends."""

MAX_PATHS = 1000


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """`problems` fail the step, `warnings` do not; both are lines for its log."""

    outputs: dict[str, str] = {}
    env: dict[str, str] = {}
    paths: tuple[str, ...] = ()
    summary: str | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        return (
            *(f"buildsys: warning: {line}" for line in self.warnings),
            *(f"buildsys: error: {line}" for line in self.problems),
        )


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps before have taken, in bytes and folders."""

    environment: int = 0
    outputs: int = 0
    paths: int = 0


def read_effects(folder: JobFolder, step: int, *, fixed: Mapping[str, str], taken: Room) -> Effects:
    """Read the files of a step. A file that cannot be used has no effect; the others have theirs."""
    return _Reading(folder, step).read(fixed, taken)


def size(values: Mapping[str, str]) -> int:
    """The bytes of names and values."""
    return sum(
        len(name.encode(errors="replace")) + len(value.encode(errors="replace")) for name, value in values.items()
    )


class _Reading:
    def __init__(self, folder: JobFolder, step: int) -> None:
        self._folder = folder
        self._step = step
        self._problems: list[str] = []
        self._warnings: list[str] = []

    def read(self, fixed: Mapping[str, str], taken: Room) -> Effects:
        return Effects(
            env=self._environment(fixed, taken),
            outputs=self._outputs(taken),
            paths=self._paths(taken),
            summary=self._summary(),
            problems=(*self._problems, *self._state()),
            warnings=tuple(self._warnings),
        )

    def _environment(self, fixed: Mapping[str, str], taken: Room) -> dict[str, str]:
        try:
            found, kept = read_environment(self._data("env"), fixed=fixed)
            _check_room(taken.environment + size(found), MAX_ENVIRONMENT, "the variables that the job's steps set")
        except FileError as error:
            self._problems.append(f"GITHUB_ENV: {error}")
            return {}
        if kept:
            self._warnings.append(f"GITHUB_ENV: default variables cannot be changed: {', '.join(kept)}")
        return found

    def _outputs(self, taken: Room) -> dict[str, str]:
        """Those of the file win over those of older commands."""
        older = read_older_commands(printed(self._folder, self._step))
        self._warnings += older.warnings
        self._problems += older.problems
        try:
            found = {**older.outputs, **read_assignments(self._data("output"))}
            _check_room(taken.outputs + size(found), MAX_OUTPUTS, "the outputs of the job's steps")
        except FileError as error:
            self._problems.append(f"GITHUB_OUTPUT: {error}")
            return {}
        return found

    def _paths(self, taken: Room) -> tuple[str, ...]:
        try:
            found = read_paths(self._data("path"))
        except FileError as error:
            self._problems.append(f"GITHUB_PATH: {error}")
            return ()
        if taken.paths + len(found) > MAX_PATHS:
            self._problems.append(f"GITHUB_PATH: the job's steps add more than {MAX_PATHS:,} folders")
            return ()
        return found

    def _summary(self) -> str | None:
        """One that is too large is not kept, which is no failure, as on GitHub."""
        try:
            data = self._data("summary")
        except FileError as error:
            self._warnings.append(f"GITHUB_STEP_SUMMARY was not kept: {error}")
            return None
        text = data.decode("utf-8-sig", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        return text or None

    def _state(self) -> tuple[str, ...]:
        """Nothing that is built in has a part that reads it; it is read so that what is wrong is said as on GitHub."""
        try:
            read_assignments(self._data("state"))
        except FileError as error:
            return (f"GITHUB_STATE: {error}",)
        return ()

    def _data(self, name: str) -> bytes:
        """Raises `FileError` for what is no file, cannot be read, or is too large."""
        try:
            data = self._folder.read(self._step, name, limit=MAX_FILE)
        except OSError as error:
            raise FileError(f"it cannot be read: {error.strerror}") from None
        if data is None:
            raise FileError(f"it is larger than {MAX_FILE >> 20} MiB")
        return data


def _check_room(needed: int, most: int, what: str) -> None:
    if needed > most:
        raise FileError(f"{what} are larger than {most >> 20} MiB in all")


def prepended(paths: Iterable[str]) -> tuple[str, ...]:
    """Folders in the order of PATH: what was added last goes first, and counts once."""
    return tuple(dict.fromkeys(reversed(tuple(paths))))
