"""Asking a person on a device of their own: started here, answered there, logged in there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Started:
    """A question that is on somebody's device. ``request_id`` is how its answer is asked for."""

    request_id: str
    expires_s: int
    interval_s: int


class Reply(StrEnum):
    """What came of it so far. Only `AGREED` is a yes."""

    PENDING = "pending"
    SLOW_DOWN = "slow_down"
    DECLINED = "declined"
    OVER = "over"
    AGREED = "agreed"


@dataclass(frozen=True, slots=True)
class Answer:
    """``subject`` is who agreed, as the issuer names it; empty otherwise."""

    reply: Reply
    subject: str = ""


class BackChannel(ABC):
    """A provider that knows the people and their devices."""

    @property
    @abstractmethod
    def issuer(self) -> str:
        """Whose names ``subject`` are."""

    @abstractmethod
    async def start(self, person: str, message: str) -> Started:
        """Show ``message`` on the devices of ``person``.

        Raises:
            Unavailable: it was not started, as far as anybody knows.
        """

    @abstractmethod
    async def answer(self, request_id: str) -> Answer:
        """What came of it so far.

        Raises:
            Unavailable: nobody knows; ask again.
        """
