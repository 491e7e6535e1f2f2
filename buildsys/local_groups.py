"""Concurrency groups of the builds of one run: who of their jobs holds a place, and who waits for it.

The rules are a server's: one holder at a time; of those that wait only the newest stays, unless it lets all wait; and
who has it `cancel-in-progress` orders the holder out. Workflows as a whole do not wait for each other here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from buildsys.core.planned import ConcurrencyGroup
from buildsys.objects.build_life import BuildLife
from buildsys.objects.group_places import Place, PlaceKey

Seat = tuple[BuildLife, PlaceKey]


class LocalGroups:
    """Gives out places. The first of a group's list holds it, the others wait."""

    def __init__(self) -> None:
        self._seats: dict[str, list[Seat]] = {}

    def settle(self, builds: Collection[BuildLife], now: datetime) -> None:
        """Give the builds what they asked for, until nothing follows from that any more."""
        while news := [each for life in builds for each in self._news(life)]:
            for (life, key), place in news:
                life.take_news({key: place}, now)

    def _news(self, life: BuildLife) -> Iterator[tuple[Seat, Place]]:
        changes = life.places.take_changes()
        for key in changes.released:
            yield from self._leave((life, key))
        for key, group in changes.asked.items():
            yield from self._join((life, key), group)

    def _join(self, seat: Seat, group: ConcurrencyGroup) -> Iterator[tuple[Seat, Place]]:
        seats = self._seats.setdefault(group.group, [])
        reason = f"canceled by {seat[1].holder}, which is newer in the concurrency group {group.group!r}"
        before = seats[1:] if group.queue == "single" else []
        for other in before:
            seats.remove(other)
            yield other, Place(lost=reason)
        if seats and group.cancel_in_progress:
            yield seats[0], Place(held=True, lost=reason)
        seats.append(seat)
        if seats[0] is seat:
            yield seat, Place(held=True)

    def _leave(self, seat: Seat) -> Iterator[tuple[Seat, Place]]:
        seats = self._seats.get(seat[1].name, [])
        if seat not in seats:
            return
        held = seats[0] == seat
        seats.remove(seat)
        if held and seats:
            yield seats[0], Place(held=True)
