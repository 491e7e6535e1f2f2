"""What can go wrong with an actor, as seen by whoever called it.

ActorsError
├── ActorUnavailable      no answer in time; `ran` says whether the call may have run
├── Overloaded            refused before it ran: too many calls, or bytes of them, wait already
├── ActorReset            the activation was dropped; the call did not take effect
│   ├── LeaseLost         ... because this node may no longer speak for the actor
│   ├── TurnTimeout       ... because a turn took longer than it may
│   └── WrongRowCount     ... because a deferred statement did not find the rows it stands for
├── NestedCall            a turn called an actor; it must spawn that, or leave it to a schedule
├── BadCall               arguments or a result that cannot be copied, or are not what the method says; a TypeError
├── CallFailed            the method raised an error that its namespace does not register
├── NodeReplaced          another process has started under this node's id
├── DatabaseUnavailable   no connection within the database's patience; nothing was sent
├── QueryError            a named query is missing or malformed, or its parameters do not fit
└── MigrationError
    ├── MigrationChanged  an applied migration's text is not what it was
    └── SchemaTooNew      the database was migrated by a later version
"""

from __future__ import annotations

from typing import Literal

Ran = Literal["no", "maybe"]


class ActorsError(Exception):
    """Any failure that this package names.

    `retryable`: the same call, made again, may well succeed. `ran`: "no" where nothing of the call has taken effect, so
    that calling again cannot do it twice; "maybe" where nobody knows.
    """

    retryable: bool = False
    ran: Ran = "no"


class ActorUnavailable(ActorsError):
    """No answer came in time: the node is gone, is leaving, or has lost its database, or the actor is slow."""

    retryable = True
    ran: Ran = "maybe"

    def __init__(self, message: str = "", *, ran: Ran = "maybe") -> None:
        super().__init__(message)
        self.ran = ran


class Overloaded(ActorsError):
    """Too many calls of the actor wait, or too many bytes of arguments. The call did not run; call again later."""

    retryable = True


class ActorReset(ActorsError):
    """The activation that had the call was dropped before its commit. Nothing of it was written; call again."""

    retryable = True


class LeaseLost(ActorReset):
    """This node does not own the actor any more, or cannot prove that it does."""


class TurnTimeout(ActorReset):
    """The turn took longer than a turn may. Long work belongs into `Context.spawn`."""

    retryable = False


class WrongRowCount(ActorReset):
    """A deferred statement touched `got` rows where it must touch `expected`; nothing of its turn was written."""

    retryable = False

    def __init__(self, query: str, expected: int, got: int) -> None:
        super().__init__(f"{query} touched {got} rows and must touch {expected}")
        self.query = query
        self.expected = expected
        self.got = got


class NestedCall(ActorsError):
    """A turn called an actor, which could wait for ever. Call from `Context.spawn`, or from a schedule."""


class BadCall(ActorsError, TypeError):
    """Arguments or a result cannot be copied, are too large, or are not what the method's annotations say.

    Bad arguments never reach the method. A result that cannot be copied is an error of the turn: nothing was written.
    """


class CallFailed(ActorsError):
    """The method raised `type`, which its namespace does not register in `errors`. Nothing of its turn was written."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message


class NodeReplaced(ActorsError):
    """Another process has started with this node's id. Give every node its own id, or hold a lock on it."""


class DatabaseUnavailable(ActorsError):
    """The database could not be reached for as long as its owner is willing to wait. Nothing was sent."""

    retryable = True


class QueryError(ActorsError):
    """A named query does not exist or is malformed, or the parameters given are not the ones it names."""


class MigrationError(ActorsError):
    """The database's schema and this version's migrations do not fit together."""


class MigrationChanged(MigrationError):
    """An applied migration's file has changed. Restore the file; a change of the schema is a new migration."""


class SchemaTooNew(MigrationError):
    """The database has migrations that this version does not know. Run the version that applied them."""
