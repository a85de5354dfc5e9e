"""What the gateway's answers mean. Fields are only ever added, so unknown ones are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cryogate.domain.decisions import Scalar
from cryogate.domain.jobs import JobState

Value = Scalar | tuple[Scalar, ...]


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """The human decision a parked job waits for."""

    approval_id: str
    state: str = "pending"
    expires_at: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its agent sees it. Money in integer cents of ``currency``; times RFC 3339 UTC."""

    job_id: str
    state: JobState
    backend: str
    shots: int
    experiment_id: str
    agent_id: str | None = None
    session_id: str | None = None
    circuit_sha256: str = ""
    results: str | None = None
    cost_estimate_cents: int | None = None
    cost_actual_cents: int | None = None
    currency: str | None = None
    approval: ApprovalView | None = None
    failure: str | None = None
    waiting_for: str | None = None
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    created_at: str | None = None
    updated_at: str | None = None
    runtime_ms: int | None = None
    next: str | None = None


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that was not kept."""

    limit: str
    allowed: Value = None
    actual: Value = None
    hint: str = ""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A dry run: what a job would cost at most and what would be decided. Nothing is spent."""

    backend: str
    shots: int | None = None
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    circuit_sha256: str = ""
    cost_bound_cents: int | None = None
    currency: str | None = None
    formula: str | None = None
    price_source: str | None = None
    price_as_of: str | None = None
    price_age_days: int | None = None
    price_stale: bool | None = None
    price_cents: int | None = None
    price_currency: str | None = None
    conversion: str | None = None
    decision: str = "deny"
    reasons: tuple[str, ...] = ()
    violations: tuple[Broken, ...] = ()
    vendor: Mapping[str, Any] | None = None


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A bounded session at the gateway."""

    session_id: str
    experiment_id: str
    backends: tuple[str, ...] = ()
    max_jobs: int | None = None
    results: str | None = None
    used_jobs: int | None = None
    state: str | None = None
    opened_at: str | None = None
    expires_at: str | None = None


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What was left out of a result, and by which rule."""

    withheld_shots: int
    min_count: int = 1
    top_k: int | None = None


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """Of a string of Z over the released shots; over all shots it lies from ``low`` to ``high``."""

    value: float
    low: float
    high: float


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A released result, by bit string, classical bit 0 rightmost."""

    job_id: str
    shots: int
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    probabilities: dict[str, float] = msgspec.field(default_factory=dict)
    expectations: dict[str, Expectation] = msgspec.field(default_factory=dict)
    cut: Cut | None = None
    backend: str = ""
    circuit_sha256: str = ""
    released: str = ""
    memory: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came out, and the job it came from."""

    counts: Mapping[str, int]
    shots: int
    job: Job
    released: str = ""
    memory: tuple[str, ...] | None = None
    cut: Cut | None = None
    expectations: Mapping[str, Expectation] = field(default_factory=dict)
