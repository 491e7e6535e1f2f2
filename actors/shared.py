"""What the activations of a node have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from actors.alarms import Alarms
from actors.clock import DatabaseClock
from actors.committer import Committer
from actors.database import Database
from actors.eager import Eager
from actors.faults import FaultPoints
from actors.lease import Lease
from actors.queries import Queries
from actors.turn_limit import TurnLimit


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, but for `mailbox` and `mailbox_bytes`: how many calls, and bytes of them, an actor lets wait.

    For tests: `paranoid` ends each activation after each call, as nothing may depend on a field that survives; `faults`
    is told of each moment of the node's work at which it may be disturbed.
    """

    lease_ttl: float = 12.0
    turn_limit: float = 5.0
    call_limit: float = 30.0
    idle: float = 60.0
    drain_limit: float = 30.0
    mailbox: int = 10_000
    mailbox_bytes: int = 64 << 20
    paranoid: bool = False
    faults: FaultPoints = FaultPoints()


@dataclass
class Count:
    """What has happened since the node's start."""

    turns: int = 0
    activations: int = 0
    resets: Counter[str] = field(default_factory=Counter)
    errors: int = 0


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Passed to each activation."""

    settings: NodeSettings
    database: Database
    queries: Queries
    clock: DatabaseClock
    lease: Lease
    committer: Committer
    alarms: Alarms
    limit: TurnLimit
    count: Count = field(default_factory=Count)
    eager: Eager = field(default_factory=Eager)
