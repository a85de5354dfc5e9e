"""What remains of a job that was refused: the event, and one more for the agent's denials."""

from __future__ import annotations

from cryogate.domain.events import Event
from cryogate.gateway.case import Case
from cryogate.ports.denials import Denials
from cryogate.ports.store import Store, UnitOfWork


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
        await self._store.commit(UnitOfWork((), (event,)))
