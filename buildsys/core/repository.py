"""The seam to a repository: what is read of it without a checkout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from buildsys.core.assignment import Credential


class WorkflowFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Workflow files by path, as they are at a commit, the first line of its message, and the commits before it."""

    files: Mapping[str, bytes]
    subject: str
    parents: tuple[str, ...] = ()


class Repository(Protocol):
    """Reads a repository. Raises `SourceError`; `NoSuchCommit` where the repository lacks what is asked for."""

    async def resolve(self, url: str, *, branch: str | None, credential: Credential | None) -> tuple[str, str]:
        """The commit at a branch's head (None: the default branch) and the branch's name."""

    async def tip(self, url: str, *, ref: str, credential: Credential | None) -> str | None:
        """The commit that a complete ref stands at, None where there is no such ref."""

    async def read_workflows(
        self, url: str, *, commit: str, ref: str | None, credential: Credential | None
    ) -> WorkflowFiles:
        """The workflow files at a commit."""

    async def changed(
        self, url: str, *, before: str, after: str, ref: str, credential: Credential | None
    ) -> tuple[str, ...] | None:
        """The files that differ between two commits; None where that cannot be told."""
