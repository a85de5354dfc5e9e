"""A reader's place in the log, and the loop that reads on, for all that follow it (ADR 31).

The log is read by ``seq``, which has no gaps and no late arrivals. The place moves in the unit of
work that writes what was found, by a guarded statement: of several replicas one wins, and a crash
neither repeats nor forgets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cryogate.domain.errors import Unavailable
from cryogate.governance.rows import number
from cryogate.ports.store import SqlValue, Statement, Store, UnitOfWork


class Span(NamedTuple):
    """Events from ``first`` on, those before ``past``."""

    first: int
    past: int


class Place:
    """Where the reader ``name`` is. It reads ``most`` events at a time."""

    def __init__(self, store: Store, name: str, most: int) -> None:
        self._store, self.name, self._most = store, name, most

    async def begin(self) -> None:
        """Take a place at the log's end, if this deployment has none yet.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        begin = Statement("cursor_begin", {"name": self.name}, rows=None)
        await self._store.commit(UnitOfWork((begin,)))

    async def next(self) -> Span | None:
        """What is to be read, or None while there is nothing.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        place = await self._store.fetch_one("cursor_of", {"name": self.name})
        end = await self._store.fetch_one("log_end", {})
        if place is None or end is None:
            return None
        first = number(place, "position")
        past = min(number(end, "size"), first + self._most)
        return Span(first, past) if past > first else None

    def moved(self, span: Span) -> Statement:
        """The move past ``span``; its guard, the reader's name, fails when another has moved."""
        move: dict[str, SqlValue] = {"name": self.name, "position": span.past, "seen": span.first}
        return Statement("cursor_move", move, guard=self.name)


async def follow(
    place: Place,
    *steps: Callable[[], Awaitable[bool]],
    every_s: float,
    log: logging.Logger,
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Take each step for as long as it finds work, then rest; until cancelled.

    ``lost`` is told when the database did not answer: nobody knows then what it did.
    """
    begun = False
    while True:
        try:
            if not begun:
                await place.begin()
                begun = True
            for step in steps:
                while await step():
                    pass
        except Unavailable:
            log.warning("%s cannot read or write", place.name, exc_info=True)
            lost()
        await asyncio.sleep(every_s)
