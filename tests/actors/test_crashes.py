"""A node's process is killed at each moment of its work; what was promised holds, and another node goes on in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from audit_check import Op
from audit_run import Audit, audited
from probe import until

from actors import Database
from actors.faults import Point
from actors.testing import NodeProcess, ProcessCluster

TTL = 1.0

COMMIT: dict[Point, bool] = {
    "turn_over": False,
    "commit_begun": False,
    "commit_sent": True,
    "commit_answered": True,
    "reply_released": True,
}
"""Whether a call that had got so far when its node died has happened."""


class Relay:
    """Two nodes; whenever the first is killed the second takes over, and a new one comes to stand by."""

    def __init__(self, audit: Audit, cluster: ProcessCluster) -> None:
        self.audit = audit
        self._cluster = cluster
        self.victim, self.other = cluster.nodes
        self.slowest = 0.0

    async def stop_at(self, point: Point, actor: str, method: str, *args: object, by: NodeProcess | None = None) -> Op:
        """Call the actor, on the victim, which is paused at this point when the call is handed over."""
        await self.victim.stop_at(point)
        calling = asyncio.create_task(self.audit.call(by or self.victim, actor, method, *args, timeout=4.0))
        await self.victim.until_paused()
        self.calling = calling
        return self.audit.ops[-1]

    async def kill(self, actor: str) -> float:
        """kill -9 the paused victim; how many seconds until the other node serves its actor."""
        assert self.victim.paused
        await self.victim.kill()
        fresh = asyncio.create_task(self._cluster.start(f"node-{len(self._cluster.nodes) + 1}"))
        took = await self.audit.until_served(self.other, actor, patience=30.0)  # nothing is left for the next trap
        assert await self.audit.owner(actor) == self.other.id
        self.slowest = max(self.slowest, took)
        self.victim, self.other = self.other, await fresh
        return took


@pytest.fixture
async def relay(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        relay = Relay(audit, cluster)
        yield relay
        await audit.settled()
        await audit.verify()
        print(f"\ntakeover after kill -9: {relay.slowest:.2f} s at most, with a lease of {TTL:g} s")
        assert relay.slowest <= TTL + 1


@pytest.mark.parametrize("method", ["increment", "transact"])
async def test_killed_in_a_commit(method: str, relay: Relay) -> None:
    await relay.audit.until_served(relay.victim, "a")
    for point, durable in COMMIT.items():
        if point == "turn_over" and method == "transact":
            continue
        before = await relay.audit.seq("a")
        op = await relay.stop_at(point, "a", method)
        if durable:
            await until(lambda before=before: _has_passed(relay.audit, before))
        await relay.kill("a")
        await relay.calling
        assert op.outcome == "unknown"
        assert await relay.audit.has(op.id) is durable, point


@pytest.mark.parametrize("point", ["activation_acquired", "activation_loaded"])
async def test_killed_while_an_actor_wakes_up(point: Point, relay: Relay) -> None:
    op = await relay.stop_at(point, "a", "increment")
    assert await relay.audit.owner("a") == relay.victim.id
    await relay.kill("a")
    await relay.calling
    assert op.outcome == "unknown"
    assert not await relay.audit.has(op.id)


@pytest.mark.parametrize("point", ["alarm_due", "alarm_run_done"])
async def test_killed_in_a_run_of_an_alarm(point: Point, relay: Relay) -> None:
    await relay.audit.until_served(relay.victim, "a")
    await relay.victim.stop_at(point)
    calling = asyncio.create_task(relay.audit.call(relay.victim, "a", "remind", 0.05))
    await relay.victim.until_paused()
    op = relay.audit.ops[-1]
    assert await relay.audit.has(f"alarm:{op.id}") is (point == "alarm_run_done")
    await relay.kill("a")
    await calling
    assert op.outcome in ("ok", "unknown")  # its answer may be on its way when the alarm is due


async def test_killed_with_a_call_from_another_node_in_its_hands(relay: Relay) -> None:
    await relay.audit.until_served(relay.victim, "a")
    op = await relay.stop_at("call_received", "a", "increment", by=relay.other)
    await relay.kill("a")
    await relay.calling
    assert op.outcome == "unknown"
    assert not await relay.audit.has(op.id)


async def test_killed_while_it_renews_its_lease(relay: Relay) -> None:
    await relay.audit.until_served(relay.victim, "a")
    await relay.victim.stop_at("lease_renewing")
    await relay.victim.until_paused()
    await relay.kill("a")


@pytest.mark.parametrize("point", ["drain_begun", "drain_finished", "drain_released"])
async def test_killed_while_it_drains(point: Point, relay: Relay) -> None:
    await relay.audit.until_served(relay.victim, "a")
    await relay.victim.stop_at(point)
    relay.victim.begin_to_drain()
    await relay.victim.until_paused()
    took = await relay.kill("a")
    if point == "drain_released":
        assert took < TTL / 2


async def _has_passed(audit: Audit, before: int) -> bool:
    return await audit.seq("a") > before
