"""SQLite: the store of one process on one machine.

Writes go through `GroupCommit`. Reads run in the event loop on a connection that cannot write:
SQLite shows it every transaction committed before the read began, so it sees every unit that was
acknowledged, and none that is not durable yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    Row,
    SchemaMismatch,
    SqlValue,
    Store,
    StoreUnavailable,
    UnitOfWork,
)
from cryogate.storage import sqlite_file
from cryogate.storage.operations import Planner
from cryogate.storage.sqlite_commit import GroupCommit, Rows
from cryogate.storage.statements import SQL_DIR, Dialect, Statements


class SqliteStore(Store):
    """See `Store`. Belongs to the event loop in which `open` ran.

    ``busy_timeout_s`` is how long a foreign tool's lock is waited for, in seconds.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        sql_directories: Iterable[Path] = (SQL_DIR,),
        busy_timeout_s: float = 5.0,
    ) -> None:
        self._busy_timeout_s = busy_timeout_s
        self._path = path
        self._clock = clock
        self._statements = Statements(Dialect.SQLITE, sql_directories)
        self._planner = Planner(self._statements)
        self._names = sqlite_file.ColumnNames()
        self._closing = True
        self._lock: sqlite_file.FileLock | None = None
        self._reader: sqlite3.Connection | None = None
        self._commits: GroupCommit | None = None

    async def open(self) -> None:
        """See `Store.open`."""
        if self._lock is not None:
            raise RuntimeError("the store is open already")
        writer: sqlite3.Connection | None = None
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = sqlite_file.FileLock(self._path.with_name(self._path.name + ".lock"))
            sqlite_file.make_private(self._path)
            writer = sqlite_file.connect_writer(self._path, self._busy_timeout_s)
            sqlite_file.prepare_schema(writer, self._path, self._clock)
            self._reader = sqlite_file.connect_reader(self._path)
            sqlite_file.wait_for_locks(writer, 0)
        except (OSError, sqlite3.Error) as error:
            self._disconnect(writer)
            raise sqlite_file.unavailable(self._path, error) from error
        except (SchemaMismatch, StoreUnavailable):
            self._disconnect(writer)
            raise
        self._commits = GroupCommit(self._path, writer, self._busy_timeout_s)
        self._closing = False

    async def close(self) -> None:
        """See `Store.close`."""
        self._closing = True
        commits, self._commits = self._commits, None
        if commits is not None:
            await commits.drained()
            # The reader first: the last connection to close folds the log into the file.
            self._close(self._reader)
            self._reader = None
            await commits.close()
        self._disconnect(None)

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        """See `ReadStore.fetch`. Runs in the event loop: a point query takes some 10 µs."""
        statement = self._statements.query(query)
        values = statement.bind(params)
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        try:
            # Read to the end at once, so that no read transaction outlives this call and the next
            # call sees the next commit.
            cursor = self._reader.execute(statement.sql, values)
            rows = cursor.fetchall()
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(self._path, error) from error
        return self._names.rows(statement.sql, cursor, rows)

    @property
    def state(self) -> int | None:
        """See `ReadStore.state`: the lock on the file keeps other writers off it."""
        return None if self._commits is None else self._commits.batches

    async def commit(self, work: UnitOfWork) -> Rows:
        """See `Store.commit`."""
        operations = self._planner.plan(work)
        if self._closing or self._commits is None:
            raise StoreUnavailable("the store is not open")
        return await self._commits.commit(operations, len(work.statements))

    async def scrub(self) -> None:
        """See `Store.scrub`: the writer zeroes what it deletes, but the -wal has it still."""
        if self._closing or self._commits is None:
            raise StoreUnavailable("the store is not open")
        await self._commits.drained()
        try:
            await asyncio.to_thread(sqlite_file.empty_wal, self._path, self._busy_timeout_s)
        except sqlite3.Error as error:
            raise sqlite_file.unavailable(self._path, error) from error

    def _disconnect(self, writer: sqlite3.Connection | None) -> None:
        self._close(self._reader)
        self._close(writer)
        self._reader = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @staticmethod
    def _close(connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
