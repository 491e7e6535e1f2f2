"""All mailboxes of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from actors.errors import ActorsError
from actors.kind import Kind
from actors.mailbox import Mailbox
from actors.messages import ActorId
from actors.shared import Shared
from actors.waking import Waking

SWEEP = 1.0
"""Seconds between two looks for actors that have been idle for long enough."""


class Catalog:
    """Finds or makes the mailbox of an actor, and takes idle actors out of memory."""

    def __init__(self, *, kinds: Mapping[str, Kind], shared: Shared, waking: Waking) -> None:
        self._kinds = kinds
        self._shared = shared
        self._waking = waking
        self._mailboxes: dict[ActorId, Mailbox] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self.ids())

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return sum(mailbox.waiting for mailbox in self._mailboxes.values())

    def mailbox(self, id: ActorId) -> Mailbox:
        """The actor's mailbox. Raises `ActorsError` for a namespace that this node does not have."""
        mailbox = self._mailboxes.get(id)
        if mailbox is None:
            kind = self._kinds.get(id.namespace)
            if kind is None:
                raise ActorsError(f"this node has no namespace {id.namespace!r}")
            mailbox = Mailbox(id=id, kind=kind, shared=self._shared, waking=self._waking)
            mailbox.closing = self.draining
            self._mailboxes[id] = mailbox
        return mailbox

    def is_active(self, id: ActorId) -> bool:
        """Whether the actor is in this node's memory."""
        mailbox = self._mailboxes.get(id)
        return mailbox is not None and mailbox.activation is not None

    def ids(self) -> list[ActorId]:
        """The actors in this node's memory."""
        return [mailbox.id for mailbox in self._mailboxes.values() if mailbox.activation is not None]

    def ring(self, id: ActorId) -> None:
        """A schedule of the actor may be due."""
        if not self.draining:
            self.mailbox(id).ring()

    async def sweep(self) -> None:
        """Evict idle actors, for ever."""
        while True:
            await self._shared.clock.sleep(SWEEP)
            before = self._shared.clock.monotonic() - self._shared.settings.idle
            idle = [one for one in self._mailboxes.values() if one.idle and one.last_used <= before]
            for mailbox in idle:
                if mailbox.idle and not self._shared.alarms.is_soon(mailbox.id):
                    await mailbox.evict()
                if mailbox.idle and mailbox.activation is None:
                    del self._mailboxes[mailbox.id]
                    self._shared.alarms.forget(mailbox.id)

    def drop(self, reason: ActorsError) -> None:
        """End all activations: this node may not speak for them any more."""
        for mailbox in self._mailboxes.values():
            if mailbox.activation is not None:
                mailbox.activation.end(reason)

    def close(self) -> list[ActorId]:
        """Take no more calls. Returns the actors of which something may be under way."""
        self.draining = True
        for mailbox in self._mailboxes.values():
            mailbox.closing = True
        return list(self._mailboxes)

    async def drain(self, finished: Callable[[ActorId], None]) -> None:
        """Finish the calls that wait and empty the memory; `finished` is told of each actor that is done with."""

        async def drain(mailbox: Mailbox) -> None:
            await mailbox.drain()
            finished(mailbox.id)

        await asyncio.gather(*(drain(mailbox) for mailbox in self._mailboxes.values()))

    async def stop(self) -> bool:
        """End everything at once; whether all of it has ended."""
        self.draining = True
        mailboxes = list(self._mailboxes.values())
        for mailbox in mailboxes:
            await mailbox.stop()
        return not any(mailbox.activation is not None and mailbox.activation.busy for mailbox in mailboxes)
