"""Answers of vendors that cannot be true, and who hears of them (S3).

(1) An answer about another job, device or program is not about ours.
(2) It is asked again a few times, since a proxy between may have mixed answers up.
(3) Then the job fails. What the vendor did with it is not known, so the bound is charged (B4):
    money is on the safe side until an operator has looked at the alert.
"""

from __future__ import annotations

from typing import Final

from cryogate.domain.events import Event, Outcome
from cryogate.domain.jobs import JobState
from cryogate.gateway.breaker import BreakerView
from cryogate.gateway.dispatch_desk import Desk, Hand
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.settle import Ending, printable
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.provider import VendorLied, VendorState, VendorStatus

MOST_LIES: Final = 5
LIED: Final = "vendor.lied"
_ALERTS: Final = {
    LIED: ("vendor_lied", Severity.CRITICAL),
    "job.vendor_lost": ("vendor_lost_job", Severity.CRITICAL),
    "job.program_mismatch": ("program_mismatch", Severity.CRITICAL),
    "job.readers_disagree": ("readers_disagree", Severity.CRITICAL),
}


def about(job: Job, status: VendorStatus) -> VendorStatus:
    """(1): ``status``, if it is about ``job``.

    Raises:
        VendorLied: it is about another one.
    """
    if status.job_id not in ("", job.job_id):
        raise VendorLied("it speaks of another job")
    if status.backend not in ("", job.backend):
        raise VendorLied("it ran on another backend")
    if status.fingerprint not in ("", job.circuit_sha256):
        raise VendorLied("it ran another circuit")
    return status


async def note(desk: Desk, hand: Hand, why: str) -> bool:
    """(2): record a lie and tell of it; True when there were too many."""
    hand.lies += 1
    reasons = (printable(why),)
    now_ms = desk.clock.now_ms()
    await desk.alarm(hand.job.event(LIED, Outcome.FAILURE, now_ms, reasons=reasons))
    return hand.lies >= MOST_LIES


def gave_up(why: str, vendor_id: str) -> Ending:
    """(3): the ending of a job about which its vendor does not tell the truth."""
    unknown = VendorStatus(VendorState.DONE)
    failure = printable(f"vendor_lied: {why}")
    return Ending(JobState.FAILED, failure, unknown, vendor_id=vendor_id)


class VendorAlarm:
    """Turns events about vendors that somebody should look at into alerts."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def tell(self, event: Event) -> None:
        """Never waits and never raises; an event of another kind is nothing."""
        found = _ALERTS.get(event.action)
        if found is None:
            return
        kind, severity = found
        self._alerts.tell(
            kind,
            event.qpu or "",
            severity,
            {
                "job_id": event.job_id,
                "agent_id": event.agent_id,
                "experiment_id": event.experiment_id,
                "why": "; ".join(event.decision_reasons or ()),
            },
        )

    def left_alone(self, view: BreakerView) -> None:
        """A provider's breaker has opened: its jobs wait. Never waits and never raises."""
        self._alerts.tell(
            "provider_down",
            view.provider,
            Severity.HIGH,
            {
                "failed_submissions": view.failures,
                "silent_jobs": view.silent_jobs,
                "retry_in_ms": view.retry_in_ms,
            },
        )
