"""Reminders, escalation and expiry of requests that nobody decides.

Only events are written here; whoever follows the log sends the messages. Each reminder is a
guarded update of the approval's count, so of several replicas one reminds. The wait doubles from
one reminder to the next: a request is a question, not an alarm clock.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Event
from cryogate.governance.approval_rows import approval_event, record
from cryogate.governance.rows import number
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.approvals")


@dataclass(frozen=True, slots=True)
class Prompts:
    """When to remind, and from when on a reminder goes to more people than before."""

    remind_ms: int
    escalate_ms: int

    def next_ms(self, requested_ms: int, prompts: int) -> int:
        """When the reminder after ``prompts`` of them is due."""
        # 1, 3, 7, 15 … waits after the request
        return requested_ms + self.remind_ms * ((2 << min(prompts, 20)) - 1)


class Prompter:
    """Looks at what is due. Without ``prompts`` nobody would hear them: then it only expires."""

    def __init__(self, store: Store, clock: Clock, prompts: Prompts | None) -> None:
        self._store = store
        self._clock = clock
        self._prompts = prompts

    async def run(self, interval_s: float = 5.0) -> None:
        """Look every ``interval_s`` seconds until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable:
                log.warning("approvals cannot be read or written", exc_info=True)
            await asyncio.sleep(interval_s)

    async def look(self) -> None:
        """Expire what is over, then remind of what is not."""
        now_ms = self._clock.now_ms()
        for row in await self._store.fetch("approvals_run_out", {"now_ms": now_ms}):
            await self._expire(row, now_ms)
        if self._prompts is not None:
            for row in await self._store.fetch("approvals_to_prompt", {"now_ms": now_ms}):
                await self._prompt(row, self._prompts, now_ms)

    async def _expire(self, row: Row, now_ms: int) -> None:
        found = record(row)
        approval_id = found.approval.approval_id
        params: dict[str, SqlValue] = {"approval_id": approval_id, "now_ms": now_ms}
        event = approval_event("approval.expired", found.approval, found.owner, now_ms)
        await self._try(Statement("approval_run_out", params), event)

    async def _prompt(self, row: Row, prompts: Prompts, now_ms: int) -> None:
        found, sent = record(row), number(row, "prompts")
        approval = found.approval
        late = now_ms - approval.requested_ms >= prompts.escalate_ms
        next_ms = max(now_ms + 1, prompts.next_ms(approval.requested_ms, sent + 1))
        params: dict[str, SqlValue] = {
            "approval_id": approval.approval_id,
            "prompts": sent,
            "next_ms": next_ms,
        }
        action = "approval.escalated" if late else "approval.reminded"
        event = approval_event(action, approval, found.owner, now_ms)
        await self._try(Statement("approval_prompted", params), event)

    async def _try(self, statement: Statement, event: Event) -> None:
        try:
            await self._store.commit(UnitOfWork((statement,), (event,)))
        except GuardFailed:
            return  # decided, or done by another replica, meanwhile
