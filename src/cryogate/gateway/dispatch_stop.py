"""Ending jobs from outside: cancelled by somebody, revoked, or waiting for what cannot come.

A job that no vendor has seen ends here, hold and all, in one unit of work. A job that a vendor
may have is only marked: its claimant tells the vendor, and settles what ran.
"""

from __future__ import annotations

from cryogate.domain.errors import NotFound
from cryogate.domain.events import Outcome
from cryogate.domain.jobs import JobState
from cryogate.gateway.dispatch_desk import Desk, log
from cryogate.gateway.dispatch_job import CANCEL_MARK, REVOKE_MARK, Job, job_of
from cryogate.gateway.settle import WAITING, withdrawal
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, StoreUnavailable, UnitOfWork

_MARKED = "dispatch.marked"
_NO_VENDOR = frozenset({JobState.PARKED, JobState.QUEUED})
_TRIES = 8


async def cancel(desk: Desk, job_id: str, actor: str) -> bool:
    """End or mark a job. True when a claimant has to be told.

    Raises:
        NotFound: no such job.
        StoreUnavailable: the database did not answer, or the job moved again and again.
    """
    for _ in range(_TRIES):
        row = await desk.store.fetch_one("dispatch_job", {"job_id": job_id})
        if row is None:
            raise NotFound("job_not_found", "no such job")
        job = job_of(row)
        if job.state.final:
            return False
        if job.state not in _NO_VENDOR:
            if job.failure is not None:
                return True
            if await _mark(desk, job, CANCEL_MARK, actor):
                return True
        elif await _withdraw(desk, job, JobState.CANCELLED, "cancelled", actor):
            return False
    raise StoreUnavailable(f"{job_id} moved while it was being cancelled")


async def revoke_all(desk: Desk) -> list[str]:
    """End or mark every job that a recorded revocation stops; the ids of those marked.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    marked: list[str] = []
    while True:
        rows = await desk.store.fetch("dispatch_revoked", {"most": desk.limits.batch})
        moved = 0
        for job in map(job_of, rows):
            if job.state in _NO_VENDOR:
                moved += await _withdraw(desk, job, JobState.REVOKED, "revoked", None)
            elif await _mark(desk, job, REVOKE_MARK, None):
                marked.append(job.job_id)
                moved += 1
        # What did not move now has moved by itself, or is looked at by the next sweep.
        if len(rows) < desk.limits.batch or not moved:
            return marked


async def expire_overdue(desk: Desk) -> None:
    """End parked jobs whose approval is over, or whose experiment is.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    while True:
        params = {"now_ms": desk.clock.now_ms(), "most": desk.limits.batch}
        rows = await desk.store.fetch("dispatch_overdue_parked", params)
        moved = 0
        for row in rows:
            state, failure = _why(row, desk.clock.now_ms())
            moved += await _withdraw(desk, job_of(row), state, failure, None)
        if len(rows) < desk.limits.batch or not moved:
            return


def _why(row: Row, now_ms: int) -> tuple[JobState, str]:
    approval, expires_ms = row["approval_state"], row["expires_ms"]
    if approval in ("denied", "withdrawn"):
        return JobState.CANCELLED, f"approval_{approval}"
    lapsed = isinstance(expires_ms, int) and expires_ms <= now_ms
    if approval in (None, "expired") or (approval == "pending" and lapsed):
        return JobState.EXPIRED, "approval_expired"
    return JobState.EXPIRED, "experiment_closed"


async def _withdraw(desk: Desk, job: Job, state: JobState, failure: str, actor: str | None) -> bool:
    """End a job that no vendor has seen; False when it has moved meanwhile."""
    now_ms = desk.clock.now_ms()
    try:
        await desk.store.commit(withdrawal(job, state, failure, desk.ledger, now_ms, actor))
    except GuardFailed as error:
        if error.guard != WAITING:
            log.critical("%s cannot be released: %s", job.job_id, error)
        return False
    desk.changes.tell(job.job_id)
    return True


async def _mark(desk: Desk, job: Job, mark: str, actor: str | None) -> bool:
    """Leave a mark that outlives this process; False when the job has moved meanwhile."""
    now_ms = desk.clock.now_ms()
    params: dict[str, SqlValue] = {"job_id": job.job_id, "failure": mark, "now_ms": now_ms}
    statement = Statement("dispatch_ask_stop", params, guard=_MARKED)
    event = job.event("job.stop_requested", Outcome.INTENT, now_ms, reasons=(mark,), actor=actor)
    try:
        await desk.store.commit(UnitOfWork((statement,), (event,)))
    except GuardFailed:
        return False
    return True
