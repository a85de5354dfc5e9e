"""What remains of a job that was refused: the event, the question, one more for its denials."""

from __future__ import annotations

from typing import Final

import msgspec

from cryogate.domain.decisions import Deny
from cryogate.domain.events import Event
from cryogate.gateway.case import Case
from cryogate.ports.denials import Denials
from cryogate.ports.store import Statement, Store, UnitOfWork

KEPT_MS: Final = 30 * 86_400_000
# An agent that is refused in a loop fills the log with events already; its questions say no more.
_PER_WINDOW: Final = 100
_MOST_BYTES: Final = 64 << 10


class JobRefusals:
    """Records refusals. They are no hot path: an agent that meets many is slowed by policy."""

    def __init__(self, store: Store, denials: Denials) -> None:
        self._store = store
        self._denials = denials

    async def record(self, case: Case, event: Event) -> None:
        """The case was refused, and ``event`` says why.

        Raises:
            StoreUnavailable: it could not be recorded.
        """
        self._denials.record(case.caller.agent_id, case.now_ms)
        await self._store.commit(UnitOfWork(self._question(case), (event,)))

    def _question(self, case: Case) -> tuple[Statement, ...]:
        """The question in full, where policy said no to it; kept for thirty days."""
        decision = case.decision
        if case.question is None or not isinstance(decision, Deny) or case.action != "job:submit":
            return ()
        if self._denials.recent(case.caller.agent_id, case.now_ms) > _PER_WINDOW:
            return ()
        text = msgspec.json.encode(case.question).decode()
        if len(text) > _MOST_BYTES:
            return ()
        keep = Statement(
            "refused_question_insert",
            {
                "agent_id": case.caller.agent_id,
                "experiment_id": case.caller.grant.experiment_id,
                "question": text,
                "policy_digest": decision.policy_digest,
                "now_ms": case.now_ms,
            },
        )
        sweep = Statement("refused_questions_sweep", {"before_ms": case.now_ms - KEPT_MS}, None)
        return (sweep, keep)
