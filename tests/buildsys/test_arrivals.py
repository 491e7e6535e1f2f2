"""The kernel tells of files that are moved into a folder, once each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildsys.runner.arrivals import Arrivals
from buildsys.runner.pace import Pace


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield file
    finally:
        os.close(file)


def move_in(folder: Path) -> None:
    (folder / "status.new").write_text("0\n")
    (folder / "status.new").rename(folder / "status")


async def test_a_file_that_is_moved_into_a_folder_is_told_of_and_one_that_is_made_there_is_not(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with Arrivals() as arrivals:
        with opened(tmp_path) as folder, opened(other) as elsewhere:
            with arrivals.next_in(folder) as arrived, arrivals.next_in(elsewhere) as not_arrived:
                (other / "made").write_text("")
                move_in(tmp_path)
                async with asyncio.timeout(10):
                    await arrived.wait()
                assert not not_arrived.is_set()


async def test_a_folder_is_told_of_again_only_to_who_asks_again(tmp_path: Path) -> None:
    async with Arrivals() as arrivals:
        with opened(tmp_path) as folder:
            for _ in range(3):
                with arrivals.next_in(folder) as arrived:
                    move_in(tmp_path)
                    async with asyncio.timeout(10):
                        await arrived.wait()
                    arrived.clear()
                    for _ in range(100):
                        move_in(tmp_path)
                    with arrivals.next_in(folder) as after:
                        move_in(tmp_path)
                        async with asyncio.timeout(10):
                            await after.wait()
                    assert not arrived.is_set()


async def test_without_the_kernel_who_waits_looks_again_by_himself(tmp_path: Path) -> None:
    with opened(tmp_path) as folder, Arrivals().next_in(folder) as arrived:
        move_in(tmp_path)
        async with asyncio.timeout(10):
            await Pace().wait(arrived)
        assert not arrived.is_set()
