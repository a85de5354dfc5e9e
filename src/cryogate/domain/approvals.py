"""Approvals are bound to exact terms.

The digest is over every term, so approving A can never let B run (H1): one bit of circuit, one
shot, another backend or a cent more gives another digest, and another digest is not approved.
What may never change: how the digest of a kind of terms is formed. Two kinds have no field names
in common that could make their canonical texts equal, because each but the first names its kind.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import ClassVar, Literal


class ApprovalState(StrEnum):
    """``pending`` may become any of the others; ``approved`` may become ``used``, ``expired`` or
    ``withdrawn``."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"
    WITHDRAWN = "withdrawn"


class ApprovalKind(StrEnum):
    """What a yes lets happen: a job runs, a raw result is read, an agent changes its stage."""

    JOB = "job"
    RELEASE = "release"
    PROMOTION = "promotion"


class _Bound:
    __slots__ = ()

    def digest(self) -> str:
        """SHA-256 (hex) of the terms as canonical JSON."""
        fields = asdict(self)  # type: ignore[call-overload]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(_Bound):
    """A job that a human says yes to."""

    kind_: ClassVar = ApprovalKind.JOB

    agent_id: str
    experiment_id: str
    circuit_sha256: str
    backend: str
    shots: int
    cost_ceiling_cents: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTerms(_Bound):
    """One reading of one job's raw result."""

    kind_: ClassVar = ApprovalKind.RELEASE

    kind: Literal["release"] = "release"
    agent_id: str
    experiment_id: str
    job_id: str
    circuit_sha256: str
    backend: str
    shots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTerms(_Bound):
    """An agent's step from one stage to another, on exactly this evidence."""

    kind_: ClassVar = ApprovalKind.PROMOTION

    kind: Literal["promotion"] = "promotion"
    agent_id: str
    from_stage: Literal["simulator", "hardware"]
    to_stage: Literal["simulator", "hardware"]
    evidence_sha256: str


AnyTerms = Terms | ReleaseTerms | PromotionTerms


def evidence_digest(evidence: str) -> str:
    """What `PromotionTerms.evidence_sha256` is for this text."""
    return hashlib.sha256(evidence.encode()).hexdigest()
