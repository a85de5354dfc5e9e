"""PostgreSQL: the store of any number of processes.

Each unit of work is one READ COMMITTED transaction. That is enough because every limit is a guard
inside the statement that changes the row: PostgreSQL locks the row, reads it again and evaluates
the guard on what is there, so two units that want the last cent are decided one after the other.
Deadlocks and serialization failures undo the whole unit, so it is run again, a bounded number of
times, and then behind a lock of its own so that two victims do not meet a second time. A connection
that breaks during COMMIT is never run again: nobody knows whether it was done.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    Row,
    SchemaMismatch,
    SqlValue,
    Store,
    StoreUnavailable,
    UnitOfWork,
)
from cryogate.storage.migrate import bookkeeping, load_migrations, pending
from cryogate.storage.operations import Operation, Planner
from cryogate.storage.statements import SQL_DIR, BadStatement, Dialect, Statements

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

OLDEST_SERVER: Final = 150_000
_POOL: Final = 10
_TIMEOUT_S: Final = 10.0
_TRIES: Final = 6
# Any fixed number: replicas that start together take turns behind it ("cryogate" in ASCII).
_MIGRATION_LOCK: Final = int.from_bytes(b"cryogate")
_VICTIM_LOCK: Final = int.from_bytes(b"cryovict")
_AGAIN: Final = frozenset({"40001", "40P01"})
_TAKEN: Final = "23505"
_VIOLATIONS: Final = ("23", "22003")
_UNREADABLE_VALUE: Final = "22000"
_SESSION: Final[Mapping[str, str]] = {
    "application_name": "cryogate",
    # Acknowledged means on disk, whatever the server's default is.
    "synchronous_commit": "on",
    "lock_timeout": "5000",
    "statement_timeout": "10000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
    "TimeZone": "UTC",
}

Rows = Sequence[Sequence[Row]]


class PostgresStore(Store):
    """See `Store`. ``dsn`` is a ``postgresql://`` URL; it may hold a password and is kept secret.

    Raises:
        StoreUnavailable: the driver is not installed.
    """

    def __init__(
        self, dsn: str, clock: Clock, *, sql_directories: Iterable[Path] = (SQL_DIR,)
    ) -> None:
        self._dsn = Secret(dsn.encode())
        self._clock = clock
        self._asyncpg = driver()
        self._statements = Statements(Dialect.POSTGRES, sql_directories)
        self._planner = Planner(self._statements)
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._accepted = 0
        self._closing = True
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """See `Store.open`."""
        if self._pool is not None:
            raise RuntimeError("the store is open already")
        known = load_migrations(Dialect.POSTGRES)
        try:
            self._pool = await self._asyncpg.create_pool(
                self._dsn.reveal().decode(),
                min_size=1,
                max_size=_POOL,
                timeout=_TIMEOUT_S,
                command_timeout=_TIMEOUT_S,
                statement_cache_size=1024,
                max_cached_statement_lifetime=0,
                server_settings=dict(_SESSION),
                reset=_reset,
            )
            async with self._acquire() as connection:
                await self._check_server(connection)
                async with connection.transaction():
                    await connection.execute("SET LOCAL statement_timeout = 0")
                    await connection.execute("SET LOCAL lock_timeout = 0")
                    await connection.execute(
                        "SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK, timeout=600
                    )
                    await connection.execute(bookkeeping(Dialect.POSTGRES))
                    rows = await connection.fetch("SELECT version, sha256 FROM schema_migrations")
                    for step in pending(known, {row["version"]: row["sha256"] for row in rows}):
                        await connection.execute(step.sql, timeout=600)
                        await connection.execute(
                            "INSERT INTO schema_migrations (version, sha256, applied_ms) "
                            "VALUES ($1, $2, $3)",
                            step.version,
                            step.sha256,
                            self._clock.now_ms(),
                        )
        except (SchemaMismatch, StoreUnavailable):
            await self.close()
            raise
        except Exception as error:
            await self.close()
            raise self._unavailable(error) from error
        self._closing = False

    async def close(self) -> None:
        """See `Store.close`."""
        self._closing = True
        await self._idle.wait()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), _TIMEOUT_S)
            except TimeoutError:
                pool.terminate()

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        """See `ReadStore.fetch`."""
        statement = self._statements.query(query)
        values = statement.bind(params)
        try:
            async with self._acquire() as connection:
                rows = await connection.fetch(statement.sql, *values)
        except StoreUnavailable:
            raise
        except Exception as error:
            raise self._unavailable(error) from error
        return [dict(row) for row in rows]

    async def commit(self, work: UnitOfWork) -> Rows:
        """See `Store.commit`."""
        operations = self._planner.plan(work)
        if self._closing:
            raise StoreUnavailable("the store is not open")
        self._accepted += 1
        self._idle.clear()
        try:
            return (await self._insist(operations))[: len(work.statements)]
        finally:
            self._accepted -= 1
            if not self._accepted:
                self._idle.set()

    async def _insist(self, operations: tuple[Operation, ...]) -> list[Sequence[Row]]:
        for attempt in range(_TRIES):
            try:
                return await self._transact(operations, victim=attempt > 0)
            except (GuardFailed, StoreUnavailable, BadStatement):
                raise
            except Exception as error:
                if getattr(error, "sqlstate", None) not in _AGAIN:
                    raise self._unavailable(error) from error
        raise StoreUnavailable("PostgreSQL undid a unit of work over and over")

    async def _transact(
        self, operations: tuple[Operation, ...], *, victim: bool
    ) -> list[Sequence[Row]]:
        results = list[Sequence[Row]]()
        async with self._acquire() as connection, connection.transaction():
            if victim:
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _VICTIM_LOCK)
            for run in _runs(operations):
                sql, values, due, returns, guard = run[0]
                try:
                    if len(run) > 1:
                        await connection.executemany(sql, [operation[1] for operation in run])
                        results += [()] * len(run)
                        continue
                    if returns:
                        rows = [dict(row) for row in await connection.fetch(sql, *values)]
                        touched = len(rows)
                        results.append(rows)
                    else:
                        status = await connection.execute(sql, *values)
                        touched = int(status.rpartition(" ")[2])
                        results.append(())
                except self._asyncpg.PostgresError as error:
                    state = error.sqlstate or ""
                    if state == _TAKEN:
                        raise AlreadyExists(guard) from error
                    if state.startswith(_VIOLATIONS):
                        raise GuardFailed(guard) from error
                    if state == _UNREADABLE_VALUE:
                        raise BadStatement(f"{guard}: {error}") from error
                    raise
                if due is not None and touched != due:
                    raise GuardFailed(guard)
        return results

    def _acquire(self) -> asyncpg.pool.PoolAcquireContext[asyncpg.Record]:
        if self._pool is None:
            raise StoreUnavailable("the store is not open")
        return self._pool.acquire(timeout=_TIMEOUT_S)

    async def _check_server(self, connection: PoolConnectionProxy[asyncpg.Record]) -> None:
        version = int(await connection.fetchval("SHOW server_version_num"))
        if version < OLDEST_SERVER:
            raise StoreUnavailable(
                f"PostgreSQL {OLDEST_SERVER // 10_000} or later is needed, this server is "
                f"{version // 10_000}"
            )
        if await connection.fetchval("SHOW server_encoding") != "UTF8":
            raise StoreUnavailable("the database must be created with ENCODING 'UTF8'")

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        # The driver's text may name hosts and users; it goes to the log as the cause.
        kind = type(error).__name__
        return StoreUnavailable(f"PostgreSQL did not do as asked ({kind})")


def _runs(operations: tuple[Operation, ...]) -> Iterator[list[Operation]]:
    """Neighbours with the same SQL that answer nothing and count nothing: one round trip."""
    run: list[Operation] = []
    for operation in operations:
        sql, _, due, returns, _ = operation
        if run and not (sql == run[0][0] and due is None and not returns and run[0][2] is None):
            yield run
            run = []
        run.append(operation)
    if run:
        yield run


async def _reset(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    # No unit of work changes its session, so there is nothing to undo unless one was interrupted.
    if connection.is_in_transaction():
        await connection.reset()


def driver() -> ModuleType:
    """asyncpg.

    Raises:
        StoreUnavailable: it is not installed.
    """
    try:
        return importlib.import_module("asyncpg")
    except ImportError as error:
        raise StoreUnavailable(
            "PostgreSQL needs a driver that is not installed: pip install 'cryogate[postgres]'"
        ) from error
