"""Time by hand: what it wakes is done before it goes on."""

from __future__ import annotations

import asyncio

from actors.fake_clock import FakeClock


async def test_time_waits_for_whoever_it_woke_and_not_for_others_in_their_place() -> None:
    clock = FakeClock()
    start = clock.now()
    seen: list[float] = []

    async def work() -> None:
        while len(seen) < 3:
            await clock.sleep(1)
            falling_asleep = asyncio.create_task(clock.sleep(10))
            await asyncio.sleep(0.2)
            seen.append((clock.now() - start).total_seconds())
            falling_asleep.cancel()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    await clock.advance(5)
    assert seen == [1, 2, 3]
    await working


async def test_time_does_not_wait_for_ever() -> None:
    clock = FakeClock()
    woken = asyncio.Event()

    async def work() -> None:
        await clock.sleep(1)
        woken.set()
        await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    await clock.advance(3)
    assert woken.is_set()
    working.cancel()


async def test_time_passes_who_was_woken_otherwise() -> None:
    clock = FakeClock()
    sleeping = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    sleeping.cancel()
    await clock.advance(3)
    await asyncio.wait([sleeping])
    assert sleeping.cancelled()
