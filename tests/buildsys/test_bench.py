"""The benchmarks run, and say what they are to say. What they measure is not for a test to judge."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from docker_image import require_engine

ROOT = Path(__file__).parents[2]
SPREAD = {"n", "p50", "p95", "min", "max"}


async def bench(*arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    figures = json.loads(output)
    assert {"cpus", "kernel", "python", "load"} <= figures.pop("machine").keys()
    return dict(figures)


@pytest.mark.parametrize(
    "driver", ["process", "process-without-sandbox", pytest.param("docker", marks=pytest.mark.docker)]
)
async def test_latency_is_told_beside_its_floor_and_by_stages(driver: str) -> None:
    if driver == "docker":
        require_engine()
    figures = await bench("latency", "--runs", "1", "--driver", driver)
    assert list(figures) == [driver]
    told = figures[driver]
    for name in ("first_byte", "floor", "floor_fetch", "floor_start", "floor_parallel"):
        assert told[name].keys() == SPREAD
        assert told[name]["n"] == 1
    assert told["over_floor"]["p50"] == pytest.approx(told["first_byte"]["p50"] - told["floor"]["p50"], abs=0.02)
    assert sum(stage["p50"] for stage in told["stages"].values()) == pytest.approx(told["first_byte"]["p50"], abs=0.2)


async def test_builds_are_told_alone_and_at_once() -> None:
    figures = await bench("builds", "--burst", "4", "--single", "2", "--rounds", "1", "--no-buildbot")
    assert figures["burst"] == 4
    ours = figures["buildsys"]
    assert [ours[name]["n"] for name in ("one_at_a_time_ms", "burst_builds_per_s", "cpu_ms_a_build")] == [2, 1, 1]
    assert ours["burst_builds_per_s"]["p50"] > 0


@pytest.mark.timeout(300)
async def test_actors_are_told_group_by_group_with_their_spread() -> None:
    figures = await bench("actors", "--runs", "1", "--scale", "0.005", "--no-peer")
    assert figures["peer"] is None
    for group in ("calls", "puts", "alarms", "memory", "nodes"):
        assert figures[group]
        for sides in figures[group].values():
            assert sides.keys() == {"actors"}
            assert sides["actors"].keys() == SPREAD
            assert sides["actors"]["n"] == 1


@pytest.mark.timeout(300)
async def test_logs_are_told_from_the_first_report_to_the_last_search() -> None:
    figures = await bench("logs", "--runs", "1", "--scale", "0.002", "--no-peer")
    assert figures["peer"] is None
    for group in ("append", "follow", "latency", "read"):
        assert figures[group]
        for sides in figures[group].values():
            assert sides.keys() <= {"buildsys", "floor"}
            for told in sides.values():
                assert told.keys() == SPREAD
                assert told["n"] == 1


@pytest.mark.timeout(300)
async def test_printing_is_told_by_driver() -> None:
    figures = await bench("printing", "--runs", "1", "--scale", "0.001", "--driver", "process", "--no-buildbot")
    assert figures["runner"] == "apart"
    assert all(told.keys() == SPREAD for told in figures["process"].values())
    processes = {what.partition("'s peak MiB")[0].split(", ")[-1] for what in figures["process"] if "peak" in what}
    assert processes == {"server", "runner", "Postgres", "client"}


async def test_an_interrupted_bench_ends_at_once_and_leaves_nothing_behind() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench", "actors", "--only", "alarms", "--no-peer"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            assert b"alarms 1/5 actors" in await process.stderr.readline()
            children = _below(process.pid)
            assert children
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, output) == (130, b"")
    assert b"Traceback" not in errors
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


async def test_a_bench_without_sense_is_refused() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench", "actors", "--runs", "0"), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"--runs" in errors


def _below(root: int) -> list[int]:
    """All processes under one."""
    parents = {
        int(stat.parent.name): int(stat.read_text().rpartition(")")[2].split()[1])
        for stat in Path("/proc").glob("[0-9]*/stat")
    }
    found, fresh = list[int](), [root]
    while fresh:
        fresh = [pid for pid, parent in parents.items() if parent in fresh]
        found += fresh
    return found


async def test_planning_is_told_beside_reading_the_yaml() -> None:
    figures = await bench("planning", "--runs", "1", "--pure")
    assert figures["lines"] > 900
    assert figures["matrix_jobs"] == 100
    parts = {name for name, figure in figures.items() if isinstance(figure, dict) and figure.keys() == SPREAD}
    assert parts == {
        *("yaml_events_ms", "yaml_alone_ms", "decode_ms", "decode_times_yaml_alone"),
        *("plan_ms", "matrix_start_ms", "matrix_to_its_end_ms"),
    }


@pytest.mark.parametrize(
    "driver", ["process", "process-without-sandbox", pytest.param("docker", marks=pytest.mark.docker)]
)
async def test_steps_are_told_beside_the_same_command_by_hand(driver: str) -> None:
    if driver == "docker":
        require_engine()
    figures = await bench("steps", "--runs", "1", "--steps", "3", "--driver", driver)
    told = figures[driver]
    assert told.pop("steps") == 3
    assert told.keys() == {"ms_a_step", "ms_by_hand", "times_by_hand", "processor_ms_a_step"}
    for figure in told.values():
        assert figure.keys() == SPREAD
        assert figure["n"] == 1
    assert told["times_by_hand"]["p50"] == pytest.approx(
        told["ms_a_step"]["p50"] / told["ms_by_hand"]["p50"], rel=0.02, abs=0.01
    )
