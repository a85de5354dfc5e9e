"""How often an agent was refused lately: an input of policy (`HistoryFacts.recent_denials`)."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Denials(ABC):
    """Counts refusals per agent over a window that ends now. Both methods are cheap."""

    @abstractmethod
    def record(self, agent_id: str, now_ms: int) -> None:
        """One request of the agent was refused."""

    @abstractmethod
    def recent(self, agent_id: str, now_ms: int) -> int:
        """Refusals inside the window."""
