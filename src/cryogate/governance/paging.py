"""Pages of lists and the opaque cursors between them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from cryogate.domain.errors import Malformed

T = TypeVar("T")

MAX_PAGE = 200
LATEST = (2**53 - 1, "~")
"""A place after every ``(milliseconds, id)``."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor of the next ones if there may be more."""

    items: tuple[T, ...]
    next: str | None


def page_size(limit: int) -> int:
    """``limit`` if it is between 1 and `MAX_PAGE`.

    Raises:
        Malformed: it is not.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Malformed("malformed_limit", f"limit must be between 1 and {MAX_PAGE}")
    return limit


def cut(rows: Sequence[T], limit: int, place: Callable[[T], tuple[int, str]]) -> Page[T]:
    """A page of ``limit`` out of rows that were asked for with ``limit + 1``."""
    kept = tuple(rows[:limit])
    more = len(rows) > limit
    return Page(kept, encode_cursor(*place(kept[-1])) if more else None)


def encode_cursor(at: int, key: str) -> str:
    """Cursor text of a place in a list."""
    return base64.urlsafe_b64encode(msgspec.json.encode((at, key))).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, str]:
    """The place a cursor stands for. It is a position only and grants nothing.

    Raises:
        Malformed: not a cursor of ours.
    """
    try:
        if len(cursor) > 400:
            raise ValueError("too long")
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        at, key = msgspec.json.decode(raw, type=tuple[int, str])
        if not 0 <= at < 2**53 or not key.isascii() or "\0" in key:
            raise ValueError("out of range")
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise Malformed("malformed_cursor", "this cursor was not given by this list") from error
    return at, key
