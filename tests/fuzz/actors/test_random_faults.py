"""Random calls, random faults, and an audit of what is left.

`BUILDSYS_FUZZ_SECONDS` says for how long, `BUILDSYS_FUZZ_SEED` repeats the choices of a run (though not its timing).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from audit_run import Audit, audited
from saboteur import Saboteur

from actors import Database

SECONDS = float(os.environ.get("BUILDSYS_FUZZ_SECONDS", "30"))
TTL = 1.5
ACTORS = ["a", "b", "c", "d", "e"]
CLIENTS = 6


@pytest.mark.timeout(SECONDS * 2 + 180)
async def test_random_faults(postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("BUILDSYS_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"\nBUILDSYS_FUZZ_SEED={seed} BUILDSYS_FUZZ_SECONDS={SECONDS:g}")
    chance = random.Random(seed)
    async with (
        Database(postgres_dsn, size=1) as database,
        audited(database, tmp_path, monkeypatch, 0, lease_ttl=TTL) as (audit, cluster),
    ):
        async with Saboteur(chance=chance, audit=audit, cluster=cluster, database=database, ttl=TTL) as saboteur:
            until = asyncio.get_running_loop().time() + SECONDS
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(_call(random.Random(chance.random()), audit, saboteur, until))
                for _ in range(2):
                    group.create_task(saboteur.disturb(until))
            print(f"calls {dict(Counter(op.outcome for op in audit.ops))}")
            print(f"landed {dict(saboteur.landed)}, missed {dict(saboteur.missed)}")
            resuming = asyncio.create_task(saboteur.resume())
            try:
                for target in saboteur.targets:
                    for actor in ACTORS:
                        await audit.until_served(target.node, actor, seconds=60)
                await audit.settled(seconds=60)
            finally:
                resuming.cancel()
            await audit.verify()
            assert saboteur.landed.total() >= SECONDS / 10
            assert audit.counts()["ok"] > 100


async def _call(chance: random.Random, audit: Audit, saboteur: Saboteur, until: float) -> None:
    """A client: one call after the other, to any actor by way of any node."""
    while asyncio.get_running_loop().time() < until:
        node, actor = chance.choice(saboteur.targets).node, chance.choice(ACTORS)
        match chance.choice(["increment", "increment", "transact", "remind", "read", "wait_and_increment"]):
            case "remind":
                op = await audit.call(node, actor, "remind", chance.uniform(0.0, TTL), timeout=4.0)
            case "wait_and_increment":
                op = await audit.call(node, actor, "wait_and_increment", chance.uniform(0.0, 0.05), timeout=4.0)
            case method:
                op = await audit.call(node, actor, method, timeout=4.0)
        await asyncio.sleep(chance.uniform(0.0, 0.01 if op.outcome == "ok" else 0.1))
