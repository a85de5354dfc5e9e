"""The SQLite file: who may open it, how, and what its errors mean."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from cryogate.ports.clock import Clock
from cryogate.ports.store import Row, SqlValue, StoreUnavailable
from cryogate.storage.migrate import bookkeeping, load_migrations, pending
from cryogate.storage.statements import Dialect

OLDEST_SQLITE = (3, 40, 0)
_WAL_BACKSTOP_PAGES = 16_384
# Small enough to be read whole while the program starts.
_QUICK_CHECK_BYTES = 32 * 2**20

# Errors that one statement's own values can cause. They leave the transaction open, so only the
# unit of work that caused them is undone.
_OWN_FAULT = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE}
)
TAKEN = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_ROWID,
    }
)


def primary_code(error: sqlite3.Error) -> int:
    """The result code without its extension; 0 if the error came from the module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def own_fault(error: sqlite3.Error) -> bool:
    """Whether other units of the same transaction are unharmed by ``error``."""
    return primary_code(error) in _OWN_FAULT


def unavailable(path: Path, error: BaseException) -> StoreUnavailable:
    """What to tell the operator."""
    code = primary_code(error) if isinstance(error, sqlite3.Error) else 0
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreUnavailable(
            f"{path.name} is damaged or is not a database. Nothing was changed. Restore a backup, "
            f"or run sqlite3's .recover on a copy of the file and its -wal."
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"No room is left for {path.name}; free some and try again.")
    return StoreUnavailable(f"{path.name} could not be read or written: {error}")


class ColumnNames:
    """Gives rows the names of their columns, which one statement always has alike."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def rows(
        self, sql: str, cursor: sqlite3.Cursor, rows: list[tuple[SqlValue, ...]]
    ) -> Sequence[Row]:
        """``rows``, which ``cursor`` gave for ``sql``, as mappings."""
        columns = self._known.get(sql)
        if columns is None:
            columns = self._known[sql] = tuple(column[0] for column in cursor.description)
        return [dict(zip(columns, row, strict=True)) for row in rows]


class FileLock:
    """Keeps a second process off the file: two group commits would not know of each other.

    The lock is the kernel's, so it ends with the process however that ends.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreUnavailable(
                f"{path.stem} is in use by process {holder}. One SQLite database serves one "
                f"process: stop the other one, or move to PostgreSQL for several."
            ) from error
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another process in."""
        os.close(self._fd)


def make_private(path: Path) -> None:
    """Create the file, or take it back, for its owner alone; -wal and -shm inherit its mode."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_mode & 0o077:
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def wait_for_locks(connection: sqlite3.Connection, seconds: float) -> None:
    """How long ``connection`` waits for another's lock before it gives up."""
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}").fetchall()


def connect_writer(path: Path, timeout_s: float = 0) -> sqlite3.Connection:
    """The one connection that writes."""
    connection = sqlite3.connect(
        path,
        timeout=timeout_s,
        isolation_level=None,
        # Handed to and fro between the event loop and one thread; see `GroupCommit`.
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        # FULL: COMMIT returns after the log is on the disk, which is what acknowledged means.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # What is deleted, a shredded key above all, is overwritten and not only let go of.
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BACKSTOP_PAGES}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def empty_wal(path: Path, timeout_s: float) -> None:
    """Fold the -wal into the file and cut it to nothing.

    Raises:
        sqlite3.Error: somebody else reads or writes all the time.
    """
    connection = connect_writer(path, timeout_s)
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the -wal is in use")
    finally:
        connection.close()


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Every statement sees the last commit before it."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(
        uri, uri=True, timeout=0.25, isolation_level=None, cached_statements=512
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16384")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare_schema(connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
    """Check the file, then bring its schema up to date in one transaction.

    Raises:
        SchemaMismatch: see `pending`.
        sqlite3.Error: the file is damaged or cannot be written.
    """
    if path.stat().st_size <= _QUICK_CHECK_BYTES:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            damaged = sqlite3.DatabaseError(str(verdict))
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged
    known = load_migrations(Dialect.SQLITE)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(bookkeeping(Dialect.SQLITE))
        rows = connection.execute("SELECT version, sha256 FROM schema_migrations").fetchall()
        for step in pending(known, dict(rows)):
            for statement in _split(step.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations (version, sha256, applied_ms) VALUES (?, ?, ?)",
                (step.version, step.sha256, clock.now_ms()),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _split(script: str) -> list[str]:
    # executescript would commit the transaction that makes the migration all or nothing.
    statements, current = list[str](), ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
