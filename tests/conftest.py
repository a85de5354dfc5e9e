"""Fixtures that every kind of test may ask for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.postgres import PostgresMissing, PostgresServer


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
