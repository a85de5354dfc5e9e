"""How named SQL is read: what is accepted, and what is refused when the program starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.conftest import FixedClock

from cryogate.ports.store import StoreUnavailable
from cryogate.storage import PostgresStore, SqliteStore, open_store
from cryogate.storage.statements import BadStatement, Dialect, Prepared, Statements


def load(folder: Path, text: str, dialect: Dialect = Dialect.POSTGRES) -> Statements:
    (folder / "area.sql").write_text(text)
    return Statements(dialect, [folder])


def only(folder: Path, sql: str, dialect: Dialect = Dialect.POSTGRES) -> Prepared:
    return load(folder, f"-- name: it\n{sql}", dialect).get("it")


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        (Dialect.SQLITE, "SELECT ?1, ?2, ?1 WHERE ':x' = \":y\""),
        (Dialect.POSTGRES, "SELECT $1, $2, $1 WHERE ':x' = \":y\""),
    ],
)
def test_parameters_are_numbered_in_order_of_appearance(
    tmp_path: Path, dialect: Dialect, sql: str
) -> None:
    found = only(tmp_path, "SELECT :b, :a, :b -- :c\nWHERE /* :d */ ':x' = \":y\";", dialect)
    assert " ".join(found.sql.split()) == sql
    assert found.params == ("b", "a")
    assert found.bind({"a": 1, "b": "two"}) == ("two", 1)


def test_casts_are_left_alone(tmp_path: Path) -> None:
    assert only(tmp_path, "SELECT :a::text, 'it''s :b'").sql == "SELECT $1::text, 'it''s :b'"


def test_a_dialect_reads_its_variant(tmp_path: Path) -> None:
    text = "-- name: it [sqlite]\nSELECT 1\n-- name: it [postgres]\nSELECT 2\n"
    assert load(tmp_path, text).get("it").sql == "SELECT 2"
    assert load(tmp_path, text, Dialect.SQLITE).get("it").sql == "SELECT 1"


@pytest.mark.parametrize(
    ("sql", "returns", "reads"),
    [
        ("SELECT 1", True, True),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x", True, True),
        ("SELECT 'update' AS a", True, True),
        ("SELECT a FROM t FOR UPDATE", True, False),
        ("SELECT a FROM t FOR NO KEY UPDATE SKIP LOCKED", True, False),
        ("INSERT INTO t VALUES (1)", False, False),
        ("INSERT INTO t VALUES (1) RETURNING a", True, False),
        ("DELETE FROM t WHERE a = 'returning'", False, False),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", True, False),
    ],
)
def test_what_a_statement_does_is_known(
    tmp_path: Path, sql: str, returns: bool, reads: bool
) -> None:
    found = only(tmp_path, sql)
    assert (found.returns, found.reads) == (returns, reads)


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\nSELECT 1\n-- name: a\nSELECT 2",
        "-- name: a\nSELECT 1\n-- name: a [postgres]\nSELECT 2",
        "-- name: a [postgres]\nSELECT 1\n-- name: a\nSELECT 2",
        "-- name: a [postgres]\nSELECT 1\n-- name: a [postgres]\nSELECT 2",
        "-- name: a [sqlite]\nSELECT 1",
        "-- name: a [oracle]\nSELECT 1",
        "-- name: A\nSELECT 1",
        "-- name: a\nSELECT 1; DELETE FROM agents",
        "-- name: a\nDROP TABLE agents",
        "-- name: a\nPRAGMA user_version",
        "-- name: a\n",
        "-- name: a\nWITH x AS (SELECT 1) DELETE FROM agents",
    ],
)
def test_a_doubtful_file_stops_the_program(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadStatement):
        load(tmp_path, text)


def test_names_are_unique_over_all_files(tmp_path: Path) -> None:
    for area in ("one", "two"):
        (tmp_path / f"{area}.sql").write_text("-- name: same\nSELECT 1")
    with pytest.raises(BadStatement, match="defined twice"):
        Statements(Dialect.SQLITE, [tmp_path])


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///relative.db", SqliteStore),
        ("sqlite:////absolute/path.db", SqliteStore),
        ("postgresql://user:secret@host/name", PostgresStore),
        ("postgres://host/name", PostgresStore),
    ],
)
def test_a_url_names_a_driver(url: str, kind: type) -> None:
    assert type(open_store(url, FixedClock())) is kind


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "url",
    ["", "mysql://u:canary@h/d", "sqlite://canary/x.db", "sqlite:///", "sqlite:///x?canary=1"],
)
def test_a_url_that_names_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite") as caught:
        open_store(url, FixedClock())
    assert "canary" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)
    with pytest.raises(StoreUnavailable, match=r"cryogate\[postgres\]"):
        open_store("postgresql://host/name", FixedClock())
