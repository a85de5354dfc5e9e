"""The ordered checks a job goes through before anything is reserved.

The security argument, by number (the numbers of ``docs/life-of-a-request.md``):

(0) the caller holds a live token and has proven it: done before a `Case` can exist
(1) the agent is not suspended and not too fast                          `checks.brakes`;
    session and experiment are open and the request fits their bounds    `checks.standing`
(2) the circuit is parsed by us into a program with facts                `checks.circuit`
(3) every limit of token and device holds against those facts            `checks.token_limits`,
                                                                          `checks.device_limits`
(4) an upper bound of the price is known                                 `checks.price`
(5) policy says yes to the whole of it                                   `checks.policy`;
    an open alert about the agent adds the need for an approval          `checks.held`

All checks run even when an earlier one has found violations, so that an agent learns at once
everything it must change; a check whose input could not be established passes over itself, and
the case is refused anyway. The answer is a yes only if there are checks, none found anything,
and the policy check left an `Allow`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from cryogate.domain.decisions import Allow, Decision, Deny, Violation
from cryogate.gateway.case import Case


class Check(ABC):
    """One numbered step. Returns what does not hold; raises `Refused` when it cannot go on."""

    step: str

    @abstractmethod
    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Examine ``case`` and fill in what this step establishes."""


class Pipeline:
    """Runs the checks in the order in which they are given."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    async def run(self, case: Case) -> Decision:
        """The decision on ``case``.

        Raises:
            Refused: the request is unfit to be judged (for instance, no circuit could be read).
            Unavailable: a part that must answer did not.
        """
        if not self._checks:
            return Deny(("no_checks",), (), "")
        found: list[Violation] = []
        for check in self._checks:
            found.extend(v for v in await check(case) if v not in found)
        decision = case.decision
        if isinstance(decision, Allow) and not found:
            if case.obligations:
                return replace(decision, obligations=(*decision.obligations, *case.obligations))
            return decision
        reasons = decision.reasons if isinstance(decision, Deny) else ()
        digest = decision.policy_digest if decision is not None else ""
        limits = tuple(dict.fromkeys(v.limit for v in found))
        return Deny((*limits, *(r for r in reasons if r not in limits)), tuple(found), digest)
