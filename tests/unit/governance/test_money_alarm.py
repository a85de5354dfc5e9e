"""Events about money become alerts, each about whom it concerns."""

from __future__ import annotations

from collections.abc import Mapping

from cryogate.domain.decisions import Scalar
from cryogate.domain.events import Event, Outcome
from cryogate.governance.budget_watch import OVERRUN, SOFT, UNKNOWN, MoneyAlarm
from cryogate.ports.alerts import Alerts, Severity


class Told(Alerts):
    def __init__(self) -> None:
        self.alerts: list[tuple[str, str, Severity, Mapping[str, Scalar]]] = []

    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        self.alerts.append((kind, subject, severity, evidence))


def event(action: str, *reasons: str) -> Event:
    return Event(
        timestamp_ms=1, action=action, outcome=Outcome.FAILURE, experiment_id="e1", job_id="j1",
        cost_estimate_cents=100, cost_actual_cents=250, currency="USD", decision_reasons=reasons,
    )  # fmt: skip


def test_bills_and_soft_limits_become_alerts() -> None:
    told = Told()
    alarm = MoneyAlarm(told)
    alarm.tell(event(OVERRUN, "vendor_cost_above_bound"))
    alarm.tell(event(UNKNOWN, "vendor_cost_missing"))
    alarm.tell(event(SOFT, "agent a1", "soft_percent 80"))
    alarm.tell(event("job.done"))
    kinds = [(kind, subject, severity) for kind, subject, severity, _ in told.alerts]
    assert kinds == [
        ("budget_overrun", "experiment e1", Severity.HIGH),
        ("budget_bill_unknown", "experiment e1", Severity.MEDIUM),
        ("budget_soft_limit", "agent a1", Severity.MEDIUM),
    ]
    evidence = told.alerts[0][3]
    assert (evidence["bound_cents"], evidence["actual_cents"]) == (100, 250)
    assert evidence["why"] == "vendor_cost_above_bound"
