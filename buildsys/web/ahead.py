"""Work done ahead of who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def ahead(items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The same items; while one is used, the next is made. To be closed: then nothing of it goes on."""
    made = asyncio.ensure_future(_next(items))
    try:
        while found := await made:
            made = asyncio.ensure_future(_next(items))
            yield found[0]
    finally:
        made.cancel()
        await asyncio.gather(made, return_exceptions=True)


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None
