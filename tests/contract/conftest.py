"""Every driver of the store, each on a database of its own."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from tests.support.sinks import Log, world

from cryogate.ports.clock import Clock
from cryogate.ports.store import Store
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.storage.statements import SQL_DIR

DIRECTORIES = (SQL_DIR, Path(__file__).parent / "sql")
NewStore = Callable[[], Store]


class FixedClock(Clock):
    def now_ms(self) -> int:
        return 1_700_000_000_000


class Database(ABC):
    """One database, seen from outside the store."""

    @abstractmethod
    def store(self) -> Store:
        """An unopened store; the next one sees what the last one left."""

    @abstractmethod
    async def run(self, sql: str) -> list[tuple[object, ...]]:
        """Any SQL at all."""


class SqliteDatabase(Database):
    def __init__(self, path: Path) -> None:
        self.path = path

    def store(self) -> SqliteStore:
        return SqliteStore(self.path, FixedClock(), sql_directories=DIRECTORIES)

    async def run(self, sql: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


class PostgresDatabase(Database):
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def store(self) -> PostgresStore:
        return PostgresStore(self.dsn, FixedClock(), sql_directories=DIRECTORIES)

    async def run(self, sql: str) -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path / "store.db")


@pytest.fixture
def postgres_database(postgres_dsn: str) -> PostgresDatabase:
    return PostgresDatabase(postgres_dsn)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def new_store(database: Database) -> NewStore:
    return database.store


@pytest.fixture
async def store(new_store: NewStore) -> AsyncIterator[Store]:
    opened = new_store()
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    """Opens a log of that many entries."""
    dsn = request.getfixturevalue("migrated_dsn") if request.param == "postgres" else ""
    return partial(world, tmp_path, dsn=dsn)
