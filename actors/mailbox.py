"""An actor's mailbox on a node: calls in order, one turn after the other, on an activation that is made when needed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque

import structlog

from actors.activation import Activation
from actors.border import is_own, message_of, told
from actors.call import Call
from actors.clock import Timer
from actors.database import LOST
from actors.errors import ActorReset, ActorUnavailable, Overloaded, Ran
from actors.kind import Kind
from actors.messages import ActorId, Elsewhere, Raised, Refused, Reply, Returned
from actors.placement import Moved
from actors.shared import Shared
from actors.waking import Waking

logger = structlog.get_logger(__name__)

HOLD_OFF = 5.0
"""Seconds between two tries, at most, to activate an actor that cannot be, or whose every life fails."""


class _Beside:
    """Code beside turns that waits for its own turn, and then says when that is over."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()


class Mailbox:
    """Runs one turn at a time. A pump runs while there is something to do; an idle mailbox costs memory alone."""

    def __init__(self, *, id: ActorId, kind: Kind, shared: Shared, waking: Waking) -> None:
        self.id = id
        self._kind = kind
        self._shared = shared
        self._waking = waking
        self._queue: deque[Call | _Beside] = deque()
        self._size = 0
        self._running = False
        self._stopped = False
        self._pump: asyncio.Task[None] | None = None
        self._turn: _Beside | None = None
        self._wanted = False
        self._failures = 0
        self._fruitless = 0
        self._return: Timer | None = None
        self._failed_runs: dict[str, BaseException] = {}
        self.activation: Activation | None = None
        self.last_used = shared.clock.monotonic()
        self.closing = False

    @property
    def idle(self) -> bool:
        """Whether nothing keeps the actor in memory."""
        if self._running or self._queue or self._return is not None:
            return False
        return self.activation is None or not self.activation.busy

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    def submit(self, call: Call) -> None:
        """Queue a call. It gets its reply once all that it has seen or written is durable.

        Where nothing else waits for the actor its turn begins at once, in the caller's step.
        """
        settings = self._shared.settings
        if self.closing:
            call.answer(Refused(reason=f"the node of {self.id} is leaving"))
        elif len(self._queue) >= settings.mailbox:
            self._overload(call, f"{len(self._queue)} calls wait")
        elif self._size + call.size > settings.mailbox_bytes:
            self._overload(call, f"{self._size} bytes of calls wait")
        else:
            self._queue.append(call)
            self._size += call.size
            if not self._running:
                self._start_pump(eagerly=self.activation is not None)

    def ring(self) -> None:
        """A schedule may be due: run it, on a new activation if need be."""
        self._stay()
        if self.activation is not None and self.activation.dead is None:
            self.activation.fire()
        elif not self.closing:
            self._wanted = True
            self._start_pump()

    async def take(self, activation: Activation) -> None:
        waiting = _Beside(activation)
        if activation.dead is not None:
            raise ActorReset(str(activation.dead))
        if not self._running and activation is self.activation:
            self._running = True
            self._turn = waiting
            return
        self._queue.append(waiting)
        self._start_pump()
        try:
            await waiting.granted
        except asyncio.CancelledError:
            waiting.over.set()
            raise
        self._turn = waiting

    def give(self) -> None:
        assert self._turn is not None
        self._turn.over.set()
        self._turn = None
        if self._pump is None:  # nobody else waited when the turn was taken
            self._rest()
            if self._more:
                self._start_pump()

    def reset(self) -> None:
        self._start_pump()

    async def evict(self, reason: BaseException | None = None) -> None:
        """End the activation, between two turns; the next call or schedule makes a new one."""
        activation = self.activation
        if activation is not None:
            activation.end(reason or ActorReset(f"{self.id} was evicted"), again=False)
            while self._running and self.activation is activation:
                await self._turns()

    async def drain(self) -> None:
        """Finish the calls that wait, take no more, and end the activation."""
        self.closing = True
        while self._running:
            await self._turns()
        await self.evict(ActorReset(f"{self.id} has left this node's memory"))

    async def stop(self) -> None:
        """End at once, as a crash would."""
        self.closing = self._stopped = True
        self._stay()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        if self.activation is not None:
            await self.activation.close()
        self._fail_waiting(self._raised(ActorUnavailable(f"the node of {self.id} has stopped", ran="no")))

    def _overload(self, call: Call, reason: str) -> None:
        call.answer(self._raised(Overloaded(f"{reason} for {self.id}; call again later")))

    def _start_pump(self, *, eagerly: bool = False) -> None:
        if self._running or self._stopped:
            return
        self._running = True
        if not eagerly:
            self._pump = asyncio.create_task(self._run(), name=f"{self.id} turns", context=contextvars.Context())
        elif (pump := self._shared.eager.start(self._run(), name=f"{self.id} turns")) is not None:
            self._pump = pump

    async def _run(self) -> None:
        try:
            while self._more:
                if self.activation is not None and self.activation.dead is not None:
                    await self._bury(self.activation)
                else:
                    await self._step()
        except asyncio.CancelledError:
            self._fail_waiting(self._raised(ActorUnavailable(f"the turns of {self.id} were ended", ran="no")))
            raise
        finally:
            self._pump = None
            self._rest()

    @property
    def _more(self) -> bool:
        """Whether there is something to do."""
        if self._queue or self._wanted:
            return True
        return self.activation is not None and self.activation.dead is not None

    def _rest(self) -> None:
        self._running = False
        self.last_used = self._shared.clock.monotonic()

    async def _turns(self) -> None:
        """Wait until those who have the actor now are done."""
        if self._pump is not None:
            await asyncio.wait([self._pump])
        elif self._turn is not None:
            await self._turn.over.wait()

    async def _step(self) -> None:
        if self.activation is None:
            try:
                await self._activate()
            except Moved as moved:
                self._wanted = False
                self._fail_waiting(Elsewhere(address=moved.address))
                return
            except BaseException as error:  # the border of the turn: its callers are told
                if not is_own(error):
                    raise
                self._failures += 1
                self._wanted = False
                text = told(error)
                if isinstance(error, LOST):
                    reason = f"{self.id} cannot be loaded, the call did not run: {message_of(error)}"
                    error = ActorUnavailable(reason, ran="no")
                self._fail_waiting(self._raised(error))
                logger.warning("actor_not_activated", actor=str(self.id), error=text)
                return
        assert self.activation is not None
        self._wanted = False
        if not self._queue:
            return
        item = self._next()
        if isinstance(item, Call):
            if item.reply is not None:
                return
            if item.left <= 0:
                item.expire()
                return
            await self._call(self.activation, item)
            if self._shared.settings.paranoid:
                await self._end_if_idle(self.activation)
        elif item.activation is not self.activation:
            _refuse(item)
        elif not item.granted.cancelled():
            item.granted.set_result(None)
            await item.over.wait()

    async def _call(self, activation: Activation, call: Call) -> None:
        turn = activation.exclusive()
        try:
            with turn:
                result = await call.run(activation)
        except BaseException as error:  # the border of the turn
            if not is_own(error):
                call.fail(f"the node of {self.id} has stopped", ran="maybe")
                raise
            reply = self._raised(error, ran="maybe" if turn.stands else "no")
            self._release(activation, call, reply, wrote=turn.stands)
        else:
            self._release(activation, call, Returned(value=result), wrote=turn.wrote)

    def _release(self, activation: Activation, call: Call, reply: Reply, *, wrote: bool) -> None:
        """Let a reply out, an error like a result, once what it may tell of is durable."""
        commit = activation.last_commit
        if commit is None:
            error = None if wrote else activation.fence.broken
            self._answer(activation, call, reply, error, wrote=wrote)
            return

        def settled(commit: asyncio.Future[None]) -> None:
            error = commit.exception()
            error = error if error is None or wrote else activation.fence.broken
            self._answer(activation, call, reply, error, wrote=wrote)

        commit.add_done_callback(settled)

    def _answer(
        self, activation: Activation, call: Call, reply: Reply, error: BaseException | None, *, wrote: bool
    ) -> None:
        """Answer, unless this node may not speak for the actor any more."""
        error = error or activation.silenced(wrote=wrote)
        call.answer(reply if error is None else self._raised(error))
        self._shared.settings.faults.reach("reply_released")

    async def _activate(self) -> None:
        if self._failures:
            await self._shared.clock.sleep(_pause(self._failures))
        woken = await self._waking.wake(self.id)
        activation = Activation(kind=self._kind, woken=woken, shared=self._shared, lock=self)
        failed, self._failed_runs = self._failed_runs, {}
        try:
            await activation.start(failed)
            self._shared.lease.check(activation.fence.incarnation)
        except BaseException:
            self._failed_runs = failed
            await activation.close()
            raise
        self._failures = 0
        self._shared.count.activations += 1
        self.activation = activation
        self._shared.settings.faults.reach("activation_loaded")

    async def _end_if_idle(self, activation: Activation) -> None:
        if activation.last_commit is not None:
            await asyncio.wait([activation.last_commit])
        if not activation.busy:
            activation.end(ActorReset("paranoid"), again=False)

    async def _bury(self, activation: Activation) -> None:
        for item in [item for item in self._queue if isinstance(item, _Beside)]:
            self._queue.remove(item)
            _refuse(item)
        await activation.close()
        if activation.busy:  # what does not end must not begin again beside it: the pump comes here once more
            logger.warning("actor_does_not_end", actor=str(self.id), work=activation.unfinished)
            return
        self.activation = None
        self._shared.count.resets[type(activation.dead).__name__] += 1
        self._failed_runs |= activation.runs.failed
        if activation.wanted and not self.closing:
            self._come_back(fruitful=activation.fruitful)

    def _come_back(self, *, fruitful: bool) -> None:
        """Begin the next life at once; after a pause, where several in a row have ended with nothing durable."""
        self._fruitless = 0 if fruitful else self._fruitless + 1
        if self._fruitless < 2:
            self._wanted = True
        elif self._return is None:
            self._return = self._shared.clock.call_later(_pause(self._fruitless), self.ring)

    def _stay(self) -> None:
        """Do not come back by time."""
        if self._return is not None:
            self._return.cancel()
            self._return = None

    def _fail_waiting(self, reply: Reply) -> None:
        while self._queue:
            item = self._next()
            if isinstance(item, Call):
                item.answer(reply)
            else:
                _refuse(item)

    def _next(self) -> Call | _Beside:
        item = self._queue.popleft()
        if isinstance(item, Call):
            self._size -= item.size
        return item

    def _raised(self, error: BaseException, *, ran: Ran = "no") -> Raised:
        return Raised(failure=self._kind.failures.encode(error, ran=ran))


def _pause(failed: int) -> float:
    """Seconds until the next try."""
    return min(HOLD_OFF, 0.05 * 2.0 ** min(failed, 16))


def _refuse(item: _Beside) -> None:
    if not item.granted.done():
        item.granted.set_exception(ActorReset("the activation has ended"))
    with contextlib.suppress(asyncio.CancelledError, ActorReset):
        item.granted.exception()
