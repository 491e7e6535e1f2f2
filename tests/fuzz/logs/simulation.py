"""One run of the simulator, and what must hold after it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from functools import partial
from pathlib import Path

import asyncpg
from faults import Saboteur
from followers import Follower, Transcript, entry_of
from installation import SETTLED, Installation, installation
from system import Repository, until
from witness import Witness

PRINTER = Path(__file__).with_name("printer.py").read_text()
BUILDS = 3
"""Builds at a time."""

FOLLOWERS = 50


async def simulate(folder: Path, chance: random.Random, *, seconds: float, in_bucket: bool) -> None:
    """Disturb an installation at work for so long; raises for the first thing that is wrong."""
    async with Witness() as witness, installation(folder, in_bucket=in_bucket, chance=chance) as running:
        saboteur = Saboteur(chance=random.Random(chance.random()), running=running, witness=witness)
        run = _Run(running, witness, random.Random(chance.random()))
        await run.prepare()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(BUILDS):
                group.create_task(run.build())
            for _ in range(FOLLOWERS):
                group.create_task(run.follow())
            bucket = group.create_task(saboteur.disturb_bucket(end))
            await saboteur.disturb(end, at_last=end + SETTLED)
            await bucket
            run.over = running.reports.calm = True
        landed = saboteur.landed + running.reports.landed
        print(f"landed {dict(landed)}, missed {dict(saboteur.missed)}")
        print(f"builds {len(run.transcripts)}, steps {len(witness.printed)}, {dict(run.counts)}")
        print("longest until an answer {:.1f} s, {}".format(*running.longest))
        assert not saboteur.outstanding, f"never while lines were under way: {saboteur.outstanding}"
        assert landed.total() >= seconds / 5
        assert run.counts["read from rows"] > 0
        assert run.counts["read from the archive"] == len(witness.printed) > 0


class _Run:
    """Builds under way, and those who watch them."""

    def __init__(self, running: Installation, witness: Witness, chance: random.Random) -> None:
        self._running = running
        self._witness = witness
        self._chance = chance
        self._pushed = 0
        self.over = False
        self.transcripts: dict[str, Transcript] = {}
        self.live: set[str] = set()
        self.counts: Counter[str] = Counter()

    async def prepare(self) -> None:
        self._repository = Repository(self._running.folder / "repository")
        self._secret = await self._running.api.add_project("simulated", str(self._repository.path))

    async def build(self) -> None:
        """One build after the other; each is checked beside the next."""
        async with asyncio.TaskGroup() as checks:
            while not self.over:
                build, steps = await self._start()
                stopped = await until(partial(self._stopped, build), within=SETTLED, what=f"{build} to stop")
                self.live.discard(build)
                assert (stopped["outcome"], stopped["reason"]) == ("success", None), stopped
                checks.create_task(self._check(build, steps))

    async def follow(self) -> None:
        """One log after the other, each to its end."""
        chance = random.Random(self._chance.random())
        while not self.over or self.live:
            if not self.live:
                await asyncio.sleep(0.05)
                continue
            follower = Follower(self._running.api, self.transcripts[chance.choice(sorted(self.live))], chance)
            await follower.run()
            self.counts["followed"] += 1
            self.counts["connections"] += follower.connections
            self.counts["back inside a batch"] += follower.back_in_a_batch

    async def _start(self) -> tuple[str, list[tuple[str, int]]]:
        """Push a workflow of some jobs of some steps; the build, and its steps."""
        self._pushed += 1
        steps = [(f"job{job}", step) for job in range(self._chance.randint(1, 3)) for step in (1, 2)]
        lines = ["on: push", "jobs:"]
        for job in sorted({job for job, _ in steps}):
            lines += [f"  {job}:", "    runs-on: linux", "    steps:"]
            for step in (1, 2):
                command = f"{self._witness.port} {job}.{step} {self._chance.randrange(1 << 30)}"
                lines.append(f"      - run: python3 printer.py {command} {self._chance.uniform(2, 12):.1f}")
        commit = self._repository.commit({".buildsys.yml": "\n".join(lines) + "\n", "printer.py": PRINTER})
        await self._running.push(self._secret, commit=commit, delivery=f"push-{self._pushed}")
        build = str(await until(lambda: self._build_of(commit), within=SETTLED, what="the build to appear"))
        self.transcripts[build] = Transcript(build)
        self.live.add(build)
        return build, steps

    async def _build_of(self, commit: str) -> str | None:
        found = json.loads(await self._running.ask("/builds?project=simulated"))["builds"]
        return next((build["id"] for build in found if build["commit"] == commit), None)

    async def _stopped(self, build: str) -> dict[str, object] | None:
        found: dict[str, object] = json.loads(await self._running.ask(f"/builds/{build}"))
        return found if found["state"] == "stopped" else None

    async def _check(self, build: str, steps: list[tuple[str, int]]) -> None:
        for step in steps:
            await self._compare(build, *step)
            if await self._where(build) == "rows":
                self.counts["read from rows"] += 1
        await until(lambda: self._is_archived(build), within=SETTLED, what=f"{build} to be archived")
        for step in steps:
            await self._compare(build, *step)
            self.counts["read from the archive"] += 1
        verdict = json.loads(await self._running.ask(f"/builds/{build}/logs/verification"))
        assert verdict["state"] == "complete", verdict
        await self._compare_cursors(build, steps)

    async def _compare(self, build: str, job: str, step: int) -> None:
        """The step's log is what the witness heard."""
        text = await self._running.ask(f"/builds/{build}/logs?job={job}&step={step}", Accept="text/plain")
        printed = bytes(self._witness.printed[build, job, step])
        assert self._witness.starts.count((build, job, step)) == 1, f"{build} {job}.{step} was started again"
        assert text == printed, f"{build} {job}.{step}: {difference(printed, text)}"

    async def _compare_cursors(self, build: str, steps: list[tuple[str, int]]) -> None:
        """What followers saw is what the archive has, at the same cursors."""
        transcript = self.transcripts[build]
        found = []
        part = {"next": 0, "end": False}
        while not part["end"]:
            part = json.loads(await self._running.ask(f"/builds/{build}/logs?limit=10000&after={part['next']}"))
            found += [(entry["cursor"], entry_of(entry)) for entry in part["entries"]]
        assert [cursor for cursor, _ in found] == list(range(1, len(found) + 1))
        seen = transcript.entries
        assert not transcript.ended or len(seen) == len(found), f"{build}: {len(seen)} seen, {len(found)} archived"
        for (cursor, archived), live in zip(found, seen, strict=False):
            assert archived == live, f"{build}, {cursor}: {live} live, {archived} in the archive"
        self.counts["entries"] += len(found)
        if transcript.ended:
            self.counts["whole logs seen live"] += 1
            for job, step in steps:
                assert transcript.printed(job, step) == bytes(self._witness.printed[build, job, step])

    async def _where(self, build: str) -> str:
        """Where the log is read from now, if the database says."""
        try:
            connection = await asyncpg.connect(self._running.postgres.dsn)
            try:
                archived = await connection.fetchval("SELECT count(*) FROM log_archives WHERE build = $1", build)
                rows = await connection.fetchval("SELECT count(*) FROM log_records WHERE build = $1", build)
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return "unknown"
        return "both" if archived and rows else "archive" if archived else "rows"

    async def _is_archived(self, build: str) -> bool:
        return await self._where(build) == "archive"


def difference(printed: bytes, text: bytes) -> str:
    """Where two texts part, in words."""
    at = next((i for i, (a, b) in enumerate(zip(printed, text, strict=False)) if a != b), min(len(printed), len(text)))
    around = slice(max(0, at - 60), at + 60)
    return f"{len(printed)} bytes printed, {len(text)} read; from {at} on {printed[around]!r} is {text[around]!r}"
