"""Named SQL: loaded once, checked once, spelled for one dialect.

A file holds blocks; each starts with ``-- name: some_name`` and is one SQL statement with
``:param`` parameters. A block whose line ends in ``[sqlite]`` or ``[postgres]`` is that
dialect's variant of the name. Nothing outside these files is ever sent to a database, and a
parameter is always bound, never pasted.

Why numbered placeholders (``?1``, ``$1``) for both: the values of a statement are then one
tuple in the order of first appearance, and a parameter that is missing or surplus is found
before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from pathlib import Path

from cryogate.ports.store import SqlValue

SQL_DIR = Path(__file__).parent / "sql"
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

_NAME_LINE = re.compile(r"--\s*name:\s*(\S+)(?:\s+\[(\S+)\])?\s*\Z")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
# A string, a quoted identifier, a comment or a cast is skipped whole; only the last branch is ours.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | ::
        | :(?P<param>[a-z_][a-z0-9_]*)""",
    re.VERBOSE | re.DOTALL,
)
_WRITES = re.compile(r"\b(?:insert|update|delete|replace)\b", re.IGNORECASE)
_LOCKS = re.compile(r"\bfor\s+(?:no\s+key\s+)?(?:update|share|key\s+share)\b", re.IGNORECASE)
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)


class BadStatement(ValueError):
    """The program asked for SQL that does not exist, or for values no database may be given.

    Raised before anything is sent, so nothing was changed.
    """


class Dialect(StrEnum):
    """Which database a statement is spelled for."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Prepared:
    """One statement as its database reads it.

    ``returns`` says that it gives rows, ``reads`` that it can change nothing.
    """

    name: str
    sql: str
    params: tuple[str, ...]
    returns: bool
    reads: bool
    pick: Callable[[Mapping[str, SqlValue]], tuple[SqlValue, ...]]

    def bind(self, params: Mapping[str, SqlValue]) -> tuple[SqlValue, ...]:
        """The values in placeholder order, each a plain ``str``, ``int`` or None.

        Raises:
            BadStatement: a parameter is missing, surplus, of another type, an integer beyond 64
                bit, or text that holds NUL or a lone surrogate.
        """
        values = self.order(params)
        if are_plain(values):
            return values
        values = tuple(self._plain(name, params[name]) for name in self.params)
        if are_plain(values):
            return values
        if all(MIN_INT <= value <= MAX_INT for value in values if isinstance(value, int)):
            # NUL is refused by PostgreSQL and cut off by many SQLite tools: refused by us.
            raise BadStatement(f"{self.name}: text holds NUL or a lone surrogate")
        raise BadStatement(f"{self.name}: integer beyond 64 bit")

    def order(self, params: Mapping[str, SqlValue]) -> tuple[SqlValue, ...]:
        """The values in placeholder order, of which nothing is known until `are_plain` says so.

        Raises:
            BadStatement: a parameter is missing or surplus.
        """
        if len(params) != len(self.params):
            raise BadStatement(self._difference(params))
        try:
            return self.pick(params)
        except KeyError:
            raise BadStatement(self._difference(params)) from None

    def _plain(self, name: str, value: object) -> SqlValue:
        # Enumerations and booleans become what they stand for, alike in both databases.
        if value is None or isinstance(value, str):
            return value if value is None else str.__str__(value)
        if isinstance(value, int):
            return int(value)
        raise BadStatement(f"{self.name}: parameter {name} is a {type(value).__name__}")

    def _difference(self, params: Mapping[str, SqlValue]) -> str:
        missing = sorted(set(self.params) - set(params))
        surplus = sorted(set(params) - set(self.params))
        return f"{self.name}: parameters missing {missing}, surplus {surplus}"


class Statements:
    """Every named statement of one dialect."""

    def __init__(self, dialect: Dialect, directories: Iterable[Path] = (SQL_DIR,)) -> None:
        self.dialect = dialect
        self._by_name: dict[str, Prepared] = {}
        variants: dict[str, set[str]] = {}
        for path in (path for folder in directories for path in sorted(folder.glob("*.sql"))):
            for name, variant, text in _blocks(path):
                known = variants.setdefault(name, set())
                if variant in known or (known and "" in (variant, *known)):
                    raise BadStatement(f"{path.name}: {name} is defined twice")
                known.add(variant)
                if variant in ("", dialect.value):
                    self._by_name[name] = prepare(name, text, dialect, path.name)
        lacking = sorted(variants.keys() - self._by_name.keys())
        if lacking:
            raise BadStatement(f"no {dialect.value} variant of {', '.join(lacking)}")

    def names(self) -> tuple[str, ...]:
        """Every name, sorted."""
        return tuple(sorted(self._by_name))

    def get(self, name: str) -> Prepared:
        """The statement of this name.

        Raises:
            BadStatement: there is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise BadStatement(f"no statement is named {name}") from None

    def query(self, name: str) -> Prepared:
        """The statement of this name, if it can change nothing.

        Raises:
            BadStatement: there is none, or it writes.
        """
        found = self.get(name)
        if not found.reads:
            raise BadStatement(f"{name} writes, so it cannot be fetched")
        return found


