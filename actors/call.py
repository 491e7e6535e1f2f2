"""A call under way: what a caller holds, and what waits in a mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from actors.clock import Clock
from actors.errors import ActorUnavailable, Ran
from actors.kind import Kind
from actors.messages import ENSURE, ActorId, Raised, Reply, Returned, SentCall
from actors.method import PLAIN_SIZE, Method, Packed

if TYPE_CHECKING:
    from actors.activation import Activation

logger = structlog.get_logger(__name__)


class Call:
    """A method (None: see `Namespace.ensure`) and its packed arguments, on the way to a turn and back.

    One that has not `begun` by `until`, on the clock's monotonic time, never does; `hindrance` is why the last try to
    begin it came to nothing.
    """

    __slots__ = ("arguments", "begun", "clock", "hindrance", "id", "kind", "method", "reply", "size", "until")

    def __init__(
        self, *, id: ActorId, kind: Kind, method: Method | None, arguments: Packed, clock: Clock, limit: float
    ) -> None:
        self.id = id
        self.kind = kind
        self.method = method
        self.arguments = arguments
        self.size = len(arguments) if type(arguments) is bytes else PLAIN_SIZE
        self.clock = clock
        self.until = clock.monotonic() + limit
        self.begun = False
        self.hindrance = ""
        self.reply: Reply | None = None

    def __str__(self) -> str:
        return f"{self.id}.{'ensure' if self.method is None else self.method.name}"

    @property
    def left(self) -> float:
        """Seconds until the caller gives up."""
        return self.until - self.clock.monotonic()

    async def run(self, activation: Activation) -> Any:
        """What the turn does; the result is packed."""
        self.begun = True
        if self.method is None:
            assert isinstance(self.arguments, bytes)
            activation.ensure(msgspec.msgpack.decode(self.arguments, type=str))
            return None
        return self.method.pack_result(await self.method.call(activation.instance, self.arguments))

    def answer(self, reply: Reply) -> None:
        """Settle the call. A second answer is ignored."""
        if self.reply is None:
            self.reply = reply

    def fail(self, message: str, *, ran: Ran) -> None:
        """Settle the call with `ActorUnavailable`."""
        self.answer(Raised(failure=self.kind.failures.encode(ActorUnavailable(message, ran=ran))))

    def expire(self) -> None:
        """Settle the call whose caller waits no longer."""
        if self.begun:
            self.fail(f"no answer to {self} in time; the call may have run", ran="maybe")
        else:
            why = f": {self.hindrance}" if self.hindrance else ""
            self.fail(f"{self} was not begun in time; the call did not run{why}", ran="no")


class Origin(Protocol):
    """Who brought a call to a mailbox, and sees the reply before its caller does."""

    def take_back(self, call: Pending, reply: Reply) -> bool:
        """Whether the call goes on elsewhere; otherwise the reply is the caller's."""
        ...


class Pending(Call, Coroutine[Any, Any, Any]):
    """A call as its caller has it: the coroutine that a method call is. Awaited, it returns or raises.

    It has started already, awaited or not; whoever stops waiting does not stop it. An error that nobody has waited for
    by the time the call is forgotten is logged.
    """

    __slots__ = ("_steps", "_unheard", "_waiter", "origin")

    def __init__(
        self, *, id: ActorId, kind: Kind, method: Method | None, arguments: Packed, clock: Clock, limit: float
    ) -> None:
        super().__init__(id=id, kind=kind, method=method, arguments=arguments, clock=clock, limit=limit)
        self.origin: Origin | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._unheard: _Unheard | None = None
        self._steps: Generator[Any, Any, Any] | None = None

    def answer(self, reply: Reply) -> None:
        """Settle the call, unless it goes on elsewhere. A second answer is ignored."""
        if self.reply is not None:
            return
        origin, self.origin = self.origin, None
        if origin is not None and origin.take_back(self, reply):
            return
        self.reply = reply
        waiter = self._waiter
        if waiter is None:
            if type(reply) is Raised:
                self._unheard = _Unheard(str(self), reply)
        elif not waiter.done():
            waiter.set_result(None)

    def to_wire(self) -> SentCall:
        """The call as another node gets it."""
        if self.method is None:
            assert isinstance(self.arguments, bytes)
            return SentCall(method=ENSURE, arguments=self.arguments, left=self.left)
        return SentCall(method=self.method.name, arguments=self.method.encoded(self.arguments), left=self.left)

    def __await__(self) -> Generator[Any, Any, Any]:
        if self.reply is None:
            yield from self._wait()
        if self._unheard is not None:
            self._unheard.heard = True
        match self.reply:
            case Returned(value=value):
                return None if self.method is None else self.method.unpack_result(value)
            case Raised(failure=failure):
                raise self.kind.failures.decode(failure)
            case reply:
                raise AssertionError(reply)

    def _wait(self) -> Generator[Any, Any, None]:
        self._waiter = asyncio.get_running_loop().create_future()
        timer = self.clock.call_later(self.left, self.expire)
        try:
            yield from self._waiter
        finally:
            timer.cancel()

    def send(self, value: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()


class Arrivals:
    """Calls that came from another node together."""

    def __init__(self, calls: int) -> None:
        self._missing = calls
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self) -> None:
        """One of them has its reply."""
        self._missing -= 1
        if self._missing == 0 and not self._settled.done():
            self._settled.set_result(None)

    async def wait(self) -> None:
        """Wait until all have."""
        if self._missing:
            await self._settled


class Arrival(Call):
    """A call that came from another node, where its caller waits."""

    __slots__ = ("_name", "_together")

    def __init__(self, sent: SentCall, *, id: ActorId, kind: Kind, clock: Clock, together: Arrivals) -> None:
        method = kind.methods.get(sent.method)
        super().__init__(id=id, kind=kind, method=method, arguments=sent.arguments, clock=clock, limit=sent.left)
        self._name = sent.method
        self._together = together

    async def run(self, activation: Activation) -> Any:
        if self.method is None and self._name != ENSURE:
            self.kind.method(self._name)  # raises, as the stub of a node with this class would
        return await super().run(activation)

    def answer(self, reply: Reply) -> None:
        if self.reply is None:
            if type(reply) is Returned and self.method is not None:
                reply = Returned(value=self.method.encoded_result(reply.value))
            self.reply = reply
            self._together.settle()


class Errand(Call):
    """Any other turn: `run` does what it is told, and `done` has the reply."""

    __slots__ = ("_function", "done")

    def __init__(
        self, function: Callable[[Activation], Awaitable[bytes]], *, id: ActorId, kind: Kind, clock: Clock, limit: float
    ) -> None:
        super().__init__(id=id, kind=kind, method=None, arguments=(), clock=clock, limit=limit)
        self._function = function
        self.done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    async def run(self, activation: Activation) -> Any:
        self.begun = True
        return await self._function(activation)

    def answer(self, reply: Reply) -> None:
        if not self.done.done():
            self.reply = reply
            self.done.set_result(reply)


class _Unheard:
    """An error on its way to a caller that has not waited for it yet."""

    __slots__ = ("_call", "_reply", "heard")

    def __init__(self, call: str, reply: Raised) -> None:
        self._call = call
        self._reply = reply
        self.heard = False

    def __del__(self) -> None:
        if not self.heard:
            failure = self._reply.failure
            logger.warning("call_failed_unheard", call=self._call, error=f"{failure.type}: {failure.message}")
