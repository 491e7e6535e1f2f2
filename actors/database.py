"""The database: a pool of connections that runs named queries and waits out a server that is away for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import msgspec
import structlog

from actors.errors import DatabaseUnavailable
from actors.queries import Query

logger = structlog.get_logger(__name__)

R = TypeVar("R")

_NOT_CONNECTED = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)

_BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,  # what asyncpg says of a connection that was cut at an unlucky moment
)

LOST = (*_NOT_CONNECTED, *_BROKEN, asyncpg.InterfaceError, DatabaseUnavailable)
"""What a statement raises whose connection is lost on the way."""

TROUBLE = (*LOST, asyncpg.PostgresError)
"""What a statement known to be right raises: a lost connection, a full disk, a lock held, a read-only server."""

_SETTINGS = {
    "application_name": "actors",
    "TimeZone": "UTC",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_user_timeout": "10s",
    "synchronous_commit": "on",
}
"""Limits of each session, so that neither a hung peer nor a forgotten transaction holds a row for long."""


class Transaction:
    """Named queries on one connection, inside its transaction."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def one(self, query: Query, **params: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self.connection.fetchrow(query.text, *query.arguments(params))

    async def many(self, query: Query, **params: Any) -> list[asyncpg.Record]:
        """All rows."""
        rows: list[asyncpg.Record] = await self.connection.fetch(query.text, *query.arguments(params))
        return rows

    async def execute(self, query: Query, **params: Any) -> int:
        """Run the query; how many rows it touched."""
        return row_count(await self.connection.execute(query.text, *query.arguments(params)))


class Database:
    """A pool of at most `size` connections, used with `async with`.

    Every query waits up to `patience` seconds for a connection while the server is away, and then raises
    `DatabaseUnavailable`; nothing was sent then. When a connection is lost under a query that only reads, or before it
    was sent, the query is run again; else asyncpg's own error is raised: the outcome is unknown, and only the caller
    can tell whether to try again. JSONB columns hold what msgspec makes of Python values.

    `identity` is the server's system identifier and timeline, where it tells them. When a new connection finds others,
    a standby has taken over that may lack acknowledged commits: that connection is refused, so that all can notice.
    """

    def __init__(self, dsn: str, *, size: int = 10, patience: float = 30.0) -> None:
        self.dsn = dsn
        self._size = size
        self._patience = patience
        self._pool: Any = None
        self.identity: str | None = None

    @property
    def pool(self) -> Any:
        """The asyncpg pool, for what named queries do not cover."""
        assert self._pool is not None, "the database is used outside of its 'async with'"
        return self._pool

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self.dsn,
            min_size=0,
            max_size=self._size,
            command_timeout=30,
            timeout=10,
            server_settings=_SETTINGS,
            init=self._prepare,
            connection_class=_Connection,
        )
        try:
            async with self.session():
                return self
        except BaseException:
            self._pool.terminate()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def one(self, query: Query, **params: Any) -> asyncpg.Record | None:
        """The first row, or None."""

        async def run() -> asyncpg.Record | None:
            async with self.session() as session:
                return await session.one(query, **params)

        return await self._again(query, run)

    async def many(self, query: Query, **params: Any) -> list[asyncpg.Record]:
        """All rows."""

        async def run() -> list[asyncpg.Record]:
            async with self.session() as session:
                return await session.many(query, **params)

        return await self._again(query, run)

    async def execute(self, query: Query, **params: Any) -> int:
        """Run the query; how many rows it touched."""

        async def run() -> int:
            async with self.session() as session:
                return await session.execute(query, **params)

        return await self._again(query, run)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A connection of one's own in a transaction: committed at the end of the block, rolled back by an error."""
        async with self.session() as session, session.connection.transaction():
            yield session

    @contextlib.asynccontextmanager
    async def session(self, *, patience: float | None = None) -> AsyncIterator[Transaction]:
        """A connection of one's own, without a transaction; `patience` replaces the database's own."""
        connection = await self._patiently(self._acquire, self._patience if patience is None else patience)
        try:
            yield Transaction(connection)
        except _BROKEN:
            with contextlib.suppress(asyncpg.InterfaceError):  # the pool has noticed already
                connection.terminate()
            raise
        finally:
            await self.pool.release(connection, timeout=5)

    async def connect(self, *, limit: float | None = None) -> Any:
        """A connection outside of the pool, which the caller closes.

        `limit`: the seconds that connecting and each statement may take, where they are not to be the pool's.
        """
        settings, timeouts = dict(_SETTINGS), {"timeout": 10.0, "command_timeout": 30.0}
        if limit is not None:
            timed = ("lock_timeout", "statement_timeout", "tcp_user_timeout")
            settings |= dict.fromkeys(timed, f"{limit * 1000:.0f}ms")
            timeouts = {"timeout": limit, "command_timeout": limit}
        connection = await asyncpg.connect(self.dsn, server_settings=settings, **timeouts)
        try:
            await self._prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _again(self, query: Query, run: Callable[[], Awaitable[R]]) -> R:
        """Run a query, and again when its connection was lost, if it only reads or was never sent."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                return await run()
            except _BROKEN as error:
                if not (query.reads or _unsent(error)) or loop.time() > until:
                    raise

    async def _acquire(self, patience: float) -> Any:
        try:
            return await self.pool.acquire(timeout=max(patience, 0.001))
        except TimeoutError:
            raise TimeoutError("none became free, of this database's pool or of its server") from None

    async def _prepare(self, connection: Any) -> None:
        await connection.set_type_codec(
            "jsonb",
            schema="pg_catalog",
            format="binary",
            encoder=lambda value: b"\x01" + msgspec.json.encode(value),
            decoder=lambda data: msgspec.json.decode(data[1:]),
        )
        found, known = await _identity(connection), self.identity
        if found == known:
            return
        self.identity = found
        if known is not None:
            logger.warning("database_replaced", before=known, now=found)
            raise ConnectionResetError(f"the database was {known} and is {found} now")

    async def _patiently(self, connect: Callable[[float], Awaitable[Any]], patience: float) -> Any:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + patience, 0.02
        while True:
            try:
                return await connect(until - loop.time())
            except _NOT_CONNECTED as error:
                if loop.time() + pause > until:
                    raise DatabaseUnavailable(f"no connection in {patience:g} s: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


def _unsent(error: Exception) -> bool:
    """Whether asyncpg refused to send: the server had said good-bye on a connection that is not closed yet."""
    return isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error)


def row_count(status: str) -> int:
    """The rows that a command's status ('UPDATE 3') speaks of."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is not typed
    """A pooled connection that goes back as it is: nothing here changes a session, and a reset is a round trip."""

    def get_reset_query(self) -> str:
        return ""


async def _identity(connection: Any) -> str:
    """The server's system identifier and the timeline it writes; nothing where that is not for this user to know.

    Raises `ConnectionError` for a standby, which may become the server in a moment.
    """
    try:
        found: str | None = await connection.fetchval(
            "SELECT system_identifier || '/' || "
            "CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END "
            "FROM pg_control_system()"
        )
    except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFunctionError):
        return ""
    if found is None:
        raise ConnectionRefusedError("the server is a standby, which takes no writes")
    return found
