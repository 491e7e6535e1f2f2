"""Named moments in a node's work, at which a test may stop, kill or disturb it."""

from __future__ import annotations

from typing import Literal

Point = Literal[
    "call_received",  # a call came from another node and waits for its turn
    "activation_acquired",  # the actor's row has the next epoch; nothing of the actor is loaded
    "activation_loaded",  # the actor is about to take its first call
    "turn_over",  # a turn has ended whose writes have not been given to the committer
    "commit_begun",  # the fences have passed; the writes, or their COMMIT, have not been sent
    "commit_sent",  # COMMIT, or the one statement that commits by itself, is on its way; no answer has been read
    "commit_answered",  # the commit is durable; no reply to what it holds has been released
    "reply_released",  # the reply has been given to whoever carries it to the caller
    "lease_renewing",  # the node is about to renew its lease
    "alarm_due",  # a run of a schedule begins
    "alarm_run_done",  # a run has ended well; its schedule is still set
    "drain_begun",  # the node takes no more calls
    "drain_finished",  # all its turns are durable; it still owns its actors
    "drain_released",  # its actors are free; its lease still holds
]
"""The moments, in the order of a node's life."""


class FaultPoints:
    """Told whenever a node reaches a named moment; this one lets it pass.

    A test gives `NodeSettings.faults` a subclass, which may stop the process or raise there. It is called in the
    event loop's thread, or in the lease's for `lease_renewing`, so whatever it does happens at exactly that moment.
    """

    def reach(self, point: Point) -> None:
        """The node is at this moment."""

    def reach_once_sent(self, point: Point) -> None:
        """The caller is about to send something, and awaits the answer in the same step: the moment is in between."""
