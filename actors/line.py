"""The calls of one stub, in order, wherever the actor is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from actors.call import Pending
from actors.errors import ActorsError, NestedCall, Overloaded
from actors.kind import Kind
from actors.messages import ActorId, Elsewhere, Raised, Refused, Reply
from actors.method import Method, Packed
from actors.turn import current_turn

if TYPE_CHECKING:
    from actors.router import Router

MAX_BATCH = 256
"""Calls that go to another node in one request."""

MAX_BATCH_SIZE = 8 << 20
"""Bytes of arguments behind which a request takes no further call."""


class Line:
    """The calls of one stub. They arrive in the order in which they were made.

    To an actor in this process they go at once; to another node those that wait go together, one request after another.
    """

    __slots__ = ("_delivering", "_here", "_size", "_waiting", "id", "kind", "limit", "router")

    def __init__(self, *, id: ActorId, kind: Kind, router: Router, limit: float) -> None:
        self.id = id
        self.kind = kind
        self.router = router
        self.limit = limit
        self._waiting: deque[Pending] | None = None
        self._size = 0
        self._here = 0
        self._delivering = False

    def call(self, method: Method | None, arguments: Packed) -> Pending:
        """Start a call now. Raises `NestedCall` in a turn, and `Overloaded` where too many wait in this line."""
        router = self.router
        call = Pending(
            id=self.id, kind=self.kind, method=method, arguments=arguments, clock=router.clock, limit=self.limit
        )
        if current_turn() is not None:
            raise NestedCall(f"a turn called {call}; call from ctx.spawn, or from a schedule")
        if not self._delivering and (self._here or not router.is_elsewhere(self.id)):
            self._here += 1
            call.origin = self
            router.catalog.mailbox(self.id).submit(call)
        else:
            self._enqueue(call)
        return call

    def take_back(self, call: Pending, reply: Reply) -> bool:
        """A call has left the mailbox of this node: with its reply, or to go on to wherever the actor is."""
        self._here -= 1
        if isinstance(reply, Elsewhere):
            self.router.remember(self.id, reply.address)
        elif not isinstance(reply, Refused):
            return False
        try:
            self._enqueue(call)
        except ActorsError as error:
            call.answer(Raised(failure=self.kind.failures.encode(error)))
        return True

    async def deliver(self) -> None:
        """Deliver what waits."""
        batch: list[Pending] = []
        try:
            while self._waiting:
                batch = self._take(self._waiting)
                await self.router.deliver(self.id, batch)
        except ActorsError as error:
            self._fail(batch, error)
        except asyncio.CancelledError:
            for call in (*batch, *(self._waiting or ())):
                call.fail("the node has stopped", ran="maybe" if call.begun else "no")
            raise
        finally:
            self._waiting = None
            self._size = 0
            self._delivering = False

    def _enqueue(self, call: Pending) -> None:
        settings = self.router.settings
        if not self._delivering:
            self.router.start(self)
            self._delivering = True
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= settings.mailbox:
            raise Overloaded(f"{len(self._waiting)} calls of this stub wait for {self.id}; call again later")
        if self._size + call.size > settings.mailbox_bytes:
            raise Overloaded(f"{self._size} bytes of calls of this stub wait for {self.id}; call again later")
        self._waiting.append(call)
        self._size += call.size

    def _take(self, waiting: deque[Pending]) -> list[Pending]:
        """The next calls that go together."""
        batch: list[Pending] = []
        size = 0
        while waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_SIZE:
            call = waiting.popleft()
            self._size -= call.size
            size += call.size
            batch.append(call)
        return batch

    def _fail(self, batch: Iterable[Pending], error: ActorsError) -> None:
        for call in (*batch, *(self._waiting or ())):
            call.answer(Raised(failure=self.kind.failures.encode(error)))


class Visit:
    """Calls that a line brings to a mailbox of this node together; it goes on when all have left."""

    def __init__(self, calls: list[Pending]) -> None:
        self.left: list[Pending] = []
        self.reply: Elsewhere | Refused | None = None
        self._missing = len(calls)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for call in calls:
            call.origin = self

    def take_back(self, call: Pending, reply: Reply) -> bool:
        """A call has left the mailbox; those that go on are `left`, and `reply` says where to."""
        self._missing -= 1
        if self._missing == 0 and not self._over.done():
            self._over.set_result(None)
        if not isinstance(reply, (Elsewhere, Refused)):
            return False
        self.left.append(call)
        self.reply = reply
        return True

    async def over(self) -> None:
        """Wait until none of them is in the mailbox."""
        if self._missing:
            await self._over
