"""Making sure of the singletons: a node that ends at the wrong moment does not end the start of another."""

from __future__ import annotations

from typing import Any

import pytest

from actors import ActorUnavailable
from buildsys import namespaces
from buildsys.namespaces import Namespaces, ensure_singletons


class Shaky:
    """A namespace whose owner goes away while it is asked, so often."""

    def __init__(self, name: str, failures: int) -> None:
        self.name = name
        self.failures = failures
        self.ensured: list[str] = []

    async def ensure(self, name: str) -> None:
        if self.failures:
            self.failures -= 1
            raise ActorUnavailable("no answer; it may have run")
        self.ensured.append(name)


def shaky(*failures: int) -> tuple[Namespaces, list[Shaky]]:
    names = ("scheduler", "triggers", "retention")
    spaces: list[Any] = [Shaky(name, some) for name, some in zip(names, failures, strict=True)]
    unasked: Any = Shaky("build", 0)
    schedulers, inboxes, retentions = spaces
    declared = Namespaces(
        builds=unasked, schedulers=schedulers, triggers=inboxes, schedules=unasked, retentions=retentions
    )
    return declared, spaces


async def test_each_is_asked_until_it_answers() -> None:
    declared, spaces = shaky(0, 2, 1)
    await ensure_singletons(declared, start_scheduler=True, archives=True)
    assert [space.ensured for space in spaces] == [["scheduler"], ["triggers"], ["retention"]]


async def test_what_is_not_wanted_is_not_woken() -> None:
    declared, spaces = shaky(0, 0, 0)
    await ensure_singletons(declared, start_scheduler=False, archives=False)
    assert [space.ensured for space in spaces] == [[], ["triggers"], []]


async def test_a_start_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "PATIENCE", 0.3)
    declared, _ = shaky(0, 1000, 0)
    with pytest.raises(ActorUnavailable):
        await ensure_singletons(declared, start_scheduler=True, archives=True)
