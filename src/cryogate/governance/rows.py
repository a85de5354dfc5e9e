"""Typed access to rows, so that a column of another type is an error and never a guess."""

from __future__ import annotations

from cryogate.ports.store import Row, StoreUnavailable


def text(row: Row, column: str) -> str:
    """A text column that is never NULL.

    Raises:
        StoreUnavailable: the row holds something else.
    """
    value = row[column]
    if type(value) is not str:
        raise StoreUnavailable(f"column {column} does not hold text")
    return value


def number(row: Row, column: str) -> int:
    """An integer column that is never NULL.

    Raises:
        StoreUnavailable: the row holds something else.
    """
    value = row[column]
    if type(value) is not int:
        raise StoreUnavailable(f"column {column} does not hold an integer")
    return value


def maybe_text(row: Row, column: str) -> str | None:
    """A text column that may be NULL."""
    return None if row[column] is None else text(row, column)


def maybe_number(row: Row, column: str) -> int | None:
    """An integer column that may be NULL."""
    return None if row[column] is None else number(row, column)
