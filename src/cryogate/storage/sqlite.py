"""SQLite with group commit: the store of one process on one machine.

1. Units of work that arrive while a commit is under way wait in a queue.
2. The next batch runs inside one transaction, each unit in a savepoint of its own, so a failed
   guard undoes that unit and no other.
3. One thread does the COMMIT, which waits for the disk (``synchronous = FULL``).
4. Only then are the callers told, all of them by one call into the event loop.

Why the statements run in the event loop and only COMMIT in the thread: `sqlite3` gives up the
interpreter lock at every step, and a busy loop would keep a statement-running thread waiting for
it at each of them (docs/adr/0002).

The connection that writes is used by one side at a time: by the loop from BEGIN up to the hand-over
and by the thread from there until `_settle`; ``_running`` stays true for all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
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

# At most this many units share a transaction: bounds how long the event loop is kept.
_BATCH: Final = 64
# A foreign tool may hold the write lock for a moment; five seconds of that is a failure.
_BUSY_WAIT_S: Final = 0.02
_BUSY_TRIES: Final = 250
_CHECKPOINT_EVERY: Final = 512

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
    """See `Store`. Belongs to the event loop in which `open` ran."""

    def __init__(
        self, path: Path, clock: Clock, *, sql_directories: Iterable[Path] = (SQL_DIR,)
    ) -> None:
        self._path = path
        self._clock = clock
        self._statements = Statements(Dialect.SQLITE, sql_directories)
        self._planner = Planner(self._statements)
        self._columns: dict[str, tuple[str, ...]] = {}
        self._waiting: deque[_Unit] = deque()
        self._handover: SimpleQueue[list[_Unit] | None] = SimpleQueue()
        self._running = False
        self._closing = True
        self._idle = asyncio.Event()
        self._busy_tries = 0
        self._since_checkpoint = 0
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
            self._writer = sqlite_file.connect_writer(self._path)
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
        self._idle.set()
        self._thread = Thread(target=self._commit_batches, name="store-commit", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """See `Store.close`."""
        self._closing = True
        if self._thread is not None:
            await self._idle.wait()
            self._handover.put(None)
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
        self._waiting.append(_Unit(operations, len(work.statements), future))
        if not self._running:
            self._running = True
            self._idle.clear()
            # Not at once: whatever else is ready in this turn of the loop joins the batch.
            self._loop.call_soon(self._next_batch)
        return await future

    def _next_batch(self) -> None:
        batch = list[_Unit]()
        while self._waiting and len(batch) < _BATCH:
            unit = self._waiting.popleft()
            # Nobody waits for it, and nothing of it was done: it can be left out.
            if not unit.future.cancelled():
                batch.append(unit)
        if not batch:
            self._running = False
            self._idle.set()
            return
        try:
            if self._writer is None:
                self._writer = sqlite_file.connect_writer(self._path)
            worth_it = self._run(self._writer, batch)
        except sqlite3.Error as error:
            if sqlite_file.primary_code(error) == sqlite3.SQLITE_BUSY and self._wait_for_lock(
                batch
            ):
                return
            self._fail(batch, error)
            return
        self._busy_tries = 0
        if worth_it:
            self._handover.put(batch)
        else:
            self._settle(batch, None)

    def _run(self, connection: sqlite3.Connection, batch: list[_Unit]) -> bool:
        """Run a batch up to its COMMIT. False: every unit failed, and all is undone."""
        cursor = connection.cursor()
        execute = cursor.execute
        execute("BEGIN IMMEDIATE")
        kept = False
        for unit in batch:
            execute("SAVEPOINT unit")
            try:
                unit.rows = self._apply(cursor, unit.operations, unit.answers)
                kept = True
            except GuardFailed as failure:
                unit.failure = failure
                execute("ROLLBACK TO unit")
            except sqlite3.Error as error:
                if not (connection.in_transaction and sqlite_file.own_fault(error)):
                    raise
                unit.failure = sqlite_file.unavailable(self._path, error)
                unit.failure.__cause__ = error
                execute("ROLLBACK TO unit")
            execute("RELEASE unit")
        if not kept:
            execute("ROLLBACK")
        return kept

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

    def _commit_batches(self) -> None:
        """The thread: one COMMIT after another."""
        while (batch := self._handover.get()) is not None:
            failure: Exception | None = None
            try:
                if self._writer is None:
                    raise sqlite3.OperationalError("not connected")
                self._writer.execute(
                    "COMMIT" if batch else "PRAGMA wal_checkpoint(PASSIVE)"
                ).close()
            except Exception as error:
                failure = error
            try:
                self._loop.call_soon_threadsafe(self._settle, batch, failure)
            except RuntimeError:
                # The loop is gone, and with it everybody who could have been told.
                return

    def _settle(self, batch: list[_Unit], failure: Exception | None) -> None:
        """Tell the callers, then go on with whoever came in the meantime."""
        if failure is not None:
            self._fail(batch, failure)
            return
        for unit in batch:
            if unit.future.done():
                continue
            if unit.failure is None:
                unit.future.set_result(unit.rows)
            else:
                unit.future.set_exception(unit.failure)
        self._since_checkpoint = self._since_checkpoint + len(batch) if batch else 0
        if self._since_checkpoint >= _CHECKPOINT_EVERY:
            # An empty batch: the thread folds the log into the file while nobody waits for it.
            self._handover.put([])
        else:
            self._next_batch()

    def _fail(self, batch: list[_Unit], error: Exception) -> None:
        """Nothing of ``batch`` is acknowledged; the next batch starts on a new connection."""
        connection, self._writer = self._writer, None
        if connection is not None:
            # Closing rolls back whatever is open. SQLite's state in memory is dropped with it, so
            # what is read next is what the disk holds.
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        for unit in batch:
            if not unit.future.done():
                answer = unit.failure or sqlite_file.unavailable(self._path, error)
                answer.__cause__ = answer.__cause__ or error
                unit.future.set_exception(answer)
        self._since_checkpoint = 0
        self._loop.call_soon(self._next_batch)

    def _wait_for_lock(self, batch: list[_Unit]) -> bool:
        self._busy_tries += 1
        if self._busy_tries > _BUSY_TRIES:
            self._busy_tries = 0
            return False
        if self._writer is not None and self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        for unit in reversed(batch):
            unit.failure = None
            self._waiting.appendleft(unit)
        self._loop.call_later(_BUSY_WAIT_S, self._next_batch)
        return True

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
