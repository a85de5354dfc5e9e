"""Looking for jobs in a vendor's whole list: one walk for all who look at the same time.

Vendors that cannot be asked "who has this tag?" list their jobs, page by page. After a crash
hundreds of jobs are looked for at once, and a walk for each would last longer than anybody waits.

(1) "It is not there" means: not there when it was asked. So who asks while a walk is under way
    waits for the next one, which begins after all its askers have asked.
(2) A walk ends when everything that is looked for has been found, and fails for all its askers.
(3) What is seen of one account tells nothing of another: ``place`` says whose list it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

#: Tags and the vendor's ids, newest first. It ends only where "no" may be said.
Listing = Callable[[], AsyncIterator[tuple[str, str]]]


class _Walk:
    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self.found: asyncio.Task[dict[str, str]] | None = None


class Walks:
    """The walks of one adapter."""

    def __init__(self) -> None:
        self._gathering: dict[str, _Walk] = {}
        self._turn: dict[str, asyncio.Lock] = {}

    async def find(self, place: str, tag: str, listing: Listing) -> str | None:
        """The vendor's id of the job tagged ``tag``, or None when it is not in the list.

        Raises whatever ``listing`` raises.
        """
        walk = self._gathering.get(place)
        if walk is None or walk.found is None:
            walk = self._gathering[place] = _Walk()
            walk.found = asyncio.create_task(self._run(place, walk, listing))
            walk.found.add_done_callback(_noticed)
        walk.wanted.add(tag)
        # an asker that gives up leaves the walk to the others
        return (await asyncio.shield(walk.found)).get(tag)

    async def _run(self, place: str, walk: _Walk, listing: Listing) -> dict[str, str]:
        turn = self._turn.setdefault(place, asyncio.Lock())
        try:
            async with turn:
                del self._gathering[place]  # (1)
                found = dict[str, str]()
                async for tag, vendor_id in listing():
                    if tag in walk.wanted:
                        found.setdefault(tag, vendor_id)
                        if len(found) == len(walk.wanted):
                            break  # (2)
                return found
        finally:
            if place not in self._gathering:
                self._turn.pop(place, None)


def _noticed(task: asyncio.Task[dict[str, str]]) -> None:
    if not task.cancelled():
        task.exception()  # when every asker has given up, nobody else takes notice
