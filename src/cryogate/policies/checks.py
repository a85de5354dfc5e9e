"""Checks what operators write into a bundle: statements, tiers and roles, key by key.

A mistyped condition must never be a condition that is silently not there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Names = tuple[str, ...]
Patterns = str | Names


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions of a statement. Every key is known, or the bundle is refused."""

    MaxShots: Limit | None = None
    MaxTotalShots: Limit | None = None
    MaxJobs: Limit | None = None
    MaxCostCents: Limit | None = None
    MaxTtlS: Limit | None = None
    MaxQubits: Limit | None = None
    MaxDepth: Limit | None = None
    MaxTwoQubitGates: Limit | None = None
    AllowedGates: Names | None = None
    AllowedBackends: Names | None = None
    ForbiddenFeatures: Names | None = None
    ExperimentIdPresent: bool | None = None
    Classification: Names | None = None
    Stage: Names | str | None = None
    Tier: Names | None = None
    NotBefore: Any = None
    NotAfter: Any = None
    HoursUtc: Any = None
    RequireSimulator: bool | None = None
    AttributeEquals: dict[str, Any] | None = None


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One IAM-like statement; deny wins over allow."""

    principal: Patterns | dict[str, Patterns]
    effect: Literal["allow", "deny"]
    actions: Names
    resources: Names
    conditions: Conditions = Conditions()
    obligations: tuple[Literal["approval", "aggregates_only", "no_results"], ...] = ()
    description: str = ""


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Caps of one risk tier; every one must be there."""

    description: str
    backends: Names
    simulators_only: bool
    gates: Names
    max_shots: Limit
    max_total_shots: Limit
    max_jobs: Limit
    max_cost_cents: Limit
    ttl_s: Limit
    max_qubits: Limit
    max_depth: Limit
    max_two_qubit_gates: Limit
    results: Literal["none", "aggregates", "raw"]
    approval_above_cents: Limit
    approval_above_total_cents: Limit


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Actions of a role."""

    actions: Names
    results: Literal["none", "aggregates", "raw"]
    humans_only: bool


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rules need to know of the deployment."""

    currency: str
    simulators: Names
    gates: Names


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``data.cryogate_data``."""

    statements: dict[str, Statement]
    tiers: dict[str, Tier]
    roles: dict[str, Role]
    settings: Settings


def check_data(data: object) -> str | None:
    """What is wrong with the data, naming where; None when nothing is."""
    try:
        msgspec.convert(data, Data)
    except msgspec.ValidationError as error:
        return f"data.cryogate_data: {error}"
    return None
