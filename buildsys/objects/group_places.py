"""The places that a build has in its project's concurrency groups, as its actor knows them.

A place is asked for when a job is to be offered that needs it, from the outermost of its groups to its own, and given
back in the commit in which its holder is over. Who gets it, and who is ordered out, the Scheduler says.

Source: "Control the concurrency of workflows and jobs" in GitHub's documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from buildsys.core.planned import ConcurrencyGroup


class PlaceKey(NamedTuple):
    """The holder, within its build, and the group's name."""

    holder: str
    name: str


@dataclass(slots=True)
class Place:
    """`lost` says why who is there is to end, or never gets there."""

    held: bool = False
    lost: str | None = None


@dataclass(slots=True)
class Standing:
    """Whether a job may be offered: it `waits` for a group, or is `out` for good, and why."""

    waits: str | None = None
    out: str | None = None


@dataclass(slots=True)
class PlaceChanges:
    """What is to be written: places asked for in this order, given back, and those whose news have been taken."""

    asked: dict[PlaceKey, ConcurrencyGroup] = field(default_factory=dict)
    released: list[PlaceKey] = field(default_factory=list)
    told: dict[PlaceKey, Place] = field(default_factory=dict)


class GroupPlaces:
    """Pure: what changes stands in `changes`. The place of the whole build is taken as the build leaves the queue."""

    def __init__(self) -> None:
        self._places: dict[PlaceKey, Place] = {}
        self.changes = PlaceChanges()

    def restore(self, key: PlaceKey, place: Place) -> None:
        """Know again what is stored."""
        self._places[key] = place

    def look(self, groups: tuple[ConcurrencyGroup, ...]) -> Standing:
        """How a job of these groups stands. The first that it lacks is asked for."""
        for number, group in enumerate(groups):
            around = [outer for outer in groups[:number] if outer.group == group.group]
            if any(outer.holder != group.holder for outer in around):
                return Standing(out=f"it would wait for itself: what it is part of holds the group {group.group!r}")
            if not group.holder or around:
                continue
            key = PlaceKey(group.holder, group.group)
            if key not in self._places:
                self._places[key] = Place()
                self.changes.asked[key] = group
            place = self._places[key]
            if not place.held:
                return Standing(waits=f"waits for the concurrency group {group.group!r}", out=place.lost)
        return Standing()

    def learn(self, key: PlaceKey, place: Place) -> None:
        """The Scheduler has given the place, or taken it away."""
        if key in self._places:
            self._places[key] = place
            self.changes.told[key] = place

    def release(self, is_over: Callable[[str], bool]) -> None:
        """Give back the places of all holders that are over."""
        for key in [key for key in self._places if is_over(key.holder)]:
            del self._places[key]
            if self.changes.asked.pop(key, None) is None:
                self.changes.released.append(key)

    def take_changes(self) -> PlaceChanges:
        """What is to be written since the last call."""
        taken, self.changes = self.changes, PlaceChanges()
        return taken
