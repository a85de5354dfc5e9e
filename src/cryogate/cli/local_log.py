"""The log of this machine's state directory, to be read beside a running server or without one.

A verifier must not change what it verifies, so SQLite is opened without the right to write: no
lock, no migration. One snapshot serves the whole run, so a log that grows meanwhile is no riddle.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cryogate.audit.errors import NoteRefused, TimestampRefused
from cryogate.audit.note import Ed25519Verifier, NoteVerifier
from cryogate.audit.vkeys import MAX_VKEYS_BYTES, parse_vkeys
from cryogate.config import Config
from cryogate.domain.errors import Malformed
from cryogate.ports.clock import SystemClock
from cryogate.ports.store import ReadStore, Row, SqlValue, StoreUnavailable
from cryogate.storage import open_store
from cryogate.storage.sqlite_file import connect_reader
from cryogate.storage.statements import SQL_DIR, Dialect, Statements

if TYPE_CHECKING:
    from cryogate.audit.timestamps import TsaTrust
    from cryogate.audit.tlog_policy import Policy

VKEY_FILE = "log.vkey"


class SqliteSnapshot(ReadStore):
    """One moment of a SQLite database, for reading."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise Malformed("no_log", f"there is no database {path}")
        self._statements = Statements(Dialect.SQLITE, (SQL_DIR,))
        try:
            self._connection = connect_reader(path)
            self._connection.execute("BEGIN")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{path.name} cannot be read: {error}") from error

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        """See `ReadStore.fetch`."""
        statement = self._statements.query(query)
        try:
            cursor = self._connection.execute(statement.sql, statement.bind(params))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys to believe, and where they come from."""

    keys: tuple[NoteVerifier, ...]
    source: str

    @property
    def own(self) -> bool:
        """Whether the keys come from elsewhere than the log itself."""
        return self.source != "beside the log"


@asynccontextmanager
async def open_log(config: Config) -> AsyncIterator[ReadStore]:
    """The configured database, for reading.

    Raises:
        Malformed: there is none.
        StoreUnavailable: it does not answer.
    """
    async with _database(config.store_url) as store:
        yield store


async def kept_head(config: Config) -> bytes | None:
    """The second copy of the log's head, wherever it is kept; None if there is none.

    Raises:
        Unavailable: it cannot be read.
    """
    from cryogate.wiring.heads import open_heads

    if config.heads_url and not config.heads_url.startswith("s3+"):
        async with _database(config.heads_url) as store:
            row = await store.fetch_one("log_head", {"origin": config.audit.origin})
            return None if row is None else str(row["note"]).encode()
    heads = open_heads(config, SystemClock())
    try:
        return await heads.read()
    finally:
        await heads.close()


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[ReadStore]:
    if url.startswith("sqlite"):
        snapshot = SqliteSnapshot(Path(unquote(urlsplit(url).path[1:])))
        try:
            yield snapshot
        finally:
            snapshot.close()
        return
    store = open_store(url, SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def given_keys(texts: Sequence[str]) -> tuple[NoteVerifier, ...]:
    """Verifier keys (C2SP ``name+id+key``), each as text or as the name of a file."""
    found: list[NoteVerifier] = []
    for text in texts:
        if "+" not in text:
            text = _read(Path(text))
        try:
            found += parse_vkeys(text)
        except NoteRefused as error:
            raise Malformed("malformed_vkey", str(error)) from None
    return tuple(found)


async def trust_for_store(
    given: Sequence[str], state: Path, store: ReadStore, origin: str
) -> Trust:
    """Keys to verify a database with: given ones, the state directory's, else the database's."""
    if found := _from_outside(given, state):
        return found
    row = await store.fetch_one("log_key", {"kid": f"log:{origin}"})
    if row is None:
        return Trust((), "nowhere")
    try:
        raw = json.loads(str(row["public_jwk"]))["x"]
        public = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        return Trust((Ed25519Verifier(origin, public),), "beside the log")
    except (ValueError, KeyError, TypeError):
        return Trust((), "nowhere")


def trust_for_directory(given: Sequence[str], state: Path, directory: Path) -> Trust:
    """Keys to verify an export with: given ones, the state directory's, else the export's.

    Raises:
        Malformed: there is no such directory, or a key cannot be read.
    """
    if not directory.is_dir():
        raise Malformed("no_log", f"there is no directory {directory}")
    if found := _from_outside(given, state):
        return found
    beside = directory / "vkey"
    if not beside.is_file():
        return Trust((), "nowhere")
    return Trust(given_keys([_read(beside)]), "beside the log")


def trust_for_url(given: Sequence[str], state: Path) -> Trust:
    """Keys to verify a served log with: given ones or the state directory's, never the server's."""
    return _from_outside(given, state) or Trust((), "nowhere")


def given_policy(path: Path) -> Policy:
    """The C2SP tlog-policy in a file."""
    from cryogate.audit.tlog_policy import MAX_POLICY_BYTES, parse_policy

    try:
        with path.open("rb") as file:
            return parse_policy(file.read(MAX_POLICY_BYTES + 1).decode())
    except OSError as error:
        raise Malformed("malformed_policy", f"cannot read {path.name}: {error.strerror}") from None
    except (NoteRefused, UnicodeDecodeError) as error:
        raise Malformed("malformed_policy", str(error)) from None


def tsa_trust(path: Path) -> TsaTrust:
    """The time-stamping authorities whose certificates are in a PEM file."""
    from cryogate.audit.timestamps import MAX_CA_BYTES, TsaTrust

    try:
        with path.open("rb") as file:
            return TsaTrust(file.read(MAX_CA_BYTES))
    except (OSError, TimestampRefused) as error:
        raise Malformed("malformed_certificates", f"{path.name}: {error}") from None


def _from_outside(given: Sequence[str], state: Path) -> Trust | None:
    if given:
        return Trust(given_keys(given), "given")
    own = state / VKEY_FILE
    if own.is_file():
        return Trust(given_keys([_read(own)]), "state directory")
    return None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_VKEYS_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise Malformed("malformed_vkey", f"{path.name} is not a readable verifier key") from None
