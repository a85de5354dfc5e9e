"""Where messages to people go. A channel sends; it decides nothing and answers nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from cryogate.domain.errors import Unavailable

# What a person has to act on; what cannot wait; what asks for a decision, and is not sent once
# that is taken.
FOR_PEOPLE = frozenset(
    {
        "approval.requested",
        "approval.reminded",
        "approval.escalated",
        "alert.raised",
        "message.undeliverable",
    }
)
# What an experiment's own webhook hears, and no other channel does.
JOB_ENDS = frozenset({"job.done", "job.failed", "job.cancelled", "job.expired", "job.revoked"})
URGENT = frozenset({"approval.escalated", "message.undeliverable"})
ASKS = frozenset({"approval.requested", "approval.reminded", "approval.escalated"})


class NotSent(Unavailable):
    """The message did not get through this time; the text is for our log."""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say.

    ``message_id`` is the same in every try, so a receiver can tell a repetition. ``title`` is
    made of our own words and of ids only. ``facts`` are lines of name and value; ``quote`` is
    text that an agent wrote, cleaned, and is always shown as such.
    """

    message_id: str
    kind: str
    about: str
    title: str
    facts: tuple[tuple[str, str], ...]
    quote: str
    url: str
    created_ms: int
    attempt: int = 1
    urgent: bool = False
    data: dict[str, object] = field(default_factory=dict)
    to: str = ""


class Channel(ABC):
    """Adapters implement `_send` and may raise anything; callers use `send`.

    With an ``experiment`` a channel hears of the ends of its jobs, and of nothing else. One that is
    ``by_request`` has no address of its own: it hears of the jobs that name one (`Message.to`).
    """

    experiment: str = ""
    by_request: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """The channel's name in the outbox. Never changes while messages wait."""

    @abstractmethod
    def wants(self, kind: str) -> bool:
        """Whether messages of this kind go here."""

    @abstractmethod
    async def _send(self, message: Message) -> None:
        """Hand the message over; return only when the other side has taken it."""

    async def send(self, message: Message) -> None:
        """Hand the message over.

        Raises:
            NotSent: it was not taken, or nobody knows.
        """
        try:
            await self._send(message)
        except NotSent:
            raise
        except Exception as error:
            raise NotSent(f"{self.name}: {type(error).__name__}") from error
