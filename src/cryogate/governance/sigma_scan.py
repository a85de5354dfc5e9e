"""Runs Sigma rules over events of the log, with pySigma and its SQLite backend.

The rules in ``sigma/`` say in the common language of SIEMs what the detector and the gateway look
for, so that they can be taken to another system; running them here shows that they find it.

 (1) Events are copied into a table of a temporary database: one column a field, lists as lines.
     The store itself is never queried by a rule.
 (2) While a rule runs, that connection may read its one table and call functions, nothing else:
     a rule is text from outside, and becomes SQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from cryogate.domain.errors import Malformed
from cryogate.domain.events import Event

RULES: Final = Path(__file__).parent / "sigma"
LEVELS: Final = ("informational", "low", "medium", "high", "critical")
_MAX_RULE_BYTES: Final = 64 << 10
_NUMBERS: Final = frozenset(
    {"seq", "shots", "token_ttl_s", "cost_estimate_cents", "cost_actual_cents", "runtime_ms"}
)
COLUMNS: Final = (
    "seq",
    "timestamp",
    *(name for name in Event.__annotations__ if name != "timestamp_ms"),
)
_READS: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION})
_RECURSIVE: Final = 33  # SQLITE_RECURSIVE, which the module does not name


class NoSigma(Malformed):
    """pySigma is not installed."""

    def __init__(self) -> None:
        super().__init__("no_sigma", "install the extra: pip install 'cryogate[sigma]'")


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that found something. ``rows`` are the matching events, or what was counted."""

    rule: str
    title: str
    level: str
    rows: tuple[Mapping[str, Any], ...]


class EventTable:
    """(1) Events, ready for rules. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        # the empty name is a database of its own that spills to a temporary file
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.row_factory = sqlite3.Row
        columns = ", ".join(f"{n} {'INTEGER' if n in _NUMBERS else 'TEXT'}" for n in COLUMNS)
        self._db.execute(f"CREATE TABLE logs ({columns})")
        # counting rules need it, and it declares itself when first used: before rules run
        self._db.execute("SELECT 1 FROM json_each('[]')").fetchall()

    def add(self, events: Iterable[Mapping[str, Any]]) -> int:
        """Copy events as the log gives them; how many."""
        marks = ", ".join("?" * len(COLUMNS))
        before = self._db.total_changes
        self._db.execute("BEGIN")
        insert = f"INSERT INTO logs VALUES ({marks})"  # noqa: S608 - marks are question marks
        self._db.executemany(insert, map(_row, events))
        self._db.execute("COMMIT")
        return self._db.total_changes - before

    def run(self, sql: str) -> Sequence[Mapping[str, Any]]:
        """(2) The rows of one query.

        Raises:
            Malformed: it does more than read, or is no query.
        """
        self._db.set_authorizer(_only_reading)
        try:
            return [dict(row) for row in self._db.execute(sql)]
        except sqlite3.Error as error:
            raise Malformed("malformed_rule", f"a rule cannot be run: {error}") from error
        finally:
            self._db.set_authorizer(None)

    def close(self) -> None:
        """Forget the events."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scan(events: EventTable, rules: Path = RULES, least: str = "informational") -> Iterator[Hit]:
    """What the rules find, file by file; only rules of level ``least`` and above.

    Raises:
        NoSigma: pySigma is not installed.
        Malformed: a rule cannot be read or run.
    """
    for path in sorted(rules.glob("*.yml")):
        for rule, queries in _compiled(path):
            level = str(rule.level or "informational").lower()
            if LEVELS.index(level) < LEVELS.index(least):
                continue
            rows = [row for query in queries for row in events.run(query)]
            if rows:
                yield Hit(path.stem, rule.title, level, tuple(rows))


def _compiled(path: Path) -> Sequence[tuple[Any, Sequence[str]]]:
    """Rules of a file that are findings by themselves, as SQL."""
    try:
        from sigma.backends.sqlite import sqliteBackend
        from sigma.collection import SigmaCollection
    except ImportError as error:
        raise NoSigma from error
    data = path.read_bytes()
    if len(data) > _MAX_RULE_BYTES:
        raise Malformed("malformed_rule", f"{path.name} is larger than {_MAX_RULE_BYTES} bytes")
    backend = sqliteBackend(table="logs", timestamp_field="timestamp", event_id_field="seq")
    try:
        rules = SigmaCollection.from_yaml(data.decode("utf-8"))
        backend.convert(rules)
        # what another rule of the file only counts is no finding by itself, and is not in these
        found = [(rule, rule.get_conversion_result()) for rule in rules.get_output_rules()]
    except Exception as error:  # text from outside, read by another library
        raise Malformed("malformed_rule", f"{path.name}: {str(error)[:300]}") from error
    if not found:
        raise Malformed("malformed_rule", f"{path.name} holds no rule")
    return found


def _row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(_cell(event.get(name)) for name in COLUMNS)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _only_reading(action: int, *_: object) -> int:
    allowed = action in _READS or action == _RECURSIVE
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
