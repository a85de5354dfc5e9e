"""Hints from other processes that something was committed.

A notice is never the truth, only a reason to look: it may be lost, late or come twice. Whoever
depends on what it announces polls as well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Notices(ABC):
    """What the other processes on this database tell."""

    @abstractmethod
    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with the text of every notice, until cancelled.

        After each new connection ``heard`` is called with an empty text: something may have been
        missed. It must not raise.
        """
