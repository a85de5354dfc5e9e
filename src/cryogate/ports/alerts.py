"""What somebody should look at: told without waiting, folded, never lost in a flood."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum

from cryogate.domain.decisions import Scalar


class Severity(StrEnum):
    """How soon somebody should look."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Alerts(ABC):
    """Where alerts are told. The same kind about the same subject is one alert with a count."""

    @abstractmethod
    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        """One more occurrence. Cheap, never waits, never raises; it is written a moment later.

        ``kind`` is a lower_snake_case name, ``subject`` who or what it is about. ``evidence`` of
        the latest occurrence is kept; it must hold no secret.
        """
