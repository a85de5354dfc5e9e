"""The databases a deployment can rest on, behind one port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

from cryogate.ports.clock import Clock
from cryogate.ports.notices import Notices
from cryogate.ports.store import Store
from cryogate.storage.notices import NoNotices, PostgresNotices
from cryogate.storage.postgres import PostgresStore
from cryogate.storage.sqlite import SqliteStore
from cryogate.storage.sweeping import Sweeper

__all__ = ["DRIVERS", "PostgresStore", "SqliteStore", "Sweeper", "open_notices", "open_store"]


def _sqlite(url: str, clock: Clock) -> Store:
    parts = urlsplit(url)
    # sqlite:///relative/path and sqlite:////absolute/path, as everybody writes them.
    if parts.netloc or parts.query or parts.fragment or len(parts.path) < 2:
        raise ValueError("a SQLite database is named sqlite:///path or sqlite:////absolute/path")
    return SqliteStore(Path(unquote(parts.path[1:])), clock)


DRIVERS: Final[Mapping[str, Callable[[str, Clock], Store]]] = MappingProxyType(
    {"sqlite": _sqlite, "postgresql": PostgresStore, "postgres": PostgresStore}
)


def open_store(url: str, clock: Clock) -> Store:
    """The store that ``url`` names; not connected yet (`Store.open` does that).

    Raises:
        ValueError: the URL names no known database. Its text never repeats the URL, which may
            hold a password.
    """
    scheme = urlsplit(url).scheme
    if scheme not in DRIVERS:
        raise ValueError(f"a database URL starts with {' or '.join(f'{s}://' for s in DRIVERS)}")
    return DRIVERS[scheme](url, clock)


def open_notices(url: str) -> Notices:
    """What other processes on the database ``url`` tell."""
    return NoNotices() if urlsplit(url).scheme == "sqlite" else PostgresNotices(url)
