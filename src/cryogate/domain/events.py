"""Audit events.

What may never change: the meaning of a field once events with it are in a log. Fields are only
ever added. Values are strings (ASCII after encoding), integers below 2**53, or lists of strings;
never floats, so that one event has exactly one canonical JSON text (RFC 8785).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """``intent`` precedes an effect; the others follow one."""

    INTENT = "intent"
    SUCCESS = "success"
    REFUSED = "refused"
    FAILURE = "failure"


class Event(NamedTuple):
    """One audit record; name its fields when you make one.

    ``seq`` is given by the log, so it is not a field here.

    ``actor_chain`` names who acted, outermost first: an operator, or agents in delegation.
    """

    timestamp_ms: int
    action: str
    outcome: Outcome
    agent_id: str | None = None
    human_owner: str | None = None
    experiment_id: str | None = None
    purpose: str | None = None
    circuit_sha256: str | None = None
    gate_set: tuple[str, ...] | None = None
    qpu: str | None = None
    shots: int | None = None
    token_id: str | None = None
    token_ttl_s: int | None = None
    session_id: str | None = None
    job_id: str | None = None
    cost_estimate_cents: int | None = None
    cost_actual_cents: int | None = None
    currency: str | None = None
    runtime_ms: int | None = None
    policy_digest: str | None = None
    decision_reasons: tuple[str, ...] | None = None
    approval_id: str | None = None
    actor_chain: tuple[str, ...] | None = None
