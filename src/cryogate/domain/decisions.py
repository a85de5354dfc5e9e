"""Decisions are values, and only an `Allow` instance is a yes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Scalar = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that was not kept: what it allows, what was found, what to change."""

    limit: str
    allowed: Scalar | tuple[Scalar, ...]
    actual: Scalar | tuple[Scalar, ...]
    hint: str


class ObligationKind(StrEnum):
    """What an allow may add. A kind that is not listed here turns the allow into a deny."""

    APPROVAL = "approval"
    AGGREGATES_ONLY = "aggregates_only"
    NO_RESULTS = "no_results"


@dataclass(frozen=True, slots=True)
class Obligation:
    """A condition under which the yes holds, with the policy's reason for it.

    Of an approval: how many people must agree, and in which operator role.
    """

    kind: ObligationKind
    reason: str
    quorum: int = 1
    role: str = "approver"


@dataclass(frozen=True, slots=True)
class Allow:
    """A yes, under obligations. Test with ``isinstance``, never by truth value."""

    obligations: tuple[Obligation, ...]
    reasons: tuple[str, ...]
    policy_digest: str

    def __bool__(self) -> bool:
        raise TypeError("a decision has no truth value: test isinstance(decision, Allow)")

    def obliges(self, kind: ObligationKind) -> bool:
        """Whether an obligation of this kind is attached."""
        return any(o.kind is kind for o in self.obligations)


@dataclass(frozen=True, slots=True)
class Deny:
    """A no, with the reasons that may be told to the caller."""

    reasons: tuple[str, ...]
    violations: tuple[Violation, ...]
    policy_digest: str

    def __bool__(self) -> bool:
        raise TypeError("a decision has no truth value: test isinstance(decision, Allow)")


Decision = Allow | Deny
