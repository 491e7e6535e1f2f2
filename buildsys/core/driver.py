"""The seam between a runner and what isolates a job.

A driver starts *one container a job* (the process driver's container is a process tree) whose first process, the
*init*, runs the job's steps one at a time. Runner and init speak through the job's folder and nothing else, so that
either may be killed and the other does not notice:

    FOLDER/control            a FIFO; the runner writes the number of the step to run, and a newline
    FOLDER/steps/N/run        the step's program: an executable `sh` script made by the runner
    FOLDER/steps/N/limits     `KEY=VALUE` lines for the init: `log_blocks` (of 512 bytes) and `marker` (hexadecimal)
    FOLDER/steps/N/started/   made by the init before it starts the step; a step that has it is not started again
    FOLDER/steps/N/log        what the step printed, stdout and stderr merged in exact order, then marker and nonce
    FOLDER/steps/N/status     `STATUS NONCE`: the exit status in decimal, put there by rename once the log holds both
    FOLDER/workspace          the commit, and the step's first working directory
    FOLDER/home, FOLDER/tmp   the job's own: HOME and TMPDIR name them, by whatever path they have in there

A step's stdin is /dev/null, its stdout and stderr one pipe that the init drains into `log`: a step that reopens
/dev/stdout truncates nothing. A step ends by its exit, not by EOF: when its first process has exited the init writes
the marker behind all that was printed before, with a nonce (hexadecimal digits and hyphens) that it makes up only then,
and after that the status; children left behind may print on, behind the two. So whoever finds the marker knows that the
log may end there, and whoever has the status knows where: a step that prints its own marker hides nothing. At
`log_blocks` the init stops writing, leaves the file `steps/N/truncated` and drains the pipe into nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Protocol

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a container may use: bytes of memory, CPUs (1.5 = one and a half), processes."""

    memory: int = 4 << 30
    cpus: float = 2.0
    pids: int = 4096


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are to a registry. It does not show its password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, password=…)"


class ImageBuild(msgspec.Struct, frozen=True, kw_only=True):
    """An image to be made of files in the job's workspace: `context` and `dockerfile` are paths below it.

    `arguments` stay readable in the image's history: they are no place for secrets.
    """

    context: str = "."
    dockerfile: str = "Dockerfile"
    target: str | None = None
    arguments: dict[str, str] = {}


class Equipment(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's container and its services have in common; all of it evaluated.

    An image is named, or built; `login` is for one that is named. `options` are those of a `planned.PlannedContainer`;
    `ports` are as in `8080:80/tcp` or `80`, and concern services only: a job's own are open to itself.
    """

    image: str | None = None
    build: ImageBuild | None = None
    login: Login | None = None
    env: dict[str, str] = {}
    options: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


class ServiceSpec(Equipment, frozen=True, kw_only=True):
    """A container beside the job's, which reaches it as `name`, and at `localhost` by its `ports`."""

    name: str


class ContainerSpec(Equipment, frozen=True, kw_only=True):
    """What to start. `name` is unique to the job and stable: it is how a restarted runner finds it again.

    `folder` is the job's folder on this host, made by the runner with everything in it readable and writable by any
    user, below a folder that only the runner can enter. `lifetime` (seconds) is when the first process ends itself and
    all that runs under it, whoever else is alive; services end then, too. `labels` go to the engine as they are.
    `limits` hold for the job's container and for each service. Only where an administrator trusts the project may
    `volumes` and options reach out to this host.
    """

    name: str
    folder: Path
    lifetime: float
    labels: dict[str, str] = {}
    limits: Limits = Limits()
    services: tuple[ServiceSpec, ...] = ()
    trusted: bool = False


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A service as it was started. `ports` are, by the service's own port, those at the job's `localhost`."""

    id: str
    ports: dict[str, str] = {}


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of a container now. `reason` tells why one that is not running stopped, if known.

    `network` is the engine's id of the one that the job shares with its `services`, empty without any.
    """

    id: str
    name: str
    running: bool
    reason: str | None = None
    labels: dict[str, str] = {}
    network: str = ""
    services: dict[str, ServiceStatus] = {}


def unheard(line: str) -> None:
    """Progress that nobody wants to hear of."""


class Driver(Protocol):
    """Starts, finds and removes containers. Raises `DriverError` and its kin, never the engine's own errors.

    A driver holds no state that matters: a new one in a new process finds every container again by its name.
    """

    name: str

    async def prepare(self, spec: ContainerSpec, progress: Callable[[str], None]) -> ContainerSpec:
        """Make its images usable here, pulling or building what is missing; `progress` gets a line now and then.

        Returns the spec to start, in which each image is named. One that is built needs the workspace in its place.
        Raises `ImageUnusable` for an image that does not exist, cannot be built, or, the job's own, has no `sh`;
        `ServiceFailed` for one of a service.
        """

    async def start(self, spec: ContainerSpec, progress: Callable[[str], None] = unheard) -> ContainerStatus:
        """Start the services, and when all are healthy the container and its init.

        Where one of this name exists it is returned as it is: idempotent. Raises `ServiceFailed` for a service that
        does not start, and tells `progress` what it printed last; `ContainerRefused` where the job's own settings are
        why its container does not start. Of services that ended at once `progress` is told, too.
        """

    def root(self, spec: ContainerSpec) -> PurePath:
        """The path at which steps see `spec.folder`."""

    async def inspect(self, name: str) -> ContainerStatus | None:
        """The container's status now, None where there is none."""

    async def terminate(self, name: str) -> None:
        """Ask everything in the container but its init to end: SIGTERM to the whole tree, setsid children included."""

    async def kill(self, name: str) -> None:
        """Kill everything in the container but its init, and return once it is gone.

        A step that takes pains to look like the init may stay at the first call; called again once that step has its
        status, nothing of it stays. Raises `ContainerAlive` for what would not go.
        """

    async def remove(self, spec: ContainerSpec) -> None:
        """Kill what still runs, remove the container and its services, and return once all of it is proven gone.

        They are found by the name alone.

        Also makes every file in `spec.folder` removable by the runner, whichever user wrote it; folders of the
        runner's own user may still be closed to it. Idempotent. Raises `ContainerAlive` naming what would not go.
        """

    async def list(self, labels: dict[str, str]) -> list[ContainerStatus]:
        """The container of every job that has all these labels, stopped ones included; services stand for none.

        A job of which only services are left is listed as one that is not running.
        """

    async def close(self) -> None:
        """Let go of the engine; containers go on."""
