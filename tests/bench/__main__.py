"""The command line: `python -m tests.bench`, at the root of the repository."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tests.bench import actors as actors_bench
from tests.bench import builds as builds_bench
from tests.bench import latency as latency_bench
from tests.bench import logs as logs_bench
from tests.bench import logs_build
from tests.bench import planning as planning_bench
from tests.bench import steps as steps_bench
from tests.bench.figures import machine

AT_LEAST_ONE = click.IntRange(min=1)


PEER = click.option(
    "--peer/--no-peer", default=True, show_default=True, help="Measure workerd, too; npm installs it once."
)
BUILDBOT = click.option("--buildbot/--no-buildbot", default=True, show_default=True, help="Measure Buildbot, too.")
BUILDBOT_VENV = click.option(
    "--buildbot-venv", type=click.Path(path_type=Path), help="A virtual environment that has it, or will."
)

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _scale(of: str) -> Decorator:
    above_zero = click.FloatRange(min=0, min_open=True)
    return click.option(
        "--scale", default=1.0, show_default=True, type=above_zero, help=f"Times the usual number of {of}."
    )


def _some(flag: str, name: str, choices: Sequence[str]) -> Decorator:
    told = "What to measure; may be given several times. Default: all."
    return click.option(flag, name, type=click.Choice(choices), multiple=True, default=choices, help=told)


@click.group()
def bench() -> None:
    """Measure the product; JSON on stdout, progress on stderr."""


@bench.command()
@click.option("--runs", default=30, show_default=True, type=AT_LEAST_ONE, help="Builds measured on each driver.")
@_some("--driver", "drivers", latency_bench.DRIVERS)
def latency(runs: int, drivers: tuple[str, ...]) -> None:
    """Webhook sent -> first byte of the first step at an SSE client, on an idle system.

    The floor, in turns with it: git by hand fetches the same commit into a fresh folder, then the same container or
    process is started by hand, until its first byte. The product does more (it reads the workflow first, and stores
    whatever it does) but may do things at the same time: `floor_parallel` is the longer of the two alone.
    """
    _tell({name: asyncio.run(latency_bench.measure(name, runs=runs, say=_say)) for name in drivers})


@bench.command()
@click.option("--burst", default=200, show_default=True, type=AT_LEAST_ONE, help="Builds that are queued at once.")
@click.option("--single", default=15, show_default=True, type=AT_LEAST_ONE, help="Builds that run one after the other.")
@click.option(
    "--rounds", default=3, show_default=True, type=AT_LEAST_ONE, help="How often all of it is done, in turns."
)
@click.option("--sandbox/--no-sandbox", default=True, show_default=True, help="Whether our jobs run in bubblewrap.")
@BUILDBOT
@BUILDBOT_VENV
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


@bench.command()
@click.option("--runs", default=5, show_default=True, type=AT_LEAST_ONE, help="Runs of each side, in turns.")
@_some("--only", "groups", actors_bench.GROUPS)
@_scale("calls, actors and alarms")
@PEER
def actors(runs: int, groups: tuple[str, ...], scale: float, peer: bool) -> None:
    """Calls, durable puts, alarms and memory of actors, beside workerd's Durable Objects on its SQLite storage.

    All calls are made inside the process that has the actors, but for those to another node, which workerd does not
    have. A put has answered when it is on the disk. The table on stderr says the same as the JSON on stdout.
    """
    measuring = actors_bench.measure(groups=groups, runs=runs, scale=scale, peer=peer, say=_say)
    figures = asyncio.run(measuring)
    _say("\n" + actors_bench.table(figures))
    _tell(figures)


@bench.command()
@click.option("--runs", default=5, show_default=True, type=AT_LEAST_ONE, help="Runs of each side, in turns.")
@_some("--only", "groups", logs_bench.GROUPS)
@_scale("lines and followers")
@PEER
def logs(runs: int, groups: tuple[str, ...], scale: float, peer: bool) -> None:
    """Lines of logs: in, to their followers, and read again; beside a log in workerd and the floors of the machine."""
    figures = asyncio.run(logs_bench.measure(groups=groups, runs=runs, scale=scale, peer=peer, say=_say))
    _say("\n" + logs_bench.table(figures))
    _tell(figures)


@bench.command()
@click.option("--runs", default=3, show_default=True, type=AT_LEAST_ONE, help="Runs of each driver.")
@_some("--driver", "drivers", logs_build.DRIVERS)
@_scale("lines")
@click.option("--apart/--inside", default=True, show_default=True, help="Where the runner is: the server has it, too.")
@BUILDBOT
@BUILDBOT_VENV
def printing(
    runs: int, drivers: tuple[str, ...], scale: float, apart: bool, buildbot: bool, buildbot_venv: Path | None
) -> None:
    """Lines from a program that prints, past 20 secrets, to readers: floods, a paced build that 200 watch, quiet ones.

    Counted is from the step's start until the build's end is stored; beside Buildbot from the order on, since it says
    no time exactly. Processor time and peak memory are those of each process apart.
    """
    measuring = logs_build.measure(
        drivers=drivers, runs=runs, scale=scale, apart=apart, peer=buildbot, venv=buildbot_venv, say=_say
    )
    _tell(asyncio.run(measuring))


@bench.command()
@click.option("--runs", default=20, show_default=True, type=AT_LEAST_ONE, help="Runs of each part.")
@click.option("--served/--pure", default=True, show_default=True, help="Whether the matrix is built, too.")
def planning(runs: int, served: bool) -> None:
    """A workflow of 1,000 lines and a matrix of 100 jobs: decoded and planned, beside reading the YAML alone.

    `yaml_events_ms` is libyaml's parser with nothing behind it, `yaml_alone_ms` PyYAML's loader on top of that. Served
    is the matrix by the whole product, on two slots of the process driver: from its insertion until it is stopped.
    """
    _tell(asyncio.run(planning_bench.measure(runs=runs, served=served, say=_say)))


@bench.command()
@click.option("--runs", default=5, show_default=True, type=AT_LEAST_ONE, help="Jobs measured on each driver.")
@click.option("--steps", default=200, show_default=True, type=AT_LEAST_ONE, help="Steps of a job.")
@_some("--driver", "drivers", steps_bench.DRIVERS)
def steps(runs: int, steps: int, drivers: tuple[str, ...]) -> None:
    """What a step costs that does nothing: `run: ":"` many times in one job, in the whole product.

    Counted is from the first step's start to the last one's end, by the runner's clock, divided by their number. By
    hand, before and behind each job: `sh -c :` started from Python, and for docker `docker exec CONTAINER sh -c :`.
    """
    _tell({name: asyncio.run(steps_bench.measure(name, steps=steps, runs=runs, say=_say)) for name in drivers})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(figures: dict[str, Any]) -> None:
    print(json.dumps({"machine": machine(), **figures}, indent=2))


def main() -> None:
    """Exit status 0, 1 for a measurement that failed, 2 for a command line that is wrong, 130 when interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended on both
    try:
        status = bench.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        status = 130
    sys.exit(status)


main()
