"""What a step costs that does nothing: those of one job, beside the same command by hand."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import msgspec

from buildsys.core.definition import Workflow
from buildsys.core.workflow_file import decode_workflow
from tests.bench.builds import Ours
from tests.bench.figures import Say, cpu_seconds, spread
from tests.bench.site import Site, site
from tests.docker_image import base_image, missing_engine

DRIVERS = ("process", "process-without-sandbox", "docker")
COMMAND = ("sh", "-c", ":")
BY_HAND = {"process": 50, "docker": 10}
"""How often the command is run by hand before a job, and as often behind it; `docker exec` takes long."""

TOOK = """
SELECT extract(epoch FROM max(stopped_at) - min(started_at))::float8 AS seconds, count(*) AS steps
FROM steps
WHERE number > 0 AND outcome = 'success' AND build = (SELECT id FROM builds ORDER BY queued_at DESC LIMIT 1)
"""
"""Seconds from the first step's start to the last one's end in the newest build, by the runner's clock."""


class Measured(msgspec.Struct, kw_only=True):
    """A value a job, of one step in it: seconds here and by hand, and the server's processor seconds."""

    steps: list[float] = []
    by_hand: list[float] = []
    processor: list[float] = []

    def figures(self) -> dict[str, Any]:
        ratios = [step / by_hand for step, by_hand in zip(self.steps, self.by_hand, strict=True)]
        return {
            "ms_a_step": spread([seconds * 1e3 for seconds in self.steps]),
            "ms_by_hand": spread([seconds * 1e3 for seconds in self.by_hand]),
            "times_by_hand": spread(ratios),
            "processor_ms_a_step": spread([seconds * 1e3 for seconds in self.processor]),
        }


async def measure(name: str, *, steps: int, runs: int, say: Say) -> dict[str, Any]:
    """The figures of one driver, `runs` jobs of so many steps; or why there are none."""
    driver = name.partition("-")[0]
    if driver == "docker" and (missing := missing_engine()) is not None:
        return {"skipped": missing}
    measured = Measured()
    async with site(driver=driver, sandbox=name == "process") as running:
        ours = await Ours.of(running, _workflow(driver, steps))
        with _prefix(driver) as prefix:
            await ours.one()
            for run in range(runs):
                before = _by_hand(prefix, BY_HAND[driver])
                processor = cpu_seconds(running.server)
                await ours.one()
                measured.processor.append((cpu_seconds(running.server) - processor) / steps)
                measured.steps.append(await _took(running, steps) / steps)
                measured.by_hand.append((before + _by_hand(prefix, BY_HAND[driver])) / 2)
                say(
                    f"{name} {run + 1}/{runs}: {measured.steps[-1] * 1e3:.2f} ms a step, "
                    f"{measured.by_hand[-1] * 1e3:.2f} ms by hand"
                )
    return {"steps": steps, **measured.figures()}


def _workflow(driver: str, steps: int) -> Workflow:
    container = {"container": base_image()} if driver == "docker" else {}
    job = {"runs-on": "linux", **container, "steps": [{"run": ":"}] * steps}
    return decode_workflow(json.dumps({"on": "push", "jobs": {"only": job}}), file="bench.yml")


async def _took(running: Site, steps: int) -> float:
    async with running.database.session() as session:
        row = await session.connection.fetchrow(TOOK)
    assert row["steps"] == steps, f"{row['steps']} of {steps} steps succeeded"
    return float(row["seconds"])


@contextmanager
def _prefix(driver: str) -> Iterator[tuple[str, ...]]:
    """What stands before the command: nothing, or `docker exec` in a container that waits."""
    if driver != "docker":
        yield ()
        return
    name = f"buildsys-bench-{uuid4().hex}"
    run = ("docker", "run", "--detach", "--rm", "--init", "--network=none", f"--name={name}", base_image())
    subprocess.run((*run, "sleep", "86400"), check=True, stdout=subprocess.DEVNULL)
    try:
        yield ("docker", "exec", name)
    finally:
        subprocess.run(("docker", "rm", "--force", name), check=True, stdout=subprocess.DEVNULL)


def _by_hand(prefix: tuple[str, ...], count: int) -> float:
    """The seconds of one such command, of so many one after the other."""
    began = time.perf_counter()
    for _ in range(count):
        subprocess.run((*prefix, *COMMAND), check=True)
    return (time.perf_counter() - began) / count
