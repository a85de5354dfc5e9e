"""Every named statement is understood by both databases, and speaks only ``str | int | None``."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import asyncpg
from tests.contract.conftest import FixedClock

from cryogate.storage import PostgresStore, SqliteStore
from cryogate.storage.statements import Dialect, Statements

SQLITE = Statements(Dialect.SQLITE)
POSTGRES = Statements(Dialect.POSTGRES)
TYPES = {"text", "int8"}


async def test_sqlite_understands_every_statement(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path, FixedClock())
    await store.open()
    await store.close()
    connection = sqlite3.connect(path)
    wrong = []
    for name in SQLITE.names():
        statement = SQLITE.get(name)
        try:
            cursor = connection.execute(f"EXPLAIN {statement.sql}", (None,) * len(statement.params))
            cursor.fetchall()
        except sqlite3.Error as error:
            wrong.append(f"{name}: {error}")
    connection.close()
    assert not wrong, "\n".join(wrong)


async def test_postgres_understands_every_statement(postgres_dsn: str) -> None:
    store = PostgresStore(postgres_dsn, FixedClock())
    await store.open()
    await store.close()
    connection = await asyncpg.connect(postgres_dsn)
    wrong = []
    for name in POSTGRES.names():
        statement = POSTGRES.get(name)
        try:
            prepared = await connection.prepare(statement.sql)
        except asyncpg.PostgresError as error:
            wrong.append(f"{name}: {error}")
            continue
        # An int4 parameter refuses what an SQLite column takes; a numeric column gives decimals.
        wrong += [
            f"{name}: parameter {param} is {kind.name}, CAST it"
            for param, kind in zip(statement.params, prepared.get_parameters(), strict=True)
            if kind.name not in TYPES
        ]
        wrong += [
            f"{name}: column {column.name} is {column.type.name}, CAST it"
            for column in prepared.get_attributes()
            if column.type.name not in {*TYPES, "int4"}
        ]
        columns = [column.name for column in prepared.get_attributes()]
        if len(set(columns)) != len(columns):
            wrong.append(f"{name}: two columns have one name")
        if statement.returns != bool(columns):
            wrong.append(f"{name}: the driver expects rows: {statement.returns}")
    await connection.close()
    assert not wrong, "\n".join(wrong)


def test_both_databases_have_the_same_statements() -> None:
    assert SQLITE.names() == POSTGRES.names()
    differ = [
        name
        for name in SQLITE.names()
        if (set(SQLITE.get(name).params), SQLITE.get(name).reads)
        != (set(POSTGRES.get(name).params), POSTGRES.get(name).reads)
    ]
    assert differ == []
