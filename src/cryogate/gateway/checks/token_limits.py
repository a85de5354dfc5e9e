"""(3) Every limit of the token holds against the request and the facts."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.circuits import Facts
from cryogate.domain.decisions import Violation
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check


class TokenLimitsCheck(Check):
    """Backend, gate set, shots per job and in total, number of jobs."""

    step = "3"

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """See the class."""
        grant, request, standing = case.caller.grant, case.request, case.standing
        found: list[Violation] = []
        if request.backend not in grant.allowed_backends:
            found.append(
                Violation(
                    "allowed_backends",
                    grant.allowed_backends,
                    request.backend,
                    "use a backend of the token, or request a token for this one",
                )
            )
        if request.shots > grant.max_shots:
            found.append(
                Violation(
                    "max_shots",
                    grant.max_shots,
                    request.shots,
                    f"ask for at most {grant.max_shots} shots per job",
                )
            )
        left = grant.max_total_shots - standing.used_shots
        if request.shots > left:
            found.append(
                Violation(
                    "max_total_shots",
                    max(left, 0),
                    request.shots,
                    "the token's shots are used up; request a new token",
                )
            )
        if standing.used_jobs >= grant.max_jobs:
            found.append(
                Violation(
                    "max_jobs",
                    grant.max_jobs,
                    standing.used_jobs + 1,
                    "the token's jobs are used up; request a new token",
                )
            )
        if case.facts is not None:
            found += gates_allowed(grant.allowed_gate_set, case.facts)
        return found


def gates_allowed(allowed: tuple[str, ...], facts: Facts) -> list[Violation]:
    """The violation of a gate set, if a circuit has other gates."""
    extra = sorted(set(facts.gate_set).difference(allowed))
    if not extra:
        return []
    hint = f"replace {', '.join(extra[:8])} by allowed gates"
    return [Violation("allowed_gate_set", allowed, tuple(extra), hint)]
