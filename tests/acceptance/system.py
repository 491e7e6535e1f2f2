"""The product as its users have it: `buildsys up` as a process of its own, spoken to over HTTP, killed for real."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import aiohttp

PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[Any]], *, within: float = PATIENCE, what: str = "") -> Any:
    """What the condition returns once it is true; fails when that takes too long."""
    async with asyncio.timeout(within):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.02)
    raise AssertionError(what)


class System:
    """One `buildsys up` on a data folder. `kill` is SIGKILL to that process alone; `start` may follow it."""

    def __init__(self, folder: Path, *, driver: str = "process", **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "BUILDSYS_DATA_DIR": str(folder),
            "BUILDSYS_LISTEN": f"127.0.0.1:{self.port}",
            "BUILDSYS_DRIVER": driver,
            "BUILDSYS_ALLOW_LOCAL_REPOSITORIES": "true",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        installation = (self.folder / "installation").read_text().strip()
        shutil.rmtree(f"/var/tmp/buildsys-{os.geteuid()}-{installation}", ignore_errors=True)  # see `jobs_folder`

    async def start(self) -> None:
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "buildsys", "up"], env=self._environment, stdout=log, stderr=log
            )
        await until(self._ready, what="the server to be ready")

    async def stop(self) -> None:
        """As an operator stops it: SIGTERM, and it leaves nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            await asyncio.to_thread(self.process.wait, 60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    @property
    def token(self) -> str:
        return (self.folder / "admin.token").read_text().strip()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the API; raises for an error status."""
        async with aiohttp.ClientSession(self.url, headers=self.headers) as session:
            async with session.request(method, f"/api/v1{path}", json=body) as response:
                text = await response.text()
                assert response.status < 400, f"{method} {path}: {response.status} {text}"
                return json.loads(text) if text else None

    async def add_project(self, name: str, repository: str, **settings: Any) -> str:
        """Register a project; returns the secret its webhook is signed with."""
        await self.call("POST", "/projects", {"name": name, "repository": repository, **settings})
        return str((await self.call("GET", f"/projects/{name}/webhook"))["secret"])

    async def push(
        self,
        project: str,
        secret: str,
        *,
        commit: str,
        branch: str = "main",
        title: str = "A change",
        delivery: str | None = None,
    ) -> int:
        """Deliver a push of a branch; the status of the answer."""
        payload = {
            "ref": f"refs/heads/{branch}",
            "before": "0" * 40,
            "after": commit,
            "deleted": False,
            "repository": {"full_name": f"example/{project}", "clone_url": "https://example.invalid/x.git"},
            "head_commit": {"id": commit, "message": title},
        }
        return await self.deliver(project, secret, event="push", payload=payload, delivery=delivery)

    async def deliver(
        self, project: str, secret: str, *, event: str, payload: dict[str, Any], delivery: str | None = None
    ) -> int:
        """Deliver a signed event as GitHub does; the status of the answer."""
        body = json.dumps(payload).encode()
        headers = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
            "Content-Type": "application/json",
        }
        async with aiohttp.ClientSession(self.url) as session:
            async with session.post(f"/hooks/github/{project}", data=body, headers=headers) as response:
                return response.status

    async def build(self, id: str) -> dict[str, Any]:
        return dict(await self.call("GET", f"/builds/{id}"))

    async def builds(self, project: str) -> list[dict[str, Any]]:
        return list((await self.call("GET", f"/builds?project={project}"))["builds"])

    async def only_build(self, project: str) -> str:
        """The id of a project's one build, once it is there."""
        found = await until(lambda: self.builds(project), what="the build to appear")
        assert len(found) == 1
        return str(found[0]["id"])

    async def stopped(self, id: str, *, within: float = PATIENCE) -> dict[str, Any]:
        """The build, once it is stopped."""

        async def look() -> dict[str, Any] | None:
            build = await self.build(id)
            return build if build["state"] == "stopped" else None

        return dict(await until(look, within=within, what="the build to stop"))

    async def text(self, id: str, *, job: str | None = None, step: int | None = None) -> bytes:
        """What the build printed, from history."""
        query = "&".join(f"{k}={v}" for k, v in (("job", job), ("step", step)) if v is not None)
        headers = {**self.headers, "Accept": "text/plain"}
        async with aiohttp.ClientSession(self.url, headers=headers) as session:
            async with session.get(f"/api/v1/builds/{id}/logs?{query}") as response:
                response.raise_for_status()
                return await response.read()

    async def events(self, id: str, *, after: str | None = None) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
        """The live log as (id, event, data), until it ends or the connection breaks."""
        headers = {**self.headers, "Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with aiohttp.ClientSession(self.url, headers=headers, timeout=timeout) as session:
            async with session.get(f"/api/v1/builds/{id}/logs") as response:
                if response.status == 204:
                    return
                response.raise_for_status()
                fields: dict[str, str] = {}
                async for raw in response.content:
                    line = raw.decode().rstrip("\n")
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    elif "data" in fields:
                        yield fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])
                        fields = {}

    async def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}, see {self.folder}.log")
        try:
            async with aiohttp.ClientSession(self.url) as session, session.get("/readyz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


class Follower:
    """A client of the live log that reconnects as browsers do, and keeps every line with its cursor."""

    def __init__(self, system: System, build: str) -> None:
        self._system = system
        self._build = build
        self._last: str | None = None
        self.lines: list[tuple[int, str, int | None, str]] = []
        self.connections = 0
        self.ended = asyncio.Event()

    async def run(self) -> None:
        while not self.ended.is_set():
            self.connections += 1
            try:
                async for id, event, data in self._system.events(self._build, after=self._last):
                    self._last = id or self._last
                    if event == "lines":
                        self.lines += [
                            (data["first"] + i, data["job"], data["step"], line) for i, line in enumerate(data["lines"])
                        ]
                    elif event == "end":
                        self.ended.set()
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)

    def printed(self, step: int) -> list[str]:
        return [line for _, _, number, line in self.lines if number == step]


class Repository:
    """A real git repository on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self._git("init", "-q", "-b", "main")
        self._git("config", "uploadpack.allowAnySHA1InWant", "true")

    def commit(self, files: dict[str, str], *, branch: str = "main") -> str:
        """Commit the files on a branch; the commit."""
        if branch != self._git("symbolic-ref", "--short", "HEAD"):
            self._git("checkout", "-q", "-B", branch)
        for name, text in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "A change")
        return self._git("rev-parse", "HEAD")

    def workflow(self, text: str, *, branch: str = "main") -> str:
        return self.commit({".buildsys.yml": text}, branch=branch)

    def _git(self, *arguments: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": f"a{'@example.invalid' if what == 'EMAIL' else ''}"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()
