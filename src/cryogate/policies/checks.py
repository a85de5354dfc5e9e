"""Checks what operators write into a bundle: statements, tiers and roles, key by key.

A mistyped condition must never be a condition that is silently not there.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...]
# An exact name, or a prefix and one star: the only wildcard there is, so a star elsewhere is a
# mistake that would never match.
Pattern = Annotated[str, msgspec.Meta(pattern=r"^[^*]*\*?$", min_length=1, max_length=256)]
PatternList = Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1)]
Patterns = Pattern | PatternList
Instant = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Hour = Annotated[int, msgspec.Meta(ge=0, le=24)]
AgentAction = Literal[
    "*",
    "token:*",
    "session:*",
    "job:*",
    "result:*",
    "backend:*",
    "token:issue",
    "session:open",
    "job:estimate",
    "job:submit",
    "result:read",
    "backend:list",
]


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Whole hours, UTC; a window that ends before it begins goes over midnight."""

    from_: Hour
    to: Hour


class Principal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom a statement is about; all that is given must match."""

    agent: Patterns | None = None
    owner: Patterns | None = None
    tier: Patterns | None = None
    role: Patterns | None = None

    def __post_init__(self) -> None:
        if not (self.agent or self.owner or self.tier or self.role):
            raise ValueError('an empty principal is nobody; write "*" for everybody')


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
    AllowedGates: tuple[Pattern, ...] | None = None
    AllowedBackends: tuple[Pattern, ...] | None = None
    ForbiddenFeatures: tuple[Pattern, ...] | None = None
    ExperimentIdPresent: bool | None = None
    Classification: tuple[Literal["poc", "production", "sensitive"], ...] | None = None
    Stage: tuple[Literal["simulator", "hardware"], ...] | None = None
    NotBefore: Instant | None = None
    NotAfter: Instant | None = None
    HoursUtc: Hours | None = None
    DaysUtc: tuple[Day, ...] | None = None
    Models: PatternList | None = None
    MinModelConfidence: Percent | None = None
    RequireSandbox: bool | None = None
    RequireSimulator: bool | None = None
    RequireSimulatedFirst: bool | None = None
    MaxCalibrationAgeS: Limit | None = None
    MaxRecentDenials: Limit | None = None
    MinBudgetLeftCents: Limit | None = None
    MinBudgetLeftShots: Limit | None = None
    AttributeEquals: dict[str, str | int | bool] | None = None


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One IAM-like statement; deny wins over allow."""

    principal: Literal["*"] | Principal
    effect: Literal["allow", "deny"]
    actions: Annotated[tuple[AgentAction, ...], msgspec.Meta(min_length=1)]
    resources: PatternList
    conditions: Conditions = Conditions()
    description: str = ""


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Caps of one risk tier; every one must be there. ``excess`` says what becomes of a token
    request for more: refused, or narrowed to the caps.
    """

    description: str
    backends: tuple[Pattern, ...]
    simulators_only: bool
    gates: tuple[Pattern, ...]
    max_shots: Limit
    max_total_shots: Limit
    max_jobs: Limit
    max_cost_cents: Limit
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=3600)]
    max_qubits: Limit
    max_depth: Limit
    max_two_qubit_gates: Limit
    results: Literal["none", "aggregates", "raw"]
    approval_above_cents: Limit
    approval_above_total_cents: Limit
    approval_quorum: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    approval_role: Literal["approver", "admin"] = "approver"
    excess: Literal["refuse", "narrow"] = "refuse"


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Actions of a role."""

    actions: Names
    results: Literal["none", "aggregates", "raw"]
    humans_only: bool


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rules need to know of the deployment."""

    currency: str
    simulators: tuple[Pattern, ...]
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
