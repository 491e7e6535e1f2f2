"""The time limit of turns: one timer for all turns of a node, since every call begins and ends one."""

from __future__ import annotations

from actors.clock import Clock
from actors.turn import Turn


class TurnLimit:
    """Ends turns that take more than so many seconds, by cancelling what runs them."""

    def __init__(self, *, clock: Clock, seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since: dict[Turn, float] = {}

    def begin(self, turn: Turn) -> None:
        """The time of a turn runs from now on."""
        self._since[turn] = self._clock.monotonic()

    def end(self, turn: Turn) -> None:
        """It runs no more. A turn that has been ended already is `expired`."""
        self._since.pop(turn, None)

    async def run(self) -> None:
        """End what is over its time, for ever."""
        while True:
            turn, since = next(iter(self._since.items()), (None, self._clock.monotonic()))  # the oldest
            left = since + self.seconds - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(left)
            elif turn is not None:
                self.end(turn)
                turn.expire()
