"""Fixtures that every kind of test may ask for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.postgres import PostgresMissing, PostgresServer
from tests.support.up import keep_bytecode

from cryogate.storage import PostgresStore
from cryogate.testing.clock import FakeClock

keep_bytecode(os.environ)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL. Absent, it is a skip with a reason, or a failure where it is required."""
    try:
        server = PostgresServer()
        server.start()
    except PostgresMissing as reason:
        if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
            pytest.fail(f"CRYOGATE_REQUIRE_REAL is set: {reason}", pytrace=False)
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture
async def postgres_dsn(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A fresh, empty database."""
    dsn = await postgres_server.create()
    yield dsn
    await postgres_server.drop(dsn)


@pytest.fixture(params=["sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest) -> str | None:
    """None for SQLite, else an empty PostgreSQL database: once with each."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres_dsn"))


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database with our schema: copying it is many times faster than making one."""

    async def make() -> str:
        dsn = await postgres_server.create()
        store = PostgresStore(dsn, FakeClock())
        await store.open()
        await store.close()
        return dsn.partition("@/")[2].partition("?")[0]

    return asyncio.run(make())


@pytest.fixture
async def migrated_dsn(
    postgres_server: PostgresServer, migrated_template: str
) -> AsyncIterator[str]:
    """A fresh database with our schema."""
    dsn = await postgres_server.create(migrated_template)
    yield dsn
    await postgres_server.drop(dsn)
