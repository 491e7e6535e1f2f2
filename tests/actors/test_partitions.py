"""Roads between nodes and their database, and between nodes, are cut; nobody writes who should not, and all heals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from audit_run import audited
from probe import until
from proxy import Proxy, Way

from actors import Database
from actors.testing import NodeProcess, ProcessCluster

TTL = 1.5

WAYS: list[tuple[Way, ...]] = [("there",), ("back",), ("there", "back")]


def detour(dsn: str, proxy: Proxy) -> str:
    """The DSN by way of the proxy."""
    name = dsn.partition("?")[0].rpartition("/")[2]
    return f"postgresql://tests@127.0.0.1:{proxy.port}/{name}?sslmode=disable"


def socket_of(dsn: str) -> str:
    return dsn.partition("?host=")[2] + "/.s.PGSQL.5432"


@pytest.mark.parametrize("ways", WAYS, ids="+".join)
async def test_node_and_database_are_parted(
    ways: tuple[Way, ...], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy(socket_of(database.dsn)) as road:
        async with audited(database, tmp_path, monkeypatch, 1, lease_ttl=TTL) as (audit, cluster):
            [whole] = cluster.nodes
            parted = await cluster.start("parted", dsn=detour(database.dsn, road))
            for actor in ("a", "b"):
                await audit.until_served(parted, actor)
                assert await audit.owner(actor) == parted.id
            road.cut(*ways)
            async with audit.load([parted], ["a", "b"]), audit.load([parted], ["a"], method="read"):
                took = await audit.until_served(whole, "a")
                await audit.until_served(whole, "b")
                silent = len(audit.ops)
                await asyncio.sleep(TTL)  # time in which the parted node must keep silent, with its callers asking
                answered = [op for op in audit.ops[silent:] if op.outcome == "ok"]
                assert answered == []
                swallowed = dict(road.swallowed)
                road.heal()
                back = await audit.until_served(parted, "a")
            assert swallowed.get(ways[0], 0) > 0, swallowed
            await until(lambda: _rejoined(database, parted.id))
            await audit.verify()
            print(f"\ntaken over after {took:.2f} s, back after {back:.2f} s; swallowed {swallowed} bytes")


async def test_nodes_are_parted_from_each_other(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 0, lease_ttl=TTL, call_limit=1.0) as (audit, cluster):
        async with Proxy(0) as to_one, Proxy(0) as to_two:
            one, two = await _behind(cluster, to_one, "one"), await _behind(cluster, to_two, "two")
            await audit.until_served(one, "a")
            await audit.until_served(two, "b")
            assert (await audit.call(two, "a")).outcome == (await audit.call(one, "b")).outcome == "ok"
            for ways in WAYS:
                to_one.cut(*ways)
                to_two.cut(*ways)
                across = await asyncio.gather(
                    *(audit.call(node, actor, timeout=15) for node, actor in ((two, "a"), (one, "b")))
                )
                assert [op.outcome for op in across] == ["unknown", "unknown"], across
                assert (await audit.call(one, "a")).outcome == (await audit.call(two, "b")).outcome == "ok"
                assert (await audit.owner("a"), await audit.owner("b")) == (one.id, two.id)
                assert to_one.swallowed[ways[0]] > 0 < to_two.swallowed[ways[0]]
                to_one.heal()
                to_two.heal()
                await audit.until_served(two, "a")
                await audit.until_served(one, "b")
            epochs = await database.pool.fetch("SELECT DISTINCT epoch FROM audit")
            assert [row["epoch"] for row in epochs] == [1]
            await audit.verify()


async def _behind(cluster: ProcessCluster, road: Proxy, id: str) -> NodeProcess:
    node = await cluster.start(id, address=f"http://127.0.0.1:{road.port}")
    road.upstream = node.port
    return node


async def _rejoined(database: Database, node: str) -> bool:
    incarnation = await database.pool.fetchval("SELECT incarnation FROM actors.nodes WHERE id = $1", node)
    return incarnation > 1  # type: ignore[no-any-return]
