"""What an evaluation may cost, so that no expression and no context hangs or fills a process."""

from __future__ import annotations

from collections.abc import Iterable

from buildsys.core.expression_tree import ExpressionError

MAX_TEXT = 4 << 20
"""Characters of a text that an expression makes."""

MAX_WORK = 32 << 20
"""Units that an evaluation may spend: one for a character that is compared or copied, `ITEM` for a value visited."""

ITEM = 32
"""Units for visiting a value, which costs about as much time as comparing so many characters."""


class Work:
    """The work that one evaluation, or several together, have left."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, units: int, *, at: int) -> None:
        """Raise `ExpressionError` when more is spent than there is."""
        self._left -= units
        if self._left < 0:
            raise ExpressionError("the expression takes too much work on too much data", at=at)

    def join(self, pieces: Iterable[str], *, at: int) -> str:
        """The pieces as one text. Raises `ExpressionError` as soon as it is too long, before it is made."""
        taken = []
        length = 0
        for piece in pieces:
            length += len(piece)
            if length > MAX_TEXT:
                raise ExpressionError(f"the text that this makes is longer than {MAX_TEXT >> 20} MiB", at=at)
            self.spend(ITEM + len(piece), at=at)
            taken.append(piece)
        return "".join(taken)
