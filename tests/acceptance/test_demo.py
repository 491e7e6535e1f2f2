"""`buildsys demo`, as somebody runs it who has just installed it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from cli_command import Command
from docker_image import base_image, require_engine

PROCESS = ("demo", "--driver", "process")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder for temporary files, whose name is not of the easy kind."""
    place = tmp_path / "a place"
    place.mkdir(mode=0o755)
    return place


@pytest.fixture
def buildsys(place: Path) -> Command:
    return Command(TMPDIR=str(place))


async def test_the_demo_holds_and_leaves_nothing_behind(buildsys: Command, place: Path) -> None:
    ended = await buildsys(*PROCESS, limit=100)
    assert ended.code == 0, f"{ended.text}\n{ended.errors}"
    assert ended.text.splitlines()[-1] == "The demo held."
    assert re.search(r"1\d\d lines, the same bytes live and in history\n +1\d\d of them known beforehand", ended.text)
    assert re.search(r"outcome +success, by the process driver\n", ended.text)
    assert re.search(r"webhook sent to first line seen +\d+ ms\n", ended.text)
    assert "line 100 of 100\n" in ended.text
    assert "test / Count" in ended.errors
    assert list(place.iterdir()) == []


@pytest.mark.docker
async def test_the_demo_holds_in_containers(buildsys: Command, place: Path) -> None:
    require_engine()
    ended = await buildsys("demo", "--driver", "docker", "--image", base_image(), "--json", limit=110)
    assert ended.code == 0, f"{ended.text}\n{ended.errors}"
    assert (ended.json["held"], ended.json["driver"], ended.json["differences"]) == (True, "docker", [])
    assert "line 100 of 100\n" in ended.errors
    assert list(place.iterdir()) == []


async def test_two_demos_do_not_disturb_each_other(buildsys: Command, place: Path) -> None:
    for ended in await asyncio.gather(*(buildsys(*PROCESS, limit=110) for _ in range(2))):
        assert ended.code == 0, f"{ended.text}\n{ended.errors}"
    assert list(place.iterdir()) == []


async def test_without_its_image_it_says_so_and_builds_with_processes(buildsys: Command) -> None:
    ended = await buildsys("demo", "--image", "127.0.0.1:9/none:1", limit=110)
    assert ended.code == 0, f"{ended.text}\n{ended.errors}"
    assert "plain processes instead" in ended.text


async def test_docker_that_was_asked_for_is_not_replaced(buildsys: Command, place: Path) -> None:
    ended = await buildsys("demo", "--driver", "docker", "--image", "127.0.0.1:9/none:1", limit=110)
    assert ended.code == 5
    assert "Traceback" not in ended.errors
    assert list(place.iterdir()) == []


async def test_kept_it_can_be_looked_at_until_ctrl_c(buildsys: Command, place: Path) -> None:
    process = await buildsys.start(*PROCESS, "--keep")
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(100):
        while "curl" not in text:
            line = await process.stdout.readline()
            assert line, text
            text += line.decode()
    found = re.search(r"curl -H '(?P<header>[^']+)' (?P<url>\S+)", text)
    assert found is not None
    name, _, value = found["header"].partition(": ")
    request = urllib.request.Request(found["url"], headers={name: value})
    answer = await asyncio.to_thread(lambda: urllib.request.urlopen(request).read())
    assert json.loads(answer)["builds"][0]["outcome"] == "success"
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    assert "Traceback" not in errors.decode()
    assert list(place.iterdir()) == []


async def test_ctrl_c_at_any_moment_leaves_nothing_behind(buildsys: Command, place: Path) -> None:
    for stage in (b"Starting Postgres", b"Sending a signed push"):
        process = await buildsys.start(*PROCESS)
        assert process.stdout is not None
        line = b""
        async with asyncio.timeout(60):
            while stage not in line:
                line = await process.stdout.readline()
                assert line, f"it ended before {stage!r}"
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 130, errors.decode()
        assert "Traceback" not in errors.decode()
        assert list(place.iterdir()) == []
