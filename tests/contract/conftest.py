"""Every driver of the store, each on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cryogate.ports.clock import Clock
from cryogate.ports.store import Store
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.storage.statements import SQL_DIR

STATEMENTS = Path(__file__).parent / "sql"
NewStore = Callable[[], Store]


class FixedClock(Clock):
    def now_ms(self) -> int:
        return 1_700_000_000_000


@pytest.fixture(params=["sqlite", "postgres"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> NewStore:
    """Makes unopened stores on one database: the next one sees what the last one left."""
    directories = (SQL_DIR, STATEMENTS)
    if request.param == "sqlite":
        path = tmp_path / "store.db"
        return lambda: SqliteStore(path, FixedClock(), sql_directories=directories)
    dsn = request.getfixturevalue("postgres_dsn")
    return lambda: PostgresStore(dsn, FixedClock(), sql_directories=directories)


@pytest.fixture
async def store(new_store: NewStore) -> AsyncIterator[Store]:
    opened = new_store()
    await opened.open()
    yield opened
    await opened.close()
