"""Which databases a store agrees to run on; the same assertions on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.contract.conftest import Database, PostgresDatabase

from cryogate.ports.store import SchemaMismatch
from cryogate.storage.migrate import Migration, load_migrations, pending, spell
from cryogate.storage.statements import Dialect

VERSIONS = "SELECT version, sha256, applied_ms FROM schema_migrations ORDER BY version"


async def test_migrations_are_applied_once(database: Database) -> None:
    seen = []
    for _ in range(2):
        store = database.store()
        await store.open()
        await store.close()
        seen.append(await database.run(VERSIONS))
    steps = load_migrations(Dialect.SQLITE)
    assert seen[0] == [(step.version, step.sha256, 1_700_000_000_000) for step in steps]
    assert seen[1] == seen[0]


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        ("INSERT INTO schema_migrations VALUES (9000, 'x', 0)", "knows version 9000 or later"),
        ("UPDATE schema_migrations SET sha256 = 'x' WHERE version = 1", "restore a backup"),
    ],
    ids=["newer", "altered"],
)
async def test_a_schema_that_is_not_ours_is_refused_unchanged(
    database: Database, change: str, way_out: str
) -> None:
    store = database.store()
    await store.open()
    await store.close()
    await database.run(change)
    before = await database.run(VERSIONS)
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match=way_out):
            await database.store().open()
    assert await database.run(VERSIONS) == before


@pytest.mark.attack("P2")
async def test_replicas_that_start_at_once_take_turns(postgres_database: PostgresDatabase) -> None:
    stores = [postgres_database.store() for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))
    assert len(await postgres_database.run(VERSIONS)) == len(load_migrations(Dialect.POSTGRES))


STEPS = tuple(Migration(number, f"sha{number}", "") for number in (1, 2, 3))


def test_only_what_is_missing_is_pending() -> None:
    assert pending(STEPS, {}) == STEPS
    assert pending(STEPS, {1: "sha1", 2: "sha2"}) == STEPS[2:]
    assert pending(STEPS, {1: "sha1", 2: "sha2", 3: "sha3"}) == ()


@pytest.mark.parametrize(
    "applied",
    [{2: "sha2"}, {1: "sha1", 3: "sha3"}, {1: "sha1", 2: "other"}, {4: "sha4"}],
    ids=["first missing", "gap", "altered", "newer"],
)
def test_a_history_that_is_not_a_prefix_is_refused(applied: dict[int, str]) -> None:
    with pytest.raises(SchemaMismatch, match="Nothing was changed"):
        pending(STEPS, applied)


@pytest.mark.parametrize("names", [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["one.sql"]])
def test_misnumbered_files_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match=r"migration"):
        load_migrations(Dialect.SQLITE, tmp_path)


def test_an_unknown_word_in_a_migration_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        spell("CREATE TABLE t (a {{json}})", Dialect.SQLITE)
