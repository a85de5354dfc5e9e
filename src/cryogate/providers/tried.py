"""Which jobs this process has tried to hand over, for vendors that recognize no repetition.

A job that was tried is looked for before it is sent again, so a lost answer never makes a second
one (B2). What another process tried, the dispatcher looks for when it takes the job over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

_MOST: Final = 10_000


class Tried:
    """The newest `_MOST` jobs, with the vendor's id once it is known."""

    def __init__(self) -> None:
        self._ids: dict[str, str | None] = {}

    async def known(self, job_id: str, find: Callable[[], Awaitable[str | None]]) -> str | None:
        """The vendor's id of a job that may be there; None when it surely is not."""
        if job_id not in self._ids:
            return None
        return self._ids[job_id] or await find()

    def note(self, job_id: str, vendor_id: str | None = None) -> None:
        """It is about to be sent, or is there under ``vendor_id``."""
        self._ids[job_id] = vendor_id
        while len(self._ids) > _MOST:
            del self._ids[next(iter(self._ids))]
