"""Migrations: which there are, and whether a database may be used.

One numbered ``.sql`` file serves both databases; the words in double braces are the only
differences (``{{keyed}}``: rows lie in the tree of their key). What may never change: one that was
released. Its SHA-256 is recorded where it was applied, and a database that records another one is
refused, because nobody knows what its tables hold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryogate.ports.store import SchemaMismatch
from cryogate.storage.statements import Dialect

MIGRATIONS_DIR = Path(__file__).parent / "migrations"

_FILE = re.compile(r"(?P<version>\d{4})_[a-z0-9_]+\.sql\Z")
_SPELLINGS: Mapping[Dialect, Mapping[str, str]] = {
    Dialect.SQLITE: {
        "{{bigint}}": "INTEGER",
        "{{identity}}": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "{{strict}}": "STRICT",
        "{{keyed}}": "STRICT, WITHOUT ROWID",
        "{{unlogged}}": "",
    },
    Dialect.POSTGRES: {
        "{{bigint}}": "BIGINT",
        "{{identity}}": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "{{strict}}": "",
        "{{keyed}}": "",
        "{{unlogged}}": "UNLOGGED",
    },
}
_BOOKKEEPING = """\
CREATE TABLE IF NOT EXISTS schema_migrations (
  version    {{bigint}} PRIMARY KEY,
  sha256     TEXT NOT NULL,
  applied_ms {{bigint}} NOT NULL
) {{strict}};
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, spelled for one database. ``sha256`` is the file's, hex."""

    version: int
    sha256: str
    sql: str


def spell(template: str, dialect: Dialect) -> str:
    """The template in the words of ``dialect``."""
    for word, spelling in _SPELLINGS[dialect].items():
        template = template.replace(word, spelling)
    if "{{" in template:
        raise ValueError("a migration holds an unknown {{word}}")
    return template


def bookkeeping(dialect: Dialect) -> str:
    """The table that remembers what was applied."""
    return spell(_BOOKKEEPING, dialect)


def load_migrations(dialect: Dialect, folder: Path = MIGRATIONS_DIR) -> tuple[Migration, ...]:
    """All migrations, numbered 1, 2, 3 … without a gap.

    Raises:
        ValueError: a file is misnamed or a number is missing.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise ValueError(f"{path.name} is not a migration's name")
        raw = path.read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        found.append(Migration(int(match["version"]), digest, spell(raw.decode(), dialect)))
    if [step.version for step in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations must be numbered 0001, 0002, … without a gap")
    return tuple(found)


def pending(known: Sequence[Migration], applied: Mapping[int, str]) -> tuple[Migration, ...]:
    """What must still be applied to a database that recorded ``applied`` (version → sha256).

    Raises:
        SchemaMismatch: the database is newer than this program, or was made by other migrations.
    """
    newest = max(applied, default=0)
    if newest > len(known):
        raise SchemaMismatch(
            f"The database has schema version {newest}, this program knows {len(known)}. Nothing "
            f"was changed. Start a program that knows version {newest} or later, or restore a "
            f"backup made before the upgrade."
        )
    for step in known[:newest]:
        if applied.get(step.version) != step.sha256:
            raise SchemaMismatch(
                f"The database's schema version {step.version} was not made by this program's "
                f"migration of that number. Nothing was changed. Start the program that made it "
                f"and export the data, or restore a backup."
            )
    return tuple(known[newest:])
