"""How a job ends: what it is charged, what is kept of its result, and the unit of work for it.

Why no ending can lose or make money, or show a result it must not:

 (1) A charge is the vendor's figure only if it is a price: a whole number, not negative, not
     absurd. Otherwise it is the reserved bound, and an event says so (B4).
 (2) A figure above the bound is owed, so it is charged as it is, and `budget.overrun` says so.
 (3) A result is kept only if it could have come from this job: bit strings of the program's
     width, positive counts, no more shots than were asked for (S3).
 (4) State, money, result and event share one unit of work, and its first statement names the
     claimant's fence, so an old claimant settles nothing (P2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Release
from cryogate.domain.jobs import JobState
from cryogate.gateway.dispatch_job import Job
from cryogate.ports.budgets import Ledger
from cryogate.ports.provider import RawResult, VendorState, VendorStatus
from cryogate.ports.store import SqlValue, Statement, UnitOfWork

FENCE, WAITING = "dispatch.fence", "dispatch.waiting"
#: A figure above this many times the bound (and above `_ALWAYS_PLAUSIBLE`) is no price.
_ABSURD_FACTOR = 1000
_ALWAYS_PLAUSIBLE = 10_000
_MAX_RUNTIME_MS = 2**53 - 1
_MAX_METADATA, _MAX_METADATA_TEXT = 32, 256
_BITS = re.compile(r"[01]*", re.ASCII)
_OUTCOME = {JobState.FAILED: Outcome.FAILURE}


class MalformedResult(ValueError):
    """What the vendor sent can not be the result of this job. The text is ours."""


class Charge(msgspec.Struct, frozen=True):
    """What a job costs in cents, and the event that this needs, if any."""

    cents: int
    flag: str | None = None
    why: str | None = None


class Ending(msgspec.Struct, frozen=True):
    """A job's last move, as decided; `units` turns it into statements."""

    state: JobState
    failure: str | None = None
    status: VendorStatus | None = None
    counts: str | None = None
    memory: str | None = None
    metadata: str = "{}"
    vendor_id: str | None = None
    runtime_ms: int | None = None


def charge(job: Job, cents: object, currency: object = "") -> Charge:
    """(1), (2): what to charge for a job that ran, given the vendor's figure."""
    bound = job.cost_bound_cents
    if currency not in ("", job.price_currency or job.currency):
        return Charge(bound, "budget.bound_charged", "vendor_cost_other_currency")
    if cents is None:
        return Charge(bound, "budget.bound_charged", "vendor_cost_missing")
    if type(cents) is not int:
        return Charge(bound, "budget.bound_charged", "vendor_cost_not_a_number")
    if cents < 0:
        return Charge(bound, "budget.bound_charged", "vendor_cost_negative")
    # The rate is the one at which the job's bound was converted, whatever it is today.
    cents = job.converted_at.up(cents)
    if cents > max(bound * _ABSURD_FACTOR, _ALWAYS_PLAUSIBLE):
        return Charge(bound, "budget.bound_charged", "vendor_cost_absurd")
    if cents > bound:
        return Charge(cents, "budget.overrun", "vendor_cost_above_bound")
    return Charge(cents)


def runtime(status: VendorStatus | None) -> int | None:
    """The vendor's run time, if it is one."""
    value = None if status is None else status.runtime_ms
    if type(value) is not int or not 0 <= value <= _MAX_RUNTIME_MS:
        return None
    return value


def done(job: Job, clbits: int, vendor_id: str, status: VendorStatus, result: RawResult) -> Ending:
    """The ending of a job that ran.

    Raises:
        MalformedResult: (3) does not hold.
    """
    counts, memory = checked(job, clbits, result)
    return Ending(
        JobState.DONE,
        status=status,
        counts=msgspec.json.encode(counts).decode(),
        memory=None if memory is None else msgspec.json.encode(memory).decode(),
        metadata=msgspec.json.encode(_plain(result.metadata)).decode(),
        vendor_id=vendor_id,
        runtime_ms=runtime(status),
    )


def checked(
    job: Job, clbits: int, result: RawResult
) -> tuple[Mapping[str, int], tuple[str, ...] | None]:
    """(3): counts, and per-shot memory where the job's reader may have it.

    Raises:
        MalformedResult: this can not be the result of ``job``.
    """
    counts, total = result.counts, 0
    if type(result.shots) is not int or not 0 < result.shots <= job.shots:
        raise MalformedResult("another number of shots than was asked for")
    if len(counts) > result.shots:
        raise MalformedResult("more outcomes than shots")
    for outcome, count in counts.items():
        if type(count) is not int or count <= 0:
            raise MalformedResult("a count is no positive whole number")
        _check_bits(outcome, clbits)
        total += count
    if total != result.shots:
        raise MalformedResult("the counts do not add up to the shots")
    if result.memory is None or job.results is not Release.RAW:
        return counts, None
    if type(result.memory) is not tuple or len(result.memory) != result.shots:
        raise MalformedResult("the memory has another length than the shots")
    if not counts.keys() >= set(result.memory):
        raise MalformedResult("the memory has outcomes that the counts lack")
    return counts, result.memory


