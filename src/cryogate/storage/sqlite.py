"""SQLite with group commit: the store of one process on one machine.

1. Units of work that arrive while a commit is under way wait in a queue.
2. One thread, the only owner of the connection that writes, takes all that wait as a batch and runs
   it inside one transaction. When a unit's guard fails, the batch is undone and run again with each
   unit in a savepoint of its own, so the failed guard undoes that unit and no other. For a while
   after that, batches have savepoints from the start.
3. COMMIT returns when the disk has it (``synchronous = FULL``).
4. Only then are the callers told, all of them by one call into the event loop.

Reads run in the event loop on a connection that cannot write. SQLite shows it every transaction
committed before the read began, so it sees every unit that was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

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
from cryogate.storage import sqlite_file
from cryogate.storage.operations import Operation, Planner
from cryogate.storage.statements import SQL_DIR, Dialect, Statements

# At most this many units share a transaction: bounds how long the first of them waits.
_BATCH: Final = 64
_CAREFUL_BATCHES: Final = 32
_CHECKPOINT_EVERY: Final = 1024

Rows = Sequence[Sequence[Row]]


class _Unit:
    """A unit of work in the queue, and what became of it."""

    __slots__ = ("answers", "failure", "future", "operations", "rows")

    def __init__(
        self, operations: tuple[Operation, ...], answers: int, future: asyncio.Future[Rows]
    ) -> None:
        # The first ``answers`` operations are the caller's; events follow and answer nothing.
        self.answers = answers
        self.operations = operations
        self.future = future
        self.rows: Rows = ()
        self.failure: Exception | None = None


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
        self._columns: dict[str, tuple[str, ...]] = {}
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._closing = True
        self._careful = 0
        self._lock: sqlite_file.FileLock | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._thread: Thread | None = None

    async def open(self) -> None:
        """See `Store.open`."""
        if self._lock is not None:
            raise RuntimeError("the store is open already")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = sqlite_file.FileLock(self._path.with_name(self._path.name + ".lock"))
            sqlite_file.make_private(self._path)
            self._writer = sqlite_file.connect_writer(self._path, self._busy_timeout_s)
            sqlite_file.prepare_schema(self._writer, self._path, self._clock)
            self._reader = sqlite_file.connect_reader(self._path)
        except (OSError, sqlite3.Error) as error:
            self._disconnect()
            raise sqlite_file.unavailable(self._path, error) from error
        except (SchemaMismatch, StoreUnavailable):
            self._disconnect()
            raise
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._thread = Thread(target=self._write, name="store-commit", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """See `Store.close`."""
        self._closing = True
        if self._thread is not None:
            # Behind everything that was accepted; the thread ends when it comes to it.
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._disconnect()

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
        return self._named(statement.sql, cursor, rows)

    async def commit(self, work: UnitOfWork) -> Rows:
        """See `Store.commit`."""
        operations = self._planner.plan(work)
        if self._closing:
            raise StoreUnavailable("the store is not open")
        future: asyncio.Future[Rows] = self._loop.create_future()
        self._queue.put(_Unit(operations, len(work.statements), future))
        return await future

    def _settle(self, batch: list[_Unit]) -> None:
        for unit in batch:
            if unit.future.done():
                continue
            if unit.failure is None:
                unit.future.set_result(unit.rows)
            else:
                unit.future.set_exception(unit.failure)

    # From here on: the thread.

    def _write(self) -> None:
        since_checkpoint = 0
        go_on = True
        while go_on:
            batch = list[_Unit]()
            unit = self._queue.get()
            with contextlib.suppress(Empty):
                while unit is not None:
                    # Nobody waits for a cancelled one and nothing of it was done: left out.
                    if not unit.future.cancelled():
                        batch.append(unit)
                    if len(batch) == _BATCH:
                        break
                    unit = self._queue.get_nowait()
                go_on = unit is not None
            if not batch:
                continue
            self._make_durable(batch)
            with contextlib.suppress(RuntimeError):
                # A loop that is gone has taken with it everybody who could be told.
                self._loop.call_soon_threadsafe(self._settle, batch)
            since_checkpoint += len(batch)
            if since_checkpoint >= _CHECKPOINT_EVERY:
                since_checkpoint = 0
                self._checkpoint()

    def _make_durable(self, batch: list[_Unit]) -> None:
        """Commit a batch, or give every unit of it a failure."""
        try:
            if self._writer is None:
                self._writer = sqlite_file.connect_writer(self._path, self._busy_timeout_s)
            if self._run(self._writer, batch):
                self._writer.execute("COMMIT").close()
        except Exception as error:
            # Whatever it was, somebody waits for an answer, and the answer is no. Closing rolls
            # back what is open and drops SQLite's state in memory, so the next batch starts on
            # what the disk holds.
            self._drop_writer()
            for unit in batch:
                if unit.failure is None:
                    unit.failure = sqlite_file.unavailable(self._path, error)
                    unit.failure.__cause__ = error

    def _checkpoint(self) -> None:
        """Fold the log into the file while nobody waits for it."""
        try:
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            # The log keeps what the file lacks, so nothing is lost; a new connection tries again.
            self._drop_writer()

    def _drop_writer(self) -> None:
        connection, self._writer = self._writer, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _run(self, connection: sqlite3.Connection, batch: list[_Unit]) -> bool:
        """Run a batch up to its COMMIT. False: every unit failed, and all is undone."""
        if self._careful:
            self._careful -= 1
            return self._run_apart(connection, batch)
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        for unit in batch:
            failure = self._try(cursor, unit)
            if failure is None:
                continue
            cursor.execute("ROLLBACK")
            if len(batch) == 1:
                unit.failure = failure
                return False
            # Savepoints copy every page they touch, so they are used where failures are about;
            # a flood of failing units can then cost no more than one repeated batch in so many.
            self._careful = _CAREFUL_BATCHES
            return self._run_apart(connection, batch)
        return True

    def _run_apart(self, connection: sqlite3.Connection, batch: list[_Unit]) -> bool:
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        for unit in batch:
            cursor.execute("SAVEPOINT unit")
            unit.failure = self._try(cursor, unit)
            if unit.failure is not None:
                cursor.execute("ROLLBACK TO unit")
            cursor.execute("RELEASE unit")
        if all(unit.failure is not None for unit in batch):
            cursor.execute("ROLLBACK")
            return False
        return True

    def _try(self, cursor: sqlite3.Cursor, unit: _Unit) -> Exception | None:
        """Run one unit. Why it failed, if only it did; what harms the whole batch is raised."""
        try:
            unit.rows = self._apply(cursor, unit.operations, unit.answers)
        except GuardFailed as failure:
            return failure
        except sqlite3.Error as error:
            if not (cursor.connection.in_transaction and sqlite_file.own_fault(error)):
                raise
            failed = sqlite_file.unavailable(self._path, error)
            failed.__cause__ = error
            return failed
        return None

    def _apply(
        self, cursor: sqlite3.Cursor, operations: tuple[Operation, ...], answers: int
    ) -> Rows:
        execute = cursor.execute
        results = list[Sequence[Row]]()
        for sql, values, due, returns, guard in operations:
            try:
                execute(sql, values)
                if returns:
                    rows = cursor.fetchall()
                    touched = len(rows)
                    results.append(self._named(sql, cursor, rows))
                else:
                    touched = cursor.rowcount
                    results.append(())
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorcode in sqlite_file.TAKEN:
                    raise AlreadyExists(guard) from error
                raise GuardFailed(guard) from error
            if due is not None and touched != due:
                raise GuardFailed(guard)
        return results[:answers]

    def _named(
        self, sql: str, cursor: sqlite3.Cursor, rows: list[tuple[SqlValue, ...]]
    ) -> Sequence[Row]:
        columns = self._columns.get(sql)
        if columns is None:
            columns = tuple(column[0] for column in cursor.description)
            self._columns[sql] = columns
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _disconnect(self) -> None:
        # The reader first: the last connection folds the log into the file, and must be able to.
        for connection in (self._reader, self._writer):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._reader = self._writer = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