def are_plain(values: Sequence[object]) -> bool:
    """Whether each is a ``str``, ``int`` or None that any database may be given as it is.

    One look at each, a few calls for all together: this runs for every value that is ever stored.
    """
    texts, numbers = list[str](), list[int]()
    for value in values:
        if type(value) is str:
            texts.append(value)
        elif type(value) is int:
            numbers.append(value)
        elif value is not None:
            return False
    if numbers and not (min(numbers) >= MIN_INT and max(numbers) <= MAX_INT):
        return False
    joined = "".join(texts)
    return "\0" not in joined and (joined.isascii() or _encodable(joined))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _blocks(path: Path) -> Iterable[tuple[str, str, str]]:
    """``(name, variant or "", SQL)`` of each block of a file."""
    name, variant, lines = "", "", list[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _NAME_LINE.match(line)
        if match is None:
            lines.append(line)
            continue
        if name:
            yield name, variant, "\n".join(lines)
        name, variant, lines = match[1], match[2] or "", []
        if not _NAME.match(name) or variant not in ("", *Dialect):
            raise BadStatement(f"{path.name}: {line!r} is not a statement's name")
    if name:
        yield name, variant, "\n".join(lines)


def prepare(name: str, text: str, dialect: Dialect, source: str = "code") -> Prepared:
    """One statement, checked and spelled.

    Raises:
        BadStatement: it is not exactly one SELECT, INSERT, UPDATE or DELETE.
    """
    where = f"{source}: {name}"
    params: dict[str, int] = {}
    sign = "?" if dialect is Dialect.SQLITE else "$"

    def placeholder(match: re.Match[str]) -> str:
        param = match["param"]
        if param is None:
            return "" if match[0].startswith(("--", "/*")) else match[0]
        return f"{sign}{params.setdefault(param, len(params) + 1)}"

    sql = _TOKEN.sub(placeholder, text).strip().removesuffix(";").strip()
    sql = "\n".join(line.rstrip() for line in sql.splitlines() if line.strip())
    # Quoted text must not decide what kind of statement this is.
    bare = _TOKEN.sub(lambda match: match[0] if match["param"] else " ", text)
    verb = sql.split(maxsplit=1)[0].lower() if sql else ""
    if verb not in ("select", "with", "insert", "update", "delete"):
        raise BadStatement(f"{where} must start with SELECT, WITH, INSERT, UPDATE or DELETE")
    if ";" in bare.strip().removesuffix(";"):
        raise BadStatement(f"{where} holds more than one statement")
    writes = bool(_WRITES.search(_LOCKS.sub(" ", bare)))
    returning = bool(_RETURNING.search(bare))
    if verb == "with" and writes and not returning:
        # Its row count could not be told alike in both databases, so no guard could hold.
        raise BadStatement(f"{where} writes in a WITH and must say RETURNING")
    return Prepared(
        name=name,
        sql=sql,
        params=tuple(params),
        returns=returning or verb in ("select", "with"),
        reads=not writes and not _LOCKS.search(bare),
        pick=_picker(tuple(params)),
    )


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, SqlValue]], tuple[SqlValue, ...]]:
    if not names:
        return lambda params: ()
    if len(names) == 1:
        only = names[0]
        return lambda params: (params[only],)
    return itemgetter(*names)