def _check_bits(outcome: object, clbits: int) -> None:
    if type(outcome) is not str or len(outcome) != clbits or not _BITS.fullmatch(outcome):
        raise MalformedResult(f"an outcome is not {clbits} binary digits")


def _plain(metadata: object) -> dict[str, str]:
    # A vendor's text is data for people, so it is cut to what cannot act on a terminal or a page.
    if not isinstance(metadata, Mapping):
        return {}
    items = list(metadata.items())[:_MAX_METADATA]
    return {printable(str(k)): printable(str(v)) for k, v in items}


def printable(text: str) -> str:
    """Printable ASCII of bounded length; everything else becomes a question mark."""
    clean = "".join(ch if " " <= ch <= "~" else "?" for ch in text[:_MAX_METADATA_TEXT])
    return clean.strip()


def unit(
    job: Job, owner: str, ending: Ending, ledger: Ledger, now_ms: int, actor: str | None = None
) -> tuple[UnitOfWork, bool]:
    """(4): the unit of work of a claimed job's ending, and whether it may be merged."""
    statements = [
        Statement(
            "dispatch_finish",
            {
                "job_id": job.job_id,
                "owner": owner,
                "fence": job.claim_fence,
                "state": ending.state.value,
                "vendor_id": ending.vendor_id,
                "runtime_ms": ending.runtime_ms,
                "failure": ending.failure,
                "now_ms": now_ms,
            },
            guard=FENCE,
        )
    ]
    if ending.counts is not None:
        params: dict[str, SqlValue] = {
            "job_id": job.job_id,
            "counts": ending.counts,
            "memory": ending.memory,
            "metadata": ending.metadata,
            "now_ms": now_ms,
        }
        statements.append(Statement("dispatch_result", params, guard="dispatch.result"))
    due = _due(job, ending)
    if due is None:
        statements += ledger.release(job.hold(), now_ms)
    else:
        statements += ledger.settle(job.hold(), due.cents, now_ms)
    cost = 0 if due is None else due.cents
    events = [
        job.event(
            f"job.{ending.state.value}",
            _OUTCOME.get(ending.state, Outcome.SUCCESS),
            now_ms,
            reasons=None if ending.failure is None else (ending.failure,),
            cost_actual_cents=cost,
            runtime_ms=ending.runtime_ms,
            actor=actor,
        )
    ]
    if due is not None and due.flag is not None:
        events.append(_flag(job, due, now_ms))
    # Only the reserved bound settles without touching the token's row; see `Batcher`.
    mergeable = due is not None and due.cents == job.cost_bound_cents
    return UnitOfWork(tuple(statements), tuple(events)), mergeable


def _due(job: Job, ending: Ending) -> Charge | None:
    status = ending.status
    if status is None:
        return None  # no vendor has the job
    unbilled = status.cost_cents is None and status.part_of_bound is None
    if status.state is not VendorState.DONE and unbilled:
        return None  # adapters must name the price of a failed or cancelled job that is billed
    if status.cost_cents is None and status.part_of_bound is not None:
        part, whole = status.part_of_bound
        return Charge(-(-job.cost_bound_cents * max(0, min(part, whole)) // whole))
    return charge(job, status.cost_cents, status.currency)


def _flag(job: Job, due: Charge, now_ms: int) -> Event:
    return job.event(
        due.flag or "",
        Outcome.FAILURE,
        now_ms,
        reasons=None if due.why is None else (due.why,),
        cost_actual_cents=due.cents,
    )


def withdrawal(
    job: Job, state: JobState, failure: str, ledger: Ledger, now_ms: int, actor: str | None = None
) -> UnitOfWork:
    """The end of a parked or queued job: no vendor has seen it, so the whole hold goes back."""
    statements = []
    if job.state is JobState.PARKED:
        # The approval comes first, as it does where approvals are decided: same order, no deadlock.
        expired = state is JobState.EXPIRED
        params: dict[str, SqlValue] = {
            "approval_id": job.approval_id,
            "job_id": job.job_id,
            "now_ms": now_ms,
        }
        name = "dispatch_expire_approval" if expired else "dispatch_withdraw_approval"
        statements.append(Statement(name, params, rows=None))
    statements.append(
        Statement(
            "dispatch_withdraw",
            {"job_id": job.job_id, "state": state.value, "failure": failure, "now_ms": now_ms},
            guard=WAITING,
        )
    )
    statements += ledger.release(job.hold(), now_ms)
    outcome = _OUTCOME.get(state, Outcome.SUCCESS)
    event = job.event(f"job.{state.value}", outcome, now_ms, reasons=(failure,), actor=actor)
    return UnitOfWork(tuple(statements), (event,))
