"""Soft limits: told once, when they are passed, by an event and a notice.

This looks at the database now and then instead of at every job, so a soft limit costs a job
nothing. Whether it was told is in the row that it is about: it is told once by all replicas
together, and again after the limit was changed or a new period began.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from cryogate.domain.errors import CryogateError
from cryogate.domain.events import Event, Outcome
from cryogate.domain.periods import day_of, month_of, show
from cryogate.governance.rows import maybe_number, number, text
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.budgets")
SOFT, OVERRUN, UNKNOWN = "budget.soft_limit", "budget.overrun", "budget.bound_charged"
# event → kind of alert, how soon to look
_ALERTS = {
    SOFT: ("budget_soft_limit", Severity.MEDIUM),
    OVERRUN: ("budget_overrun", Severity.HIGH),
    UNKNOWN: ("budget_bill_unknown", Severity.MEDIUM),
}


class MoneyAlarm:
    """Turns events about money that somebody should look at into alerts."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def tell(self, event: Event) -> None:
        """Never waits and never raises; an event of another kind is nothing."""
        found = _ALERTS.get(event.action)
        if found is None:
            return
        kind, severity = found
        reasons = event.decision_reasons or ()
        subject = f"experiment {event.experiment_id}"
        if event.action == SOFT and reasons:
            subject = reasons[0]
        self._alerts.tell(
            kind,
            subject,
            severity,
            {
                "experiment_id": event.experiment_id,
                "agent_id": event.agent_id,
                "job_id": event.job_id,
                "backend": event.qpu,
                "bound_cents": event.cost_estimate_cents,
                "actual_cents": event.cost_actual_cents,
                "currency": event.currency,
                "why": "; ".join(reasons),
            },
        )


class BudgetWatch:
    """Tells of soft limits. ``told`` is called with every event that was made durable."""

    def __init__(self, store: Store, clock: Clock, told: Callable[[Event], None]) -> None:
        self._store = store
        self._clock = clock
        self._told = told

    async def run(self, every_s: float) -> None:
        """Look now and then, for as long as the process lives."""
        while True:
            try:
                await self.look()
            except CryogateError as error:
                log.warning("soft limits were not looked at: %s", error)
            await asyncio.sleep(every_s)

    async def look(self) -> int:
        """Tell of every soft limit that was passed and not told of; how many there were.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        found = 0
        for row in await self._store.fetch("soft_budgets", {}):
            experiment = text(row, "experiment_id")
            mark = Statement("tell_soft_budget", {"experiment_id": experiment})
            found += await self._tell(mark, row, f"experiment {experiment}", experiment, "total")
        now_ms = self._clock.now_ms()
        periods = {"day": day_of(now_ms), "month": month_of(now_ms)}
        for row in await self._store.fetch("soft_windows", periods):
            scope, subject = text(row, "scope"), text(row, "subject")
            named: dict[str, SqlValue] = {
                "budget_id": text(row, "budget_id"),
                "subject": subject,
                "period": number(row, "period"),
            }
            mark = Statement("tell_soft_window", named)
            experiment_of = subject if scope == "experiment" else None
            period = show(number(row, "period"))
            found += await self._tell(mark, row, f"{scope} {subject}", experiment_of, period)
        return found

    async def _tell(
        self, mark: Statement, row: Row, whose: str, experiment_id: str | None, period: str
    ) -> int:
        used_cents = number(row, "held_cents") + number(row, "spent_cents")
        used_shots = number(row, "held_shots") + number(row, "spent_shots")
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action=SOFT,
            outcome=Outcome.SUCCESS,
            experiment_id=experiment_id,
            currency=text(row, "currency"),
            decision_reasons=(
                whose,
                f"period {period}",
                f"soft_percent {number(row, 'soft_percent')}",
                f"cents {used_cents} of {maybe_number(row, 'limit_cents')}",
                f"shots {used_shots} of {maybe_number(row, 'limit_shots')}",
            ),
        )
        try:
            await self._store.commit(UnitOfWork((mark,), (event,)))
        except GuardFailed:
            return 0  # another replica has told
        self._told(event)
        return 1
