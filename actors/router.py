"""From a stub to the actor, wherever it is: in this process, or on the node that owns it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars

import aiohttp
import msgspec

from actors.call import Pending
from actors.catalog import Catalog
from actors.clock import Clock
from actors.database import TROUBLE
from actors.errors import ActorUnavailable
from actors.kind import Kind
from actors.line import Line, Visit
from actors.messages import ActorId, Batch, Elsewhere, Refused, Reply
from actors.placement import Placement
from actors.shared import NodeSettings

MAX_HOPS = 3
"""Nodes that a call follows a moving actor to before it asks the database again."""

MAX_KNOWN = 100_000
"""Actors whose address is remembered."""

FIRST_PAUSE, LAST_PAUSE = 0.02, 0.2
"""Seconds between two tries to reach an actor that no node takes calls for, growing from one to the other."""

CONNECT = 2.0
"""Seconds to connect to another node in."""

GRACE = 1.0
"""Seconds for which another node's answer is waited for when all callers have given up: it may say where to go next."""

PATH = "/_actors/call"

_decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode
_encode = msgspec.msgpack.Encoder().encode


class NotDelivered(Exception):
    """The request did not reach a node that takes calls; nothing of it ran."""


class Unanswered(Exception):
    """The request was sent, and no answer came; what it asked for may have run."""


class Router:
    """Delivers calls. Follows actors that move, and waits out a takeover for as long as a caller waits."""

    def __init__(
        self, *, catalog: Catalog, placement: Placement, clock: Clock, cluster_key: str | None, settings: NodeSettings
    ) -> None:
        self.catalog = catalog
        self._placement = placement
        self.clock = clock
        self.settings = settings
        self._cluster_key = cluster_key
        self._known: dict[ActorId, str] = {}
        self._lines: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def line(self, id: ActorId, kind: Kind, limit: float | None = None) -> Line:
        """A new line of calls to an actor, each of which may take so many seconds."""
        return Line(id=id, kind=kind, router=self, limit=self.settings.call_limit if limit is None else limit)

    def is_elsewhere(self, id: ActorId) -> bool:
        """Whether the actor is known to be on another node."""
        return id in self._known and not self.catalog.is_active(id)

    def remember(self, id: ActorId, address: str) -> None:
        """The actor was last seen at this address."""
        self._known.pop(id, None)
        self._known[id] = address
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def start(self, line: Line) -> None:
        """Own the delivery of what waits in a line."""
        if self._closed:
            raise ActorUnavailable(f"the node has stopped; no call to {line.id} was made", ran="no")
        task = asyncio.create_task(line.deliver(), name=f"{line.id} calls", context=contextvars.Context())
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)

    async def deliver(self, id: ActorId, calls: list[Pending]) -> None:
        """Bring calls to the actor, in order, and have all of them answered."""
        hops = 0
        pause = FIRST_PAUSE
        while calls := _in_time(calls):
            try:
                calls, reply = await self._once(id, calls)
            except Unanswered as error:
                self._known.pop(id, None)  # it may have another owner by now, which only the database knows
                for call in calls:
                    call.fail(f"no answer to {call}: {error}; it may have run", ran="maybe")
                return
            except NotDelivered as error:
                reply = Refused(reason=str(error))
            for call in calls:
                call.begun = False
                call.hindrance = reply.reason if isinstance(reply, Refused) else call.hindrance
            if isinstance(reply, Elsewhere):
                hops += 1
                self.remember(id, reply.address)
                if hops % MAX_HOPS == 0:
                    del self._known[id]
            elif isinstance(reply, Refused):
                self._known.pop(id, None)
                await self.clock.sleep(pause)
                pause = min(LAST_PAUSE, pause * 1.5)
                if self.catalog.draining:
                    await self._follow(id)

    async def close(self) -> None:
        self._closed = True
        lines = list(self._lines)
        for line in lines:
            line.cancel()
        if lines:
            await asyncio.wait(lines)
        if self._session is not None:
            await self._session.close()

    async def _follow(self, id: ActorId) -> None:
        """Look who has, or may take, an actor that this node takes no calls for any more."""
        with contextlib.suppress(*TROUBLE):
            if (address := await self._placement.elsewhere(id)) is not None:
                self.remember(id, address)

    async def _once(self, id: ActorId, calls: list[Pending]) -> tuple[list[Pending], Elsewhere | Refused | None]:
        """Try once. Returns the calls that have not run, and why the first of them has not."""
        address = self._known.get(id)
        if address is None or self.catalog.is_active(id):
            visit = Visit(calls)
            mailbox = self.catalog.mailbox(id)
            for call in calls:
                mailbox.submit(call)
            await visit.over()
            return visit.left, visit.reply
        if not address or self._cluster_key is None:
            raise NotDelivered("the node that has the actor, or this one, has no address and no cluster_key")
        for call in calls:
            call.begun = True
        # one that stands still has lost its lease by then: later calls ask the database who else has the actor
        forget = asyncio.get_running_loop().call_later(self.settings.lease_ttl, self._known.pop, id, None)
        try:
            replies = await self._post(address, Batch(id=id, calls=[call.to_wire() for call in calls]), calls[-1].left)
        finally:
            forget.cancel()
        for done, (call, reply) in enumerate(zip(calls, replies, strict=True)):
            if isinstance(reply, (Elsewhere, Refused)):
                return calls[done:], reply
            call.answer(reply)
        return [], None

    async def _post(self, address: str, batch: Batch, limit: float) -> list[Reply]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._cluster_key}"},
                connector=aiohttp.TCPConnector(limit=0),
                auto_decompress=False,
            )
        timeout = aiohttp.ClientTimeout(total=limit + GRACE, connect=CONNECT)
        try:
            async with self._session.post(address + PATH, data=_encode(batch), timeout=timeout) as response:
                if response.status == 503:
                    raise NotDelivered(f"the node at {address} takes no calls")
                body = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotDelivered(str(error)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(f"{type(error).__name__} at {address}") from error
        if response.status != 200:
            raise Unanswered(f"the node at {address} answered {response.status}: {body[:200]!r}")
        try:
            replies = _decode_replies(body)
        except msgspec.DecodeError as error:
            raise Unanswered(f"the node at {address} answered what is not a reply: {error}") from error
        if len(replies) != len(batch.calls):
            raise Unanswered(f"the node at {address} answered {len(replies)} of {len(batch.calls)} calls")
        return replies


def _in_time(calls: list[Pending]) -> list[Pending]:
    """The calls that somebody waits for; the others are told that they did not run."""
    for call in calls:
        if call.reply is None and call.left <= 0:
            call.expire()
    return [call for call in calls if call.reply is None]
