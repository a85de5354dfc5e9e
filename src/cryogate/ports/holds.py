"""What an alert does to an agent while nobody has closed it: asked on every job, from memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum


class HoldKind(StrEnum):
    """The stronger stands last."""

    REQUIRE_APPROVAL = "require_approval"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class AgentHold:
    """Why an agent is held, and the alert that has to be closed to end it."""

    kind: HoldKind
    alert_id: str
    alert_kind: str


class AgentHolds(ABC):
    """The holds in force, as this process knows them."""

    @abstractmethod
    def of(self, agent_id: str) -> AgentHold | None:
        """The strongest hold on this agent. Never waits."""


class SubmitLimits(ABC):
    """How fast, and how many at a time, an agent may submit to a backend."""

    @abstractmethod
    def admit(self, agent_id: str, backend: str) -> None:
        """Count one submission. Never waits.

        Raises:
            Throttled: too fast or too many; says which limit, and when to come back.
        """
