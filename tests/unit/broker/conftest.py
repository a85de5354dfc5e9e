"""One broker on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.support.broker import World, postgres_world, sqlite_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with sqlite_world(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[World]:
    if request.param == "sqlite":
        return sqlite_world(tmp_path)
    # Asked for by name, so that SQLite's turn needs no server.
    return postgres_world(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
async def each_world(opened: AbstractAsyncContextManager[World]) -> AsyncIterator[World]:
    async with opened as made:
        yield made
