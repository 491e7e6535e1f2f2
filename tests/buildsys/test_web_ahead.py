"""Work done ahead: same items, one early, and an end when nobody wants more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from buildsys.web.ahead import ahead


class Items:
    """Numbers up to `count`, then what is raised; `made` tells how many there were."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self._count = count
        self._error = error
        self.made = 0
        self.wanted = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[int, None]:
        for number in range(self._count):
            self.made = number + 1
            self.wanted.set()
            yield number
        if self._error is not None:
            raise self._error


async def test_the_items_come_once_and_in_order() -> None:
    assert [item async for item in ahead(Items(5)())] == [0, 1, 2, 3, 4]
    assert [item async for item in ahead(Items(0)())] == []


async def test_the_next_is_made_while_one_is_used_and_no_more() -> None:
    items = Items(5)
    async with contextlib.aclosing(ahead(items())) as early:
        assert await anext(early) == 0
        items.wanted.clear()
        async with asyncio.timeout(5):
            await items.wanted.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert items.made == 2


async def test_an_error_comes_at_its_place() -> None:
    early = ahead(Items(2, ValueError("broken"))())
    assert [await anext(early), await anext(early)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        await anext(early)


async def test_nothing_goes_on_once_it_is_closed() -> None:
    ended = list[str]()

    async def stuck() -> AsyncGenerator[int, None]:
        yield 0
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("the item under way")

    async with contextlib.aclosing(ahead(stuck())) as early:
        assert await anext(early) == 0
        await asyncio.sleep(0)
    assert ended == ["the item under way"]
    assert len(asyncio.all_tasks()) == 1
