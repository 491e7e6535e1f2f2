"""Coroutines that begin in their caller's step: to themselves they look as if they ran in a task all along."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from actors.eager import Eager

marked: ContextVar[str] = ContextVar("marked", default="")


class Patient(Eager):
    """Gives way only when it must."""

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None] | None:
        self._gave_way = time.monotonic()
        return super().start(work, name=name)


@pytest.fixture
async def eager() -> AsyncIterator[Eager]:
    """One whose carrier waits already."""
    eager = Patient()

    async def nothing() -> None:
        pass

    first = eager.start(nothing(), name="first")
    assert first is not None
    await first
    yield eager
    await eager.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_does_not_wait_is_over_at_once(eager: Eager) -> None:
    caller = asyncio.current_task()
    seen: list[Any] = []

    async def quick() -> None:
        async with asyncio.timeout(1):
            seen.append(asyncio.current_task())
        marked.set("inside")

    assert eager.start(quick(), name="quick") is None
    assert len(seen) == 1
    assert seen[0] is not caller
    assert asyncio.current_task() is caller
    assert marked.get() == ""


async def test_what_waits_goes_on_in_the_task_it_began_in(eager: Eager) -> None:
    seen: list[Any] = []
    gate = asyncio.Event()

    async def work() -> None:
        marked.set("inside")
        seen.append(asyncio.current_task())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        await gate.wait()
        seen.append(asyncio.current_task())
        seen.append(marked.get())

    carried = eager.start(work(), name="work")
    assert carried is not None
    assert carried.get_name() == "work"
    gate.set()
    await carried
    assert seen == [carried, carried, "inside"]
    assert marked.get() == ""


async def test_a_failing_part_cancels_what_began_with_it(eager: Eager) -> None:
    outcome: list[BaseException] = []

    async def fail() -> None:
        raise ValueError("part")

    async def work() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        except* ValueError as errors:
            outcome.extend(errors.exceptions)

    carried = eager.start(work(), name="work")
    assert carried is not None
    await carried
    assert [str(error) for error in outcome] == ["part"]


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_cancelled_at_any_moment_it_cleans_up(eager: Eager, steps: int) -> None:
    events: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            events.append("clean")

    carried = eager.start(work(), name="work")
    assert carried is not None
    for _ in range(steps):
        await asyncio.sleep(0)
    carried.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carried
    assert events == ["cancelled", "clean"]


async def test_one_that_starts_another(eager: Eager) -> None:
    events: list[str] = []
    inner: list[asyncio.Task[None] | None] = []

    async def other() -> None:
        await asyncio.sleep(0)
        events.append("other")

    async def work() -> None:
        inner.append(eager.start(other(), name="other"))
        await asyncio.sleep(0)
        events.append("work")

    outer = eager.start(work(), name="work")
    assert outer is not None
    assert inner[0] is not None
    assert inner[0] is not outer
    await asyncio.gather(outer, inner[0])
    assert sorted(events) == ["other", "work"]


async def test_an_error_is_the_tasks_result(eager: Eager) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("late")

    carried = eager.start(work(), name="work")
    assert carried is not None
    with pytest.raises(LookupError, match="late"):
        await carried


async def test_now_and_then_the_event_loop_gets_its_share() -> None:
    eager = Eager()
    ways = {"loop": 0, "at once": 0}

    async def work() -> None:
        pass

    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        carried = eager.start(work(), name="work")
        ways["at once" if carried is None else "loop"] += 1
        if carried is not None:
            await carried
    await eager.close()
    assert 2 <= ways["loop"] < ways["at once"]
