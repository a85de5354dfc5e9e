"""Group commit on SQLite: many units of work, one COMMIT, and no thread where none is needed.

1. Units that arrive while a commit is under way wait, and so do those of the next few turns of the
   loop.
2. The event loop runs all that wait as a batch inside one transaction. When a unit's guard fails,
   the batch is undone and run again with each unit in a savepoint of its own, so the failed guard
   undoes that unit and no other. For a while after that, batches have savepoints from the start.
3. A thread runs COMMIT, which returns when the disk has it (``synchronous = FULL``). It lets go of
   the interpreter lock for all of that time, so requests go on.
4. Only then are the callers told, all of them by one call into the event loop.

Statements run in the loop because a thread that ran them would fight it for the interpreter lock at
every single one. They touch pages in memory, some microseconds each. What may take long (a foreign
tool holds the file, the connection is lost) is done in the thread as a whole.

The connection belongs to the loop or to the thread, never to both: `_busy` says to whom.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

from cryogate.ports.store import AlreadyExists, GuardFailed, Row
from cryogate.storage import sqlite_file
from cryogate.storage.operations import Operation

# At most this many units share a transaction: bounds how long the first of them waits.
_BATCH: Final = 64
# So many turns of the event loop pass before a batch begins: what other tasks bring in meanwhile
# joins it. An idle loop turns in some microseconds; a busy one serves several requests a turn, and
# each commit that they share is a hand-over to the thread and a dozen page writes less.
_GATHER_TURNS: Final = 8
_CAREFUL_BATCHES: Final = 32
_CHECKPOINT_EVERY: Final = 1024

Rows = Sequence[Sequence[Row]]


class Unit:
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


# A batch, and whether its transaction is open already and only COMMIT is left to do.
_Work = tuple[list[Unit], bool]


class GroupCommit:
    """Steps 1 to 4 on one file. ``writer`` is its only writing connection; it is owned from here.

    ``busy_timeout_s`` is how long a foreign tool's lock is waited for, in seconds.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection, busy_timeout_s: float) -> None:
        self._path, self._busy_timeout_s = path, busy_timeout_s
        self._writer: sqlite3.Connection | None = writer
        self._names = sqlite_file.ColumnNames()
        self._waiting: deque[Unit] = deque()
        self._busy = self._called = False
        self._careful = self._since_checkpoint = 0
        #: How many batches are on the disk, or may be; counted before anybody is told of one.
        self.batches = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="store-commit", daemon=True)
        self._thread.start()

    async def commit(self, operations: tuple[Operation, ...], answers: int) -> Rows:
        """Run the unit and return its rows once they are on the disk.

        Raises:
            GuardFailed: a guard did not hold; nothing of the unit remains.
            StoreUnavailable: nobody knows, or nothing was done; see `Store.commit`.
        """
        unit = Unit(operations, answers, self._loop.create_future())
        self._waiting.append(unit)
        self._idle.clear()
        if not self._busy and not self._called:
            self._called = True
            self._loop.call_soon(self._gather, _GATHER_TURNS)
        return await unit.future

    async def drained(self) -> None:
        """Return when nothing waits and nothing is under way."""
        await self._idle.wait()

    async def close(self) -> None:
        """Finish what waits, then close the connection."""
        await self.drained()
        # The event loop must not wait for a thread.
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._drop_writer()

    def _next(self) -> None:
        """Begin the next batch, if any; the connection is the loop's."""
        self._called = False
        while True:
            batch = self._take()
            if not batch:
                self._idle.set()
                return
            if not self._begin():
                # Somebody else holds the file, or the connection is lost: no work for the loop.
                self._busy = True
                self._jobs.put((batch, False))
                return
            try:
                to_commit = self._run(self._connection(), batch)
            except Exception as error:
                self._lost(batch, error)
                to_commit = False
            if to_commit:
                self._busy = True
                self._jobs.put((batch, True))
                return
            _settle(batch)

    def _take(self) -> list[Unit]:
        batch = list[Unit]()
        while self._waiting and len(batch) < _BATCH:
            unit = self._waiting.popleft()
            # Nobody waits for a cancelled one and nothing of it was done: left out.
            if not unit.future.cancelled():
                batch.append(unit)
        return batch

    def _begin(self) -> bool:
        if self._writer is None:
            return False
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            return False
        return True

    def _committed(self, batch: list[Unit], more: bool) -> None:
        """The thread has done with a batch; unless ``more``, the connection is the loop's again."""
        self.batches += 1
        _settle(batch)
        if not more:
            self._released()

    def _released(self) -> None:
        self._busy = False
        if not self._called:
            self._called = True
            self._gather(_GATHER_TURNS)

    def _gather(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._gather, turns - 1)
        else:
            self._next()

    # From here on: the thread, to which the connection belongs meanwhile.

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            batch, begun = work
            if begun:
                self._finish(batch)
            else:
                self._whole(batch)
            self._since_checkpoint += len(batch)
            due = self._since_checkpoint >= _CHECKPOINT_EVERY
            # A loop that is gone has taken with it everybody who could be told.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._committed, batch, due)
            if due:
                self._since_checkpoint = 0
                self._checkpoint()
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._released)

    def _finish(self, batch: list[Unit]) -> None:
        try:
            self._connection().execute("COMMIT").close()
        except Exception as error:
            self._lost(batch, error)

    def _whole(self, batch: list[Unit]) -> None:
        """All of a batch, waiting for a foreign lock and for the connection where need be."""
        try:
            if self._writer is None:
                self._writer = sqlite_file.connect_writer(self._path)
            sqlite_file.wait_for_locks(self._writer, self._busy_timeout_s)
            self._writer.execute("BEGIN IMMEDIATE")
            if self._run(self._writer, batch):
                self._writer.execute("COMMIT").close()
            sqlite_file.wait_for_locks(self._writer, 0)
        except Exception as error:
            self._lost(batch, error)

    def _checkpoint(self) -> None:
        """Fold the log into the file while nobody waits for it."""
        try:
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error:
            # The log keeps what the file lacks, so nothing is lost; a new connection tries again.
            self._drop_writer()

    # Both: whoever has the connection.

    def _connection(self) -> sqlite3.Connection:
        if self._writer is None:
            raise sqlite3.OperationalError("the connection is lost")
        return self._writer

    def _lost(self, batch: list[Unit], error: Exception) -> None:
        """Whatever it was, somebody waits for an answer, and the answer is no.

        Closing rolls back what is open and drops SQLite's state in memory, so the next batch starts
        on what the disk holds.
        """
        self._drop_writer()
        for unit in batch:
            if unit.failure is None:
                unit.failure = sqlite_file.unavailable(self._path, error)
                unit.failure.__cause__ = error

    def _drop_writer(self) -> None:
        connection, self._writer = self._writer, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _run(self, connection: sqlite3.Connection, batch: list[Unit]) -> bool:
        """Run a begun batch up to its COMMIT. False: every unit failed, and all is undone."""
        cursor = connection.cursor()
        if self._careful:
            self._careful -= 1
            return self._run_apart(cursor, batch)
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
            cursor.execute("BEGIN IMMEDIATE")
            return self._run_apart(cursor, batch)
        return True

    def _run_apart(self, cursor: sqlite3.Cursor, batch: list[Unit]) -> bool:
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

    def _try(self, cursor: sqlite3.Cursor, unit: Unit) -> Exception | None:
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
                    results.append(self._names.rows(sql, cursor, rows))
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


def _settle(batch: list[Unit]) -> None:
    for unit in batch:
        if unit.future.done():
            continue
        if unit.failure is None:
            unit.future.set_result(unit.rows)
        else:
            unit.future.set_exception(unit.failure)
