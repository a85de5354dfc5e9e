"""The holds in force: an alert that holds an agent does so until an operator closes it.

They are read twice a second into memory, by every process, and asked there. A view that cannot be
read stays as it was: a hold is never lifted by a database that does not answer, and without a
database no job is accepted anyhow.
"""

from __future__ import annotations

import asyncio
import logging

from cryogate.domain.errors import Unavailable
from cryogate.governance.rows import text
from cryogate.ports.holds import AgentHold, AgentHolds, HoldKind
from cryogate.ports.store import ReadStore

log = logging.getLogger("cryogate.alerts")
_ORDER = tuple(HoldKind)


class FollowedHolds(AgentHolds):
    """The view of one process."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store
        self._held: dict[str, AgentHold] = {}

    def of(self, agent_id: str) -> AgentHold | None:
        """See `AgentHolds.of`."""
        return self._held.get(agent_id)

    async def refresh(self) -> None:
        """Read what is in force now.

        Raises:
            StoreUnavailable: the view stays as it was.
        """
        held: dict[str, AgentHold] = {}
        for row in await self._store.fetch("holds_in_force", {}):
            subject = text(row, "subject")
            found = AgentHold(HoldKind(text(row, "hold")), text(row, "alert_id"), text(row, "kind"))
            other = held.get(subject)
            if other is None or _ORDER.index(found.kind) > _ORDER.index(other.kind):
                held[subject] = found
        self._held = held

    async def follow(self, interval_s: float = 0.5) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except Unavailable:
                log.warning("the holds cannot be read", exc_info=True)
            await asyncio.sleep(interval_s)
