"""Faults, each chosen by chance, and which of them hit while lines were under way."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from installation import SETTLED, Installation, Part
from proxy import Way
from roads import RoadToBucket
from system import until as wait_for
from witness import Witness

LEASE = 12.0
"""Seconds after which an orchestrator that is silent loses its builds to the other."""

WAYS: list[tuple[Way, ...]] = [("there",), ("back",), ("there", "back")]


class Saboteur:
    """Disturbs one thing at a time and mends it before the next. A fault has landed if steps printed meanwhile."""

    def __init__(self, *, chance: random.Random, running: Installation, witness: Witness) -> None:
        self._chance = chance
        self._running = running
        self._witness = witness
        self._began = asyncio.get_running_loop().time()
        self.landed: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.faults: dict[str, Callable[[], Awaitable[bool]]] = {
            "orchestrator killed": lambda: self._kill(chance.choice(running.orchestrators)),
            "api killed": lambda: self._kill(running.api),
            "runner killed": lambda: self._kill(running.runner),
            "postgres killed": self._kill_postgres,
            "postgres paused": self._pause_postgres,
            "all killed": self._kill_all,
            "orchestrator paused": lambda: self._pause(chance.choice(running.orchestrators)),
            "api paused": lambda: self._pause(running.api),
            "runner paused": lambda: self._pause(running.runner),
            "road cut": self._cut,
        }

    @property
    def outstanding(self) -> list[str]:
        """What has not landed yet."""
        return [name for name in self.faults if not self.landed[name]]

    async def disturb(self, until: float, *, at_last: float) -> None:
        """One fault after the other until that time of the loop, and on until each has landed, or it is the last."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < until or (self.outstanding and now < at_last):
            name = self._chance.choice(self.outstanding or list(self.faults))
            await wait_for(self._printing, within=SETTLED, what="a step to print")
            began, before = loop.time(), self._witness.bytes
            hit = await self.faults[name]()
            landed = hit and self._witness.bytes > before
            (self.landed if landed else self.missed)[name] += 1
            print(f"{began - self._began:6.1f} s  {name}, {loop.time() - began:.1f} s{'' if landed else ', missed'}")
            for part in self._running.parts:
                part.check()
            await asyncio.sleep(self._chance.uniform(0.0, 2.0))

    async def disturb_bucket(self, until: float) -> None:
        """The bucket is away now and then, in one way or another."""
        bucket = self._running.bucket
        if bucket is None:
            return
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            before, bucket.does = bucket.disturbed, self._chance.choice(["refuses", "is silent", "breaks off"])
            await wait_for(partial(self._disturbed, bucket, before), within=SETTLED, what="a request to the bucket")
            await asyncio.sleep(self._chance.uniform(0.0, 8.0))
            self.landed[f"bucket {bucket.does}"] += 1
            bucket.does = None
            await asyncio.sleep(self._chance.uniform(0.0, 8.0))
            self._running.s3.pause()
            await asyncio.sleep(self._chance.choice([0.3, 2.0, 6.0]))
            self._running.s3.resume()
            self.landed["S3 server paused"] += 1
            await asyncio.sleep(self._chance.uniform(0.0, 8.0))

    async def _disturbed(self, bucket: RoadToBucket, before: int) -> bool:
        return bucket.disturbed > before

    async def _printing(self) -> bool:
        return self._witness.printing > 0

    async def _kill(self, part: Part) -> bool:
        part.kill()
        await asyncio.sleep(self._chance.choice([0.0, 1.0, 3.0, LEASE + 1 if part.role == "orchestrator" else 0.5]))
        await part.start()
        return True

    async def _kill_all(self) -> bool:
        for part in self._running.parts:
            part.kill()
        self._running.kill_postgres()
        await self._postgres_is_back()
        await asyncio.gather(*(part.start() for part in self._running.parts))
        return True

    async def _kill_postgres(self) -> bool:
        self._running.kill_postgres()
        await self._postgres_is_back()
        return True

    async def _pause_postgres(self) -> bool:
        self._running.pause_postgres()
        await asyncio.sleep(self._chance.choice([0.3, 2.0, 8.0]))
        self._running.resume_postgres()
        return True

    async def _postgres_is_back(self) -> None:
        await wait_for(self._running.postgres._connects, within=60, what="Postgres to be back")

    async def _pause(self, part: Part) -> bool:
        part.pause()
        assert part.process is not None
        os.waitid(os.P_PID, part.process.pid, os.WSTOPPED | os.WNOWAIT)
        long = 6.0 if part.role == "runner" else LEASE + 2  # the API has objects, too
        await asyncio.sleep(self._chance.choice([0.3, 2.0, long]))
        part.resume()
        return True

    async def _cut(self) -> bool:
        road = self._running.to_api
        road.cut(*self._chance.choice(WAYS))
        await asyncio.sleep(self._chance.choice([0.5, 2.0, 6.0]))
        swallowed = road.swallowed.total()
        road.heal()
        return swallowed > 0
