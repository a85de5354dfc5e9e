"""(1) Session and experiment are open, and the request fits their bounds."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Violation
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check


class StandingCheck(Check):
    """Agent active, experiment open to this agent, session open under this token."""

    step = "1"

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """See the class."""
        found: list[Violation] = []
        standing, request = case.standing, case.request
        experiment = standing.experiment
        if not standing.agent.active:
            found.append(Violation("agent.active", True, False, "ask an operator to enable it"))
        if not experiment.is_open(case.now_ms):
            found.append(
                Violation("experiment.open", True, False, "ask its owner for an open experiment")
            )
        if standing.agent.agent_id not in experiment.allowed_agents:
            found.append(
                Violation(
                    "experiment.allowed_agents",
                    "the experiment's agents",
                    standing.agent.agent_id,
                    "ask the experiment's owner to add this agent",
                )
            )
        if request.backend not in experiment.allowed_backends:
            found.append(
                Violation(
                    "experiment.allowed_backends",
                    tuple(sorted(experiment.allowed_backends)),
                    request.backend,
                    "use a backend of the experiment",
                )
            )
        session = standing.session
        if session is not None:
            if not session.open or session.expires_ms <= case.now_ms:
                found.append(Violation("session.open", True, False, "open a new session"))
            if request.backend not in session.backends:
                found.append(
                    Violation(
                        "session.backends",
                        session.backends,
                        request.backend,
                        "use a backend of the session, or open another",
                    )
                )
        return found
