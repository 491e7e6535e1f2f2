"""From a stub to the actor, wherever it is: in this process, or on the node that owns it."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque

import aiohttp
import msgspec

from actors.catalog import Catalog
from actors.clock import Clock
from actors.errors import ActorsError, ActorUnavailable, NestedCall, Overloaded
from actors.kind import Kind
from actors.messages import ActorId, Batch, Call, Elsewhere, Failures, Raised, Reply
from actors.turn import current_turn

MAX_HOPS = 3
"""Nodes that a call follows a moving actor to before it asks the database again."""

MAX_KNOWN = 100_000
"""Actors whose address is remembered."""

MAX_WAITING = 10_000
"""Calls of one stub to another node that wait for their request."""

MAX_BATCH = 256
"""Calls that go to another node in one request."""

MAX_BATCH_SIZE = 8 << 20
"""Bytes of arguments behind which a request takes no further call."""

PATH = "/_actors/call"

_decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode
_own = Failures(())


class NotDelivered(Exception):
    """The request did not reach a node that takes calls; nothing of it ran."""


class Router:
    """Delivers calls. Follows actors that move, and waits out a takeover for as long as a call may take."""

    def __init__(self, *, catalog: Catalog, clock: Clock, cluster_key: str, limit: float) -> None:
        self.catalog = catalog
        self._clock = clock
        self._cluster_key = cluster_key
        self._limit = limit
        self._known: dict[ActorId, str] = {}
        self._lines: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def line(self, id: ActorId, kind: Kind) -> Line:
        """A new line of calls to an actor."""
        return Line(id=id, kind=kind, router=self)

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
        task = asyncio.create_task(line.deliver(), name=f"{line.id} calls", context=contextvars.Context())
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)

    async def deliver(self, id: ActorId, calls: list[Call]) -> list[Reply]:
        """The replies to some calls, in order; `Raised` with `ActorUnavailable` where there is none in time."""
        until = self._clock.monotonic() + self._limit
        replies: list[Reply] = []
        hops = 0
        while len(replies) < len(calls):
            try:
                answered = await self._once(id, calls[len(replies) :])
            except NotDelivered as error:
                self._known.pop(id, None)
                if self._clock.monotonic() >= until:
                    missing = len(calls) - len(replies)
                    return replies + [_unavailable(f"{id} cannot be reached: {error}")] * missing
                await self._clock.sleep(0.2)
                continue
            for reply in answered:
                if isinstance(reply, Elsewhere):
                    hops += 1
                    self.remember(id, reply.address)
                    if hops % MAX_HOPS == 0:
                        del self._known[id]
                    break
                replies.append(reply)
        return replies

    async def close(self) -> None:
        lines = list(self._lines)
        for line in lines:
            line.cancel()
        if lines:
            await asyncio.wait(lines)
        if self._session is not None:
            await self._session.close()

    async def _once(self, id: ActorId, calls: list[Call]) -> list[Reply]:
        address = self._known.get(id)
        if address is None or self.catalog.is_active(id):
            mailbox = self.catalog.mailbox(id)
            return list(await asyncio.gather(*(mailbox.send(call) for call in calls)))
        return await self._post(address, Batch(id=id, calls=calls))

    async def _post(self, address: str, batch: Batch) -> list[Reply]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._limit, connect=2.0),
                headers={"Authorization": f"Bearer {self._cluster_key}"},
            )
        try:
            async with self._session.post(address + PATH, data=msgspec.msgpack.encode(batch)) as response:
                if response.status == 503:
                    raise NotDelivered(f"the node at {address} takes no calls")
                body = await response.read()
                if response.status != 200:
                    return [_unavailable(f"the node at {address} answered {response.status}")] * len(batch.calls)
                return _decode_replies(body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotDelivered(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            reason = f"no answer from the node at {address} ({type(error).__name__}); the call may have run"
            return [_unavailable(reason)] * len(batch.calls)


class Line:
    """The calls of one stub. They arrive in the order in which they were made.

    To an actor in this process they go at once; to another node those that wait go together, one request after another.
    """

    def __init__(self, *, id: ActorId, kind: Kind, router: Router) -> None:
        self.id = id
        self.kind = kind
        self.router = router
        self._waiting: deque[tuple[Call, asyncio.Future[Reply]]] = deque()
        self._here = 0
        self._delivering = False

    def call(self, call: Call) -> asyncio.Future[Reply]:
        """Start a call now. Raises `NestedCall` in a turn, and `Overloaded` where too many wait in this line."""
        turn = current_turn()
        if turn is not None:
            raise NestedCall(f"a turn called {self.id}.{call.method}; call from ctx.spawn, or from a schedule")
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self._here or not (self._delivering or self.router.is_elsewhere(self.id)):
            self._send_here(call, reply)
        elif len(self._waiting) < MAX_WAITING:
            self._enqueue(call, reply)
        else:
            raise Overloaded(f"{len(self._waiting)} calls of this stub wait for {self.id}; call again later")
        return reply

    async def deliver(self) -> None:
        """Deliver what waits."""
        batch: list[tuple[Call, asyncio.Future[Reply]]] = []
        try:
            while self._waiting:
                batch = self._take()
                replies = await self.router.deliver(self.id, [call for call, _ in batch])
                for (_, future), reply in zip(batch, replies, strict=True):
                    _set(future, reply)
        except ActorsError as error:
            self._fail(batch, error)
        except asyncio.CancelledError:
            self._fail(batch, ActorUnavailable("the node has stopped"))
            raise
        finally:
            self._delivering = False

    def _take(self) -> list[tuple[Call, asyncio.Future[Reply]]]:
        """The next calls that go together."""
        batch: list[tuple[Call, asyncio.Future[Reply]]] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_SIZE:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0].arguments)
        return batch

    def _send_here(self, call: Call, reply: asyncio.Future[Reply]) -> None:
        """Into the mailbox of this node; from there on to wherever the actor turns out to be."""

        def settled(done: asyncio.Future[Reply]) -> None:
            self._here -= 1
            answer = done.result()
            if isinstance(answer, Elsewhere):
                self.router.remember(self.id, answer.address)
                self._enqueue(call, reply)
            else:
                _set(reply, answer)

        self._here += 1
        self.router.catalog.mailbox(self.id).send(call).add_done_callback(settled)

    def _enqueue(self, call: Call, reply: asyncio.Future[Reply]) -> None:
        self._waiting.append((call, reply))
        if not self._delivering:
            self._delivering = True
            self.router.start(self)

    def _fail(self, batch: list[tuple[Call, asyncio.Future[Reply]]], error: ActorsError) -> None:
        for _, future in (*batch, *self._waiting):
            _set(future, Raised(failure=_own.encode(error)))
        self._waiting.clear()


def _set(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _unavailable(message: str) -> Reply:
    return Raised(failure=_own.encode(ActorUnavailable(message)))
