"""Repositories for tests: made by real git, and served over real HTTP by `git http-backend` on loopback."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

CLEAN = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{role}_{part}": "tester@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return what it printed."""
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], env=CLEAN, check=True, capture_output=True, text=True
    ).stdout.strip()


class Repository:
    """A repository with a working tree at `path`; it may be fetched from there or through a `GitServer`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        git(path, "init", "--quiet", "--initial-branch=main")
        git(path, "config", "http.receivepack", "false")

    def commit(self, files: Mapping[str, str], message: str = "Change files") -> str:
        """Commit the files' new contents and return the commit's name."""
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        git(self.path, "add", "--all")
        git(self.path, "commit", "--quiet", "--allow-empty", f"--message={message}")
        return git(self.path, "rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        git(self.path, "checkout", "--quiet", "-B", name)


class GitServer:
    """Serves every repository below `root` at `url`/NAME/.git. `requests` keeps each request's line, for a look at it.

    With `password` the user `builder` must give it. `old` answers in the protocol's first version, in which a server
    sends no commit that is not the tip of a ref.
    """

    def __init__(self, root: Path, *, password: str | None = None, old: bool = False) -> None:
        self._root = root
        self._password = password
        self._old = old
        self.requests: list[str] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.raw_path}")
        if not self._is_allowed(request.headers.get("Authorization", "")):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=CLEAN
            | {
                "GIT_PROJECT_ROOT": str(self._root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": "" if self._old else request.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": request.method,
                "PATH_INFO": request.path,
                "QUERY_STRING": request.query_string,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            },
        )
        answer, _ = await process.communicate(await request.read())
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=body)

    def _is_allowed(self, authorization: str) -> bool:
        if self._password is None:
            return True
        expected = "Basic " + base64.b64encode(f"builder:{self._password}".encode()).decode()
        return hmac.compare_digest(authorization, expected)


@asynccontextmanager
async def git_server(root: Path, *, password: str | None = None, old: bool = False) -> AsyncIterator[GitServer]:
    """A running `GitServer` over the repositories below `root`."""
    server = GitServer(root, password=password, old=old)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.serve)
    running = TestServer(application)
    await running.start_server()
    server.url = str(running.make_url("")).rstrip("/")
    try:
        yield server
    finally:
        await running.close()
