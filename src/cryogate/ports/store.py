"""Durable state: guarded statements that commit together with their audit events.

A `UnitOfWork` is a short list of named statements and the events that describe them. It commits
whole or not at all; when `Store.commit` returns, it is on disk. The statements' SQL lives in
named ``.sql`` files of the storage package, so every driver runs the same list and one contract
suite proves that they agree.

Why a list and not a transaction handle: nothing can await, call a vendor or forget to commit
in the middle of a list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cryogate.domain.errors import CryogateError, Unavailable
from cryogate.domain.events import Event

SqlValue = str | int | None
Row = Mapping[str, SqlValue]


class StoreUnavailable(Unavailable):
    """The database did not answer, or refused for a reason that is ours."""


class GuardFailed(CryogateError):
    """A statement touched another number of rows than it had to; nothing was changed.

    ``guard`` is the failed statement's guard name (or the statement's name).
    """

    def __init__(self, guard: str) -> None:
        super().__init__(f"guard {guard} did not hold")
        self.guard = guard


class AlreadyExists(GuardFailed):
    """A row with this key is there already; nothing was changed."""


class Statement(NamedTuple):
    """One named statement with its parameters.

    ``rows`` is how many rows it must touch (``None``: any number). Whatever else happens, the
    whole unit of work is undone and `GuardFailed` names ``guard``.
    """

    name: str
    params: Mapping[str, SqlValue]
    rows: int | None = 1
    guard: str = ""


class UnitOfWork(NamedTuple):
    """What must become true together. Order is kept."""

    statements: tuple[Statement, ...]
    events: tuple[Event, ...] = ()


class ReadStore(ABC):
    """Read-only view; the type that introspection and the console are given."""

    @abstractmethod
    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        """All rows of a named query. Sees every unit of work acknowledged before the call.

        Raises:
            StoreUnavailable: the database did not answer.
        """

    async def fetch_one(self, query: str, params: Mapping[str, SqlValue]) -> Row | None:
        """The only row of a named query, or None.

        Raises:
            StoreUnavailable: the database did not answer, or answered with several rows.
        """
        rows = await self.fetch(query, params)
        if len(rows) > 1:
            raise StoreUnavailable(f"query {query} gave {len(rows)} rows where one was due")
        return rows[0] if rows else None

    @property
    def state(self) -> int | None:
        """A number that is another one after every unit of work that was acknowledged.

        None where nobody here knows, because other processes write too.
        """
        return None


class Store(ReadStore):
    """The database of a deployment."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, check the schema, apply pending migrations.

        Raises:
            SchemaMismatch: the schema is newer than this program or has been altered.
            StoreUnavailable: the database did not answer or is corrupt.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted and disconnect."""

    @abstractmethod
    async def commit(self, work: UnitOfWork) -> Sequence[Sequence[Row]]:
        """Make ``work`` durable, or nothing of it.

        Returns the rows of each statement that returns rows (``RETURNING``), else empty.

        Raises:
            GuardFailed: a statement did not touch the rows it had to.
            AlreadyExists: a key is taken.
            StoreUnavailable: unknown whether it was done only if the connection broke; the
                caller must then treat the effect as not permitted.
        """

    async def scrub(self) -> None:
        """Make unreadable, in the files that this process writes, what committed units deleted.

        Raises:
            StoreUnavailable: it could not be done now; the deletion itself stands.
        """


class SchemaMismatch(CryogateError):
    """The database's schema is not one that this program may run on; says the way out."""
