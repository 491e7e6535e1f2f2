"""A node stands still, as a suspended machine or a step that does not end makes it, and comes back too late."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from audit_check import Op
from audit_run import Audit, audited
from probe import until

from actors import Database
from actors.faults import Point
from actors.testing import NodeProcess

TTL = 1.0


async def test_paused_with_calls_in_its_sockets(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        paused, other = cluster.nodes
        for actor in ("a", "b"):
            await audit.until_served(paused, actor)
        await audit.until_served(other, "a")
        assert await audit.owner("a") == paused.id
        await paused.pause()
        queued = [
            asyncio.create_task(audit.call(node, "a", method, timeout=20.0))
            for node in (paused, other)
            for method in ("increment", "transact", "read")
        ]
        await until(lambda: _unread(paused) > 500)
        stood = asyncio.create_task(asyncio.sleep(3 * TTL))
        await audit.until_served(other, "b")
        assert await audit.owner("b") == other.id
        await stood
        assert paused.paused
        assert _unread(paused) > 500
        before = len(await _turns_of(database, "a"))
        paused.resume()
        ops = await asyncio.gather(*queued)
        await until(lambda: _rejoined(database, paused.id))
        await audit.until_served(paused, "a")
        await audit.until_served(paused, "b")
        assert await audit.owner("b") == other.id
        assert len(await _turns_of(database, "a")) > before
        print(f"\n{[f'{op.id} {op.outcome} {op.error}' for op in ops]}")
        await audit.verify()


@pytest.mark.parametrize(
    ("point", "method"),
    [
        ("turn_over", "increment"),
        ("commit_sent", "increment"),
        ("commit_sent", "transact"),
        ("commit_answered", "increment"),
        ("commit_answered", "transact"),
        ("reply_released", "increment"),
    ],
)
async def test_paused_on_the_way_from_a_turn_to_its_reply(
    point: Point, method: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        paused, other = cluster.nodes
        await audit.until_served(paused, "a")
        before = await audit.seq("a")
        op, calling = await _stop_in_call(audit, paused, point, method)
        if point != "turn_over":
            await until(lambda: _has_passed(audit, before))
        took = await audit.until_served(other, "a")
        assert took <= TTL + 2  # half a second of it is the client's own patience
        await asyncio.sleep(TTL)
        assert paused.paused
        paused.resume()
        await calling
        await until(lambda: _rejoined(database, paused.id))
        await audit.until_served(paused, "a")
        durable = await audit.has(op.id)
        assert durable is (point != "turn_over")
        assert op.outcome in ("ok", "unknown") if durable else op.outcome in ("no", "unknown")
        assert op.outcome != "ok" or point == "reply_released"
        await audit.verify()


async def test_paused_inside_of_a_transaction(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the actor's row; the server ends its session before the lease is over (`Lease.idle_limit`)."""
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        paused, other = cluster.nodes
        await audit.until_served(paused, "a")
        op, calling = await _stop_in_call(audit, paused, "commit_begun", "transact")
        took = await audit.until_served(other, "a")
        assert took <= TTL + 2  # half a second of it is the client's own patience
        paused.resume()
        await calling
        await audit.until_served(paused, "a")
        assert not await audit.has(op.id)
        assert op.outcome != "ok"
        print(f"\ntaken over after {took:.2f} s")
        await audit.verify()


async def test_an_event_loop_held_up_for_longer_than_the_lease(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 2, lease_ttl=TTL) as (audit, cluster):
        held, other = cluster.nodes
        for actor in ("a", "b"):
            await audit.until_served(held, actor)
        blocking = asyncio.create_task(audit.call(held, "b", "block", 3 * TTL + 1))
        late = [asyncio.create_task(audit.call(held, "a", method)) for method in ("increment", "read", "transact")]
        took = await audit.until_served(other, "a")
        assert not blocking.done()
        assert took <= 3 * TTL
        await asyncio.gather(blocking, *late)
        await until(lambda: _rejoined(database, held.id))
        await audit.until_served(held, "b")
        await until(lambda: "audit/b" in held.log.read_text())  # the watchdog names the actor, when it looks again
        print(f"\ntaken over after {took:.2f} s")
        await audit.verify()


async def _stop_in_call(audit: Audit, node: NodeProcess, point: Point, method: str) -> tuple[Op, asyncio.Task[Op]]:
    await node.stop_at(point)
    calling = asyncio.create_task(audit.call(node, "a", method, timeout=30.0))
    await node.until_paused()
    return audit.ops[-1], calling


def _unread(node: NodeProcess) -> int:
    """Bytes that the process has in its sockets and has not read."""
    port = f":{node.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(fields[4].partition(":")[2], 16) for fields in lines if fields[1].endswith(port))


async def _turns_of(database: Database, actor: str) -> list[str]:
    return [row["op"] for row in await database.pool.fetch("SELECT op FROM audit WHERE actor = $1", actor)]


async def _rejoined(database: Database, node: str) -> bool:
    incarnation = await database.pool.fetchval("SELECT incarnation FROM actors.nodes WHERE id = $1", node)
    return incarnation > 1  # type: ignore[no-any-return]


async def _has_passed(audit: Audit, before: int) -> bool:
    return await audit.seq("a") > before
