"""Where copies of the audit log go. A sink takes entries in order; it holds nobody up.

The contract, proven over every registered sink:

 (1) `deliver` returns only when the other side has said that it has the whole batch. Where a
     protocol cannot say that, `overlap` is how many entries are sent again after a broken
     connection.
 (2) an entry may come twice, never not at all: (origin, seq) tells a repetition
 (3) `EntryRefused` means that these very bytes will never be taken; anything else that goes wrong
     is `SinkUnavailable`, and is tried again
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cryogate.domain.errors import CryogateError, Unavailable

FieldValue = str | int | list[str]


class SinkUnavailable(Unavailable):
    """The batch was not taken this time, or nobody knows. The text holds no secret."""


class EntryRefused(CryogateError):
    """The receiver will never take this batch as it is."""


class Entry(NamedTuple):
    """One log entry: the log it is of, its number, its canonical bytes, and what they say."""

    origin: str
    seq: int
    data: bytes
    fields: Mapping[str, FieldValue]


class Sink(ABC):
    """Adapters implement `_deliver` and may raise anything; callers use `deliver`."""

    overlap: int = 0
    batch: int = 200
    linger_ms: int = 0  # how long a batch that is not full may wait for more

    @abstractmethod
    async def _deliver(self, entries: Sequence[Entry]) -> None:
        """Hand the batch over; return only when the other side has it."""

    async def deliver(self, entries: Sequence[Entry]) -> None:
        """Hand the batch over, in order.

        Raises:
            EntryRefused: the receiver will never take it.
            SinkUnavailable: it was not taken, or nobody knows.
        """
        try:
            await self._deliver(entries)
        except (EntryRefused, SinkUnavailable):
            raise
        except Exception as error:
            raise SinkUnavailable(type(error).__name__) from error

    async def check(self) -> None:  # noqa: B027 - most sinks are sure of what was acknowledged
        """Asked while there is nothing to deliver.

        Raises:
            SinkUnavailable: a connection has ended, so that what went over it is to be sent again.
        """

    async def close(self) -> None:  # noqa: B027 - most sinks keep nothing open
        """Let go of what is open; the next `deliver` opens it again."""
