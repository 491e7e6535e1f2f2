"""The command line: `python -m tests.bench`, at the root of the repository."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from tests.bench import builds as builds_bench
from tests.bench import latency as latency_bench
from tests.bench.figures import machine


@click.group()
def bench() -> None:
    """Measure the product; JSON on stdout, progress on stderr."""


@bench.command()
@click.option("--runs", default=30, show_default=True, help="Builds measured on each driver.")
@click.option(
    "--driver",
    "drivers",
    type=click.Choice(latency_bench.DRIVERS),
    multiple=True,
    default=latency_bench.DRIVERS,
    help="Which to measure; may be given several times. Default: all.",
)
def latency(runs: int, drivers: tuple[str, ...]) -> None:
    """Webhook sent -> first byte of the first step at an SSE client, on an idle system.

    The floor, in turns with it: git by hand fetches the same commit into a fresh folder, then the same container or
    process is started by hand, until its first byte. The product does more (it reads the workflow first, and stores
    whatever it does) but may do things at the same time: `floor_parallel` is the longer of the two alone.
    """
    _tell({name: asyncio.run(latency_bench.measure(name, runs=runs, say=_say)) for name in drivers})


@bench.command()
@click.option("--burst", default=200, show_default=True, help="Builds that are queued at once.")
@click.option("--single", default=15, show_default=True, help="Builds that run one after the other.")
@click.option("--rounds", default=3, show_default=True, help="How often all of it is done, in turns.")
@click.option("--sandbox/--no-sandbox", default=True, show_default=True, help="Whether our jobs run in bubblewrap.")
@click.option("--buildbot/--no-buildbot", default=True, show_default=True, help="Measure Buildbot, too.")
@click.option("--buildbot-venv", type=click.Path(path_type=Path), help="A virtual environment that has it, or will.")
def builds(burst: int, single: int, rounds: int, sandbox: bool, buildbot: bool, buildbot_venv: Path | None) -> None:
    """Builds of one `echo` a second, on 6 slots and the process driver.

    Counted is a build from its insertion, one statement and one hint as the API makes them, until it is stopped and
    that is durable. It has no commit, so nothing is fetched. Buildbot is asked by its own REST API, as it has no
    other way in. One at a time, and all at once.
    """
    measuring = builds_bench.measure(
        burst=burst, single=single, rounds=rounds, sandbox=sandbox, peer=buildbot, venv=buildbot_venv, say=_say
    )
    _tell(asyncio.run(measuring))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(figures: dict[str, Any]) -> None:
    print(json.dumps({"machine": machine(), **figures}, indent=2))


bench()
