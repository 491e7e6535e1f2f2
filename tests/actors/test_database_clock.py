"""The database's time on a node: what an answer that took long does to it."""

from __future__ import annotations

from datetime import datetime, timedelta

from actors.clock import AGEING, DatabaseClock
from actors.fake_clock import FakeClock


class Asked:
    """A database clock, and a database that says its time when it is asked; the answer takes a while."""

    def __init__(self) -> None:
        self.local = FakeClock()
        self.clock = DatabaseClock(self.local)
        self.ahead = timedelta()

    @property
    def true(self) -> datetime:
        return self.local.now() + self.ahead

    async def ask(self, took: float) -> None:
        sent, said = self.local.monotonic(), self.true
        await self.local.advance(took)
        self.clock.sample(said, sent)

    @property
    def behind(self) -> float:
        """Seconds."""
        return (self.true - self.clock.now()).total_seconds()


async def test_the_first_answer_counts_however_long_it_took() -> None:
    asked = Asked()
    asked.ahead = timedelta(hours=1)
    assert asked.behind == 3600
    await asked.ask(5)
    assert asked.behind == 5


async def test_an_answer_that_took_longer_does_not_put_the_clock_back() -> None:
    asked = Asked()
    await asked.ask(0.25)
    await asked.local.advance(3)
    await asked.ask(2)
    assert asked.behind == 0.25


async def test_a_surer_answer_counts_at_once() -> None:
    asked = Asked()
    await asked.ask(2)
    await asked.ask(0.25)
    assert asked.behind == 0.25


async def test_a_clock_that_jumps_is_followed_by_answers_as_quick_as_before() -> None:
    for hours in (1, -1):
        asked = Asked()
        await asked.ask(0.25)
        asked.ahead = timedelta(hours=hours)
        await asked.ask(0.25)
        assert asked.behind == 0.25


async def test_slower_answers_count_once_the_last_has_aged() -> None:
    asked = Asked()
    await asked.ask(0.25)
    asked.ahead = timedelta(hours=1)
    await asked.ask(2)
    assert asked.behind == 3600.25
    await asked.local.advance(2 / AGEING)
    await asked.ask(2)
    assert asked.behind == 2
