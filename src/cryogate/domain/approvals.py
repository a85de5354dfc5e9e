"""Approvals are bound to exact terms.

The digest is over every term, so approving A can never let B run (H1): one bit of circuit, one
shot, another backend or a cent more gives another digest, and another digest is not approved.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class ApprovalState(StrEnum):
    """``pending`` may become any of the others; ``approved`` may become ``used`` or ``expired``."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What exactly a human says yes to."""

    agent_id: str
    experiment_id: str
    circuit_sha256: str
    backend: str
    shots: int
    cost_ceiling_cents: int
    currency: str

    def digest(self) -> str:
        """SHA-256 (hex) of the terms as canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()
