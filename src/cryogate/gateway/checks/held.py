"""(5) after policy: an agent that an open alert is about gets no yes without a human's.

It only ever adds an obligation to an allow. A deny stays a deny.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Allow, Obligation, ObligationKind, Violation
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check
from cryogate.ports.holds import AgentHolds


class HeldCheck(Check):
    """Adds the need for an approval."""

    step = "5"

    def __init__(self, holds: AgentHolds) -> None:
        self._holds = holds

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Nothing is wrong with the case itself."""
        decision = case.decision
        hold = self._holds.of(case.caller.agent_id)
        if hold is not None and isinstance(decision, Allow):
            why = f"alert {hold.alert_id} ({hold.alert_kind}) is open"
            case.decision = Allow(
                (*decision.obligations, Obligation(ObligationKind.APPROVAL, why)),
                (*decision.reasons, f"held:{hold.alert_kind}"),
                decision.policy_digest,
            )
        return ()
