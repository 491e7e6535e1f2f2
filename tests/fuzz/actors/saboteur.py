"""Faults by chance, on nodes whose roads to the database and to each other can be cut."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, get_args

from audit_run import Audit
from proxy import Proxy, Way
from test_partitions import detour, socket_of

from actors import Database
from actors.faults import Point
from actors.testing import NodeProcess, ProcessCluster

POINTS: tuple[Point, ...] = tuple(point for point in get_args(Point) if not point.startswith("drain"))
DRAIN_POINTS: tuple[Point, ...] = ("drain_begun", "drain_finished", "drain_released")
WAYS: list[tuple[Way, ...]] = [("there",), ("back",), ("there", "back")]


class Target:
    """A node, its two roads, and the right to disturb it."""

    def __init__(self, node: NodeProcess, to_database: Proxy, to_node: Proxy) -> None:
        self.node = node
        self.to_database = to_database
        self.to_node = to_node
        self.lock = asyncio.Lock()

    async def start(self) -> None:
        if not self.node.alive:
            await self.node.start()
            self.to_node.upstream = self.node.port


class Saboteur:
    """Disturbs nodes, each fault chosen by `chance`, and counts in `landed` those that provably happened.

    `database` has a single session, the one that is spared.
    """

    def __init__(
        self, *, chance: random.Random, audit: Audit, cluster: ProcessCluster, database: Database, ttl: float
    ) -> None:
        self._chance = chance
        self._audit = audit
        self._cluster = cluster
        self._database = database
        self._ttl = ttl
        self._roads = AsyncExitStack()
        self.targets: list[Target] = []
        self.landed: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._faults: list[tuple[str, Callable[[Target], Awaitable[bool]]]] = [
            ("killed", self._kill),
            ("killed at a point", self._kill_at_a_point),
            ("killed while draining", self._kill_while_draining),
            ("paused", self._pause),
            ("paused at a point", self._pause_at_a_point),
            ("drained", self._drain),
            ("parted from the database", self._part_from_database),
            ("parted from the nodes", self._part_from_nodes),
            ("sessions ended", self._end_sessions),
            ("loop blocked", self._block),
            ("wall clock wrong", self._shift),
        ]

    async def __aenter__(self) -> Self:
        for number in range(1, 4):
            to_database = await self._roads.enter_async_context(Proxy(socket_of(self._database.dsn)))
            to_node = await self._roads.enter_async_context(Proxy(0))
            node = await self._cluster.start(
                f"node-{number}",
                dsn=detour(self._database.dsn, to_database),
                address=f"http://127.0.0.1:{to_node.port}",
            )
            to_node.upstream = node.port
            self.targets.append(Target(node, to_database, to_node))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._roads.aclose()

    async def disturb(self, until: float) -> None:
        """One fault after the other until that time of the loop; whatever is broken is mended before the next."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            target = self._chance.choice(self.targets)
            name, fault = self._chance.choice(self._faults)
            async with target.lock:
                assert target.node.alive, f"{target.node.id} ended by itself: {target.node.log.read_text()[-4000:]}"
                target.node.resume()  # from a trap that closed after it had been given up
                landed = await fault(target)
                await target.start()
            (self.landed if landed else self.missed)[name] += 1
            await asyncio.sleep(self._chance.uniform(0.0, self._ttl))

    async def resume(self) -> None:
        """Resume, for ever, each node that a trap pauses which had been given up."""
        while True:
            for target in self.targets:
                if target.node.paused:
                    target.node.resume()
            await asyncio.sleep(0.1)

    async def _kill(self, target: Target) -> bool:
        await target.node.kill()
        await asyncio.sleep(self._chance.choice([0.0, 2 * self._ttl]))
        return not target.node.alive

    async def _kill_at_a_point(self, target: Target) -> bool:
        reached = await self._reach(target, self._chance.choice(POINTS))
        await target.node.kill()
        await asyncio.sleep(self._chance.choice([0.0, 2 * self._ttl]))
        return reached

    async def _kill_while_draining(self, target: Target) -> bool:
        await target.node.stop_at(self._chance.choice(DRAIN_POINTS))
        target.node.begin_to_drain()
        reached = await self._is_paused(target)
        await target.node.kill()
        return reached

    async def _pause(self, target: Target) -> bool:
        await target.node.pause()
        await asyncio.sleep(self._chance.uniform(0.1, 3) * self._ttl)
        paused = target.node.paused
        target.node.resume()
        return paused

    async def _pause_at_a_point(self, target: Target) -> bool:
        reached = await self._reach(target, self._chance.choice(POINTS))
        if reached:
            await asyncio.sleep(self._chance.uniform(0.1, 3) * self._ttl)
        target.node.resume()
        return reached

    async def _drain(self, target: Target) -> bool:
        await target.node.terminate()
        return not target.node.alive

    async def _part_from_database(self, target: Target) -> bool:
        return await self._part(target.to_database)

    async def _part_from_nodes(self, target: Target) -> bool:
        return await self._part(target.to_node)

    async def _part(self, road: Proxy) -> bool:
        road.cut(*self._chance.choice(WAYS))
        await asyncio.sleep(self._chance.uniform(0.1, 3) * self._ttl)
        swallowed = road.swallowed.total()
        road.heal()
        return swallowed > 0

    async def _end_sessions(self, _: Target) -> bool:
        pids = await self._database.pool.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'actors' "
            "AND pid <> pg_backend_pid()"
        )
        some = self._chance.sample([row["pid"] for row in pids], k=min(len(pids), self._chance.randint(1, 8)))
        ended = [await self._database.pool.fetchval("SELECT pg_terminate_backend($1)", pid) for pid in some]
        return any(ended)

    async def _block(self, target: Target) -> bool:
        op = await self._audit.call(target.node, "blocked", "block", self._chance.uniform(0.5, 2) * self._ttl)
        return op.outcome == "ok" or (op.returned or 0) - op.invoked > self._ttl / 2

    async def _shift(self, target: Target) -> bool:
        await target.node.shift_clock(self._chance.choice([-3600.0, 0.0, 3600.0]))
        return True

    async def _reach(self, target: Target, point: Point) -> bool:
        await target.node.stop_at(point)
        return await self._is_paused(target)

    async def _is_paused(self, target: Target) -> bool:
        try:
            await target.node.until_paused(2 * self._ttl)
        except TimeoutError:
            return False
        except AssertionError:  # it had drained before it could be stopped
            return False
        return True
