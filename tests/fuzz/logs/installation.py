"""An installation of several processes on one Postgres, with roads between them that can be disturbed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiobotocore.session
import aiohttp
from postgres_server import pause, postmaster, resume
from proxy import Proxy
from roads import RoadOfReports, RoadToBucket, aside
from s3_server import ACCESS, SECRET, S3Server, s3_server
from system import System, until

from buildsys.postgres import EmbeddedPostgres

ARCHIVE_AFTER = "5"
SLOTS = "5"
BUCKET = "logs"
ANSWERED = 120.0
"""Seconds in which the API has answered, asked as often as it takes, while it is killed and paused.

A read from the archive is two calls of the bucket, and each ends within `buildsys.adapters.s3.PATIENCE`: 40 seconds.
"""

ATTEMPT = 60.0
"""Seconds after which one that asked asks again: longer than any answer may take."""

SETTLED = 300.0
"""Seconds in which whatever must happen has happened, disturbed or not."""


class Part(System):
    """A process with one role."""

    def __init__(self, folder: Path, role: str, **environment: str) -> None:
        super().__init__(folder, BUILDSYS_ROLES=role, **environment)
        self.name = folder.name
        self.role = role

    @property
    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text(errors="replace")

    def check(self) -> None:
        """It must not have ended by itself."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended by itself:\n{self.log[-4000:]}"

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def _ready(self) -> bool:
        if self.role == "api":
            return await super()._ready()
        self.check()
        if self.role == "runner":
            return True
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url):
                return True
        except aiohttp.ClientError:
            return False


class Installation:
    """What runs, and what can be disturbed of it."""

    api: Part
    orchestrators: list[Part]
    runner: Part
    to_api: Proxy
    reports: RoadOfReports
    bucket: RoadToBucket | None = None
    s3: S3Server

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self.longest = (0.0, "")

    @property
    def parts(self) -> list[Part]:
        return [self.api, *self.orchestrators, self.runner]

    async def ask(self, path: str, **headers: str) -> bytes:
        """What the API answers, once it does; `longest` is how long that has taken at most, and why."""
        failed: Counter[str] = Counter()
        began = asyncio.get_running_loop().time()

        async def answer() -> tuple[bytes] | None:
            timeout = aiohttp.ClientTimeout(total=ATTEMPT)
            try:
                async with aiohttp.ClientSession(self.api.url, headers=self.api.headers, timeout=timeout) as session:
                    async with session.get(f"/api/v1{path}", headers=headers) as response:
                        body = await response.read()
                        if response.status >= 500:
                            failed[f"{response.status} {body[:200]!r}"] += 1
                            return None
                        assert response.status == 200, f"{path}: {response.status} {body[:500]!r}"
                        return (body,)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failed[type(error).__name__] += 1
                return None

        try:
            answered: tuple[bytes] = await until(answer, within=ANSWERED)
        except TimeoutError:
            raise AssertionError(f"no answer to {path} in {ANSWERED:g} s: {dict(failed)}") from None
        self.longest = max(self.longest, (asyncio.get_running_loop().time() - began, f"{path}: {dict(failed)}"))
        return answered[0]

    async def push(self, secret: str, **push: Any) -> None:
        """Deliver a push, as often as it takes."""

        async def delivered() -> bool:
            try:
                return await self.api.push("simulated", secret, **push) == 202
            except (aiohttp.ClientError, OSError, TimeoutError):
                return False

        await until(delivered, within=ANSWERED, what="the push to be taken")

    def kill_postgres(self) -> None:
        os.kill(postmaster(self._cluster), signal.SIGKILL)

    def pause_postgres(self) -> None:
        pause(self._cluster)

    def resume_postgres(self) -> None:
        resume(self._cluster)

    @property
    def _cluster(self) -> Path:
        (pid,) = (self.folder / "postgres").glob("**/postmaster.pid")
        return pid.parent


@asynccontextmanager
async def installation(folder: Path, *, in_bucket: bool, chance: random.Random) -> AsyncIterator[Installation]:
    """Two orchestrators, the API and a runner apart; logs are archived soon, in a folder or in a bucket."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres", durable=False))
        running = Installation(folder, postgres)
        key = folder / "secret.key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        common = {
            "BUILDSYS_DATABASE_URL": postgres.dsn,
            "BUILDSYS_SECRET_KEY_FILE": str(key),
            "BUILDSYS_ARCHIVE_AFTER": ARCHIVE_AFTER,
            "BUILDSYS_MAX_RUNNING": "20",
            "BUILDSYS_BLOBS": str(folder / "blobs"),
        }
        if in_bucket:
            (folder / "s3").mkdir()
            running.s3 = stack.enter_context(s3_server(folder / "s3"))
            await _make_bucket(running.s3.url)
            running.bucket = await stack.enter_async_context(aside(RoadToBucket(running.s3.url)))
            endpoint = f"http://127.0.0.1:{running.bucket.port}"
            common["BUILDSYS_BLOBS"] = f"s3://{BUCKET}/simulated?endpoint={endpoint}&region=us-east-1"
            common |= {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
        running.api = await stack.enter_async_context(Part(folder / "api", "api", **common))
        running.orchestrators = [
            await stack.enter_async_context(Part(folder / f"orchestrator-{number}", "orchestrator", **common))
            for number in (1, 2)
        ]
        running.reports = await stack.enter_async_context(RoadOfReports(running.api.url, chance=chance))
        running.to_api = await stack.enter_async_context(Proxy(running.reports.port))
        token = (await running.api.call("POST", "/tokens", {"name": "runner", "role": "runner"}))["token"]
        running.runner = await stack.enter_async_context(
            Part(
                folder / "runner",
                "runner",
                BUILDSYS_SERVER_URL=f"http://127.0.0.1:{running.to_api.port}",
                BUILDSYS_TOKEN=token,
                BUILDSYS_SLOTS=SLOTS,
            )
        )
        try:
            yield running
        finally:
            running.resume_postgres()
            for part in running.parts:
                part.resume()
            running.to_api.heal()


async def _make_bucket(url: str) -> None:
    client = aiobotocore.session.get_session().create_client(
        "s3", region_name="us-east-1", endpoint_url=url, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET
    )
    async with client as s3:
        await asyncio.wait_for(s3.create_bucket(Bucket=BUCKET), 30)
