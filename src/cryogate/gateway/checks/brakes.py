"""(1) before anything is parsed: the agent is not suspended, and not too fast.

Both answers come from memory. They stand first, so that an agent that must wait costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Forbidden
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check
from cryogate.ports.holds import AgentHolds, HoldKind, SubmitLimits


class BrakesCheck(Check):
    """Refuses outright; there is no point in judging the rest."""

    step = "1"

    def __init__(self, holds: AgentHolds, limits: SubmitLimits) -> None:
        self._holds = holds
        self._limits = limits

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Nothing, or a refusal.

        Raises:
            Forbidden: the agent is suspended until somebody closes an alert.
            Throttled: too many jobs, or too fast.
        """
        agent_id = case.caller.agent_id
        hold = self._holds.of(agent_id)
        if hold is not None and hold.kind is HoldKind.SUSPEND:
            raise Forbidden(
                "suspended", f"suspended by alert {hold.alert_id}: ask an operator to look at it"
            )
        if case.action == "job:submit":
            self._limits.admit(agent_id, case.request.backend)
        return ()
