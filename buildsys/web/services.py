"""What is given to the web application: the stores it reads, and those who do what it is asked for."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

import msgspec

from buildsys.core.assignment import Poll, PollReply, Report, ReportReply
from buildsys.core.logs import LogReader
from buildsys.core.project import Project
from buildsys.core.seal import Verdict
from buildsys.store.builds import Builds
from buildsys.store.deliveries import Deliveries
from buildsys.store.projects import Projects
from buildsys.store.secrets import Secrets, Variables
from buildsys.store.tokens import Tokens


class Builder(Protocol):
    """Does what people ask of builds."""

    async def start(
        self,
        project: Project,
        *,
        ref: str | None,
        commit: str | None,
        workflow: str,
        inputs: dict[str, Any],
        by: str,
    ) -> list[UUID]:
        """Queue builds of what is at a ref, or of a commit; of all workflows, or of one. `SourceError`, `Invalid`."""

    async def cancel(self, build: UUID, *, by: str) -> None:
        """Order a build to end; returns once the order is stored. A stopped build stays as it is."""

    async def retry(self, build: UUID) -> UUID:
        """Queue a stopped build's next attempt. Raises `NotFound`, `Conflict`."""


class Dispatcher(Protocol):
    """Answers runners."""

    async def poll(self, poll: Poll, *, token: UUID | None = None) -> PollReply:
        """Answer at once with news, else after `poll.wait` seconds. Raises `Forbidden` for another token's runner."""

    async def report(self, report: Report, *, token: UUID | None = None) -> ReportReply:
        """Store the items that go on from the stored position, and say where it stands now."""


class Hints(Protocol):
    """Tells and hears that something of a topic is new. A hint may be lost, doubled or come for nothing."""

    def send(self, topic: str) -> None:
        """Tell all who listen; never waits and never fails."""

    def subscribe(self, topic: str) -> AbstractContextManager[asyncio.Event]:
        """An event that every hint of the topic sets; the reader clears it before it looks."""


class Verification(Protocol):
    """Proves logs."""

    async def verify(self, build: UUID) -> Verdict:
        """What the build's log is worth. Raises `NotFound`."""


class Ready(Protocol):
    """Raises what keeps the system from serving: the database does not answer, or its schema is another one."""

    async def __call__(self) -> None: ...


class LearnSchedules(Protocol):
    """Has the schedules in a project's workflows learned anew, soon."""

    async def __call__(self, project: UUID) -> None: ...


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What is read, and written where nobody owns it."""

    projects: Projects
    builds: Builds
    deliveries: Deliveries
    logs: LogReader
    tokens: Tokens
    secrets: Secrets
    variables: Variables


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the installation says.

    `public_url` is how people and forges reach us. `session_key` (32 random bytes, the same on all nodes) seals the
    page's sessions. `allow_local_repositories` lets projects name a path on the disk of runners and of ours.
    """

    public_url: str
    session_key: bytes
    allow_local_repositories: bool = False

    def __repr__(self) -> str:
        return f"WebSettings({self.public_url!r})"
