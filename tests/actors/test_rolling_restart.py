"""All nodes are started again, one after the other, while callers go on calling."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from audit_run import audited

from actors import Database


async def test_a_rolling_restart_under_load(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with audited(database, tmp_path, monkeypatch, 4, lease_ttl=10.0) as (audit, cluster):
        *rolling, staying = cluster.nodes
        actors = [f"actor-{number}" for number in range(6)]
        for number, actor in enumerate(actors):
            await audit.until_served(rolling[number % 3], actor)
        assert {await audit.owner(actor) for actor in actors} == {node.id for node in rolling}
        await audit.until_served(staying, "still")
        async with audit.load([staying], [*actors, "still"], pause=0.005):
            for node in rolling:
                await node.restart()
        failed = [op for op in audit.ops if op.outcome != "ok"]
        assert [op for op in failed if not op.retryable] == []
        gaps = {}
        for actor in (*actors, "still"):
            answered = sorted(op.returned or 0 for op in audit.ops if op.actor == actor and op.outcome == "ok")
            gaps[actor] = max(later - before for before, later in itertools.pairwise(answered))
        machine = gaps.pop("still")  # the one actor that stays where it is only waits when the whole machine does
        print(
            f"\nrolling restart: {len(audit.ops)} calls, {len(failed)} failed, all retryable; the longest gap of an "
            f"actor {max(gaps.values()):.2f} s, of one that does not move {machine:.2f} s"
        )
        assert max(gaps.values()) <= 1.0 + machine
        assert await database.pool.fetchval("SELECT min(epoch) FROM actors.actors WHERE name <> 'still'") > 1
        await audit.verify()
