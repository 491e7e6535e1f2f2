"""What can go wrong with an actor, as seen by whoever called it.

ActorsError
├── ActorUnavailable      no answer; whether the call ran is unknown
├── Overloaded            refused before it ran: too many calls wait already
├── ActorReset            the activation was dropped; the call did not take effect
│   ├── LeaseLost         ... because this node may no longer speak for the actor
│   ├── TurnTimeout       ... because a turn took longer than it may
│   └── WrongRowCount     ... because a deferred statement did not find the rows it stands for
├── NestedCall            a turn called an actor; it must spawn that, or leave it to a schedule
├── CallFailed            the method raised an error that its namespace does not register
├── NodeReplaced          another process has started under this node's id
├── DatabaseUnavailable   no connection within the database's patience; nothing was sent
├── QueryError            a named query is missing or malformed, or its parameters do not fit
└── MigrationError
    ├── MigrationChanged  an applied migration's text is not what it was
    └── SchemaTooNew      the database was migrated by a later version
"""

from __future__ import annotations


class ActorsError(Exception):
    """Any failure that this package names."""


class ActorUnavailable(ActorsError):
    """No answer came: the node is gone, is leaving, or has lost its database. The call may or may not have run."""


class Overloaded(ActorsError):
    """The actor's mailbox is full. The call did not run; call again later."""


class ActorReset(ActorsError):
    """The activation that had the call was dropped before its commit. Nothing of it was written; call again."""


class LeaseLost(ActorReset):
    """This node does not own the actor any more, or cannot prove that it does."""


class TurnTimeout(ActorReset):
    """The turn took longer than a turn may. Long work belongs into `Context.spawn`."""


class WrongRowCount(ActorReset):
    """A deferred statement touched `got` rows where it must touch `expected`; nothing of its turn was written."""

    def __init__(self, query: str, expected: int, got: int) -> None:
        super().__init__(f"{query} touched {got} rows and must touch {expected}")
        self.query = query
        self.expected = expected
        self.got = got


class NestedCall(ActorsError):
    """A turn called an actor, which could wait for ever. Call from `Context.spawn`, or from a schedule."""


class CallFailed(ActorsError):
    """The method raised `type`, which its namespace does not register in `errors`."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message


class NodeReplaced(ActorsError):
    """Another process has started with this node's id. Give every node its own id, or hold a lock on it."""


class DatabaseUnavailable(ActorsError):
    """The database could not be reached for as long as its owner is willing to wait. Nothing was sent."""


class QueryError(ActorsError):
    """A named query does not exist or is malformed, or the parameters given are not the ones it names."""


class MigrationError(ActorsError):
    """The database's schema and this version's migrations do not fit together."""


class MigrationChanged(MigrationError):
    """An applied migration's file has changed. Restore the file; a change of the schema is a new migration."""


class SchemaTooNew(MigrationError):
    """The database has migrations that this version does not know. Run the version that applied them."""
