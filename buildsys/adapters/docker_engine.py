"""The way to a Docker engine: its socket, one client, a deadline for every question, our errors in place of its own."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Coroutine, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import aiodocker
import aiohttp

from buildsys.errors import DriverError, SetupError, first_error

DEFAULT_SOCKET = Path("/var/run/docker.sock")
DEADLINE = 60.0
"""Seconds for one answer. A kill or the end of a network takes a busy engine some; what takes a minute is stuck."""

BAD_REQUEST, NOT_FOUND, CONFLICT = 400, 404, 409
_ARCHIVE = {"Content-Type": "application/x-tar"}
_UNREACHABLE = 900  # aiodocker's own status for an engine that did not take the call

T = TypeVar("T")


class DockerUnavailable(DriverError):
    """No engine answers on its socket; the message says what to do about it."""

    code = "docker_unavailable"
    status = 503


class EngineRefused(DriverError):
    """The engine's answer was an error: `http_status` and `text` are its own."""

    def __init__(self, message: str, *, http_status: int, text: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.text = text


def engine_socket(host: str | None = None) -> Path:
    """The engine's socket as `host` names it, else as DOCKER_HOST does, else where Docker puts it.

    Raises `SetupError` for an engine behind a network: a container gets its job's folder by a bind mount, so the
    engine must be on this host.
    """
    host = host or os.environ.get("DOCKER_HOST")
    if not host:
        return DEFAULT_SOCKET
    if not host.startswith("unix://"):
        raise SetupError(f"DOCKER_HOST is {host!r}; jobs need an engine on this host: use unix:///PATH or unset it")
    return Path(host.removeprefix("unix://"))


async def together(*parts: Coroutine[Any, Any, T]) -> list[T]:
    """The results of all, run at once. The first error ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(part) for part in parts]
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    return [each.result() for each in running]


class Engine:
    """A client of the engine at a socket, opened at first use. It speaks the engine's own API version."""

    def __init__(self, *, socket: Path) -> None:
        self.socket = socket
        self._connector: aiohttp.UnixConnector | None = None
        self._client: aiodocker.Docker | None = None

    @property
    def client(self) -> aiodocker.Docker:
        if self._client is None:
            # No limit: waits and pulls hold their connections for long, and must not starve a kill.
            self._connector = aiohttp.UnixConnector(str(self.socket), limit=0)
            self._client = aiodocker.Docker(url="http://docker", connector=self._connector)
        return self._client

    @property
    def is_open(self) -> bool:
        return self._client is not None

    async def ask(self, question: Awaitable[T], *, deadline: float | None = DEADLINE) -> T:
        """The engine's answer. Raises `EngineRefused` and `DockerUnavailable`."""
        try:
            async with asyncio.timeout(deadline):
                return await question
        except aiodocker.DockerError as error:
            raise self.translated(error) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise DockerUnavailable(f"the Docker engine at {self.socket} broke off: {error}") from error
        except TimeoutError as error:
            raise DockerUnavailable(f"the Docker engine at {self.socket} gave no answer for {deadline:g} s") from error

    async def find(self, question: Awaitable[T]) -> T | None:
        """The engine's answer, None where it knows no such thing."""
        try:
            return await self.ask(question)
        except EngineRefused as error:
            if error.http_status == NOT_FOUND:
                return None
            raise

    async def build(
        self, context: BinaryIO | AsyncIterable[bytes], options: Mapping[str, str]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Have an image built of an archive, and yield the engine's reports; the last may be an `error`.

        Left early, the engine gives up building. Raises as `ask` does.
        """
        await self.ask(self.client.version())  # says what is wrong where there is no engine, and opens the connector
        whole = aiohttp.ClientTimeout(total=None)
        try:
            async with (
                aiohttp.ClientSession(connector=self._connector, connector_owner=False, timeout=whole) as session,
                session.post("http://docker/build", params=options, data=context, headers=_ARCHIVE) as response,
            ):
                if response.status != HTTPStatus.OK:
                    text = str((await response.json(content_type=None)).get("message", response.reason))
                    raise EngineRefused(f"the Docker engine says: {text}", http_status=response.status, text=text)
                rest = b""
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in filter(bytes.strip, lines):
                        yield json.loads(line)
                if rest.strip():
                    yield json.loads(rest)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise DockerUnavailable(f"the Docker engine at {self.socket} broke off: {error}") from error

    async def run(self, config: dict[str, Any]) -> int:
        """Run a container to its end, leave nothing of it, and return its exit status."""
        container = await self.ask(self.client.containers.create(config))
        try:
            await self.ask(container.start())
            return int((await self.ask(container.wait()))["StatusCode"])
        finally:
            await self.ask(container.delete(force=True, v=True))

    def translated(self, error: aiodocker.DockerError) -> DriverError:
        if error.status == _UNREACHABLE:
            return DockerUnavailable(f"no Docker engine at {self.socket}: {self._way_out(error.__context__)}")
        return EngineRefused(f"the Docker engine says: {error.message}", http_status=error.status, text=error.message)

    def _way_out(self, cause: BaseException | None) -> str:
        number = getattr(cause, "errno", None)
        if number == errno.ENOENT:
            return "install one (Debian: apt-get install docker.io) or name its socket in DOCKER_HOST"
        if number == errno.EACCES:
            return "this user may not use it; add the user to the group `docker` and log in again"
        if number == errno.ECONNREFUSED:
            return "the socket is there but nobody listens; start the engine (systemctl start docker)"
        return str(cause)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._connector is not None:
            await self._connector.close()
        self._client = self._connector = None
