"""From a claim to the vendor's receipt.

Why a job runs once, and only if it may:

 (1) The stored program's SHA-256 is the one that was checked, priced and approved, and reading
     it gives the same text again. What a vendor gets is written from it in the backend's dialect,
     and another parser has read those very bytes as the same program (C5).
 (2) Nothing revokes the job: asked of this process's view, and again by the database inside the
     statement that lets it go (R2, R3).
 (3) The intent event is on disk before the vendor hears of the job (L3). The claim names a
     fence, so only its holder can write the intent (P2).
 (4) A call that may have reached the vendor is never repeated before the vendor has said that
     it does not have the job (B2). The call ends well before the claim does.
"""

from __future__ import annotations

import asyncio
import hashlib

from cryogate.circuits import CircuitError, Program, WorkerFailed
from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Outcome
from cryogate.domain.jobs import JobState
from cryogate.gateway.dispatch_desk import Desk, Hand, Lost, Stop, log
from cryogate.gateway.reconcile import locate
from cryogate.gateway.settle import FENCE, Ending, printable, unit
from cryogate.ports.provider import Provider, ProviderError, Submission
from cryogate.ports.store import GuardFailed, StoreUnavailable, UnitOfWork

_GATE = "dispatch.gate"
_MAX_VENDOR_ID = 256
_PROGRAMS = 256
#: Waits as long as after this many failed attempts when no worker can be started.
_NO_WORKER = 5
#: As long as a back end that failed is left alone (`Leases`), or less.
_NO_CREDENTIAL = 4
_SECOND_OPINION = {"disagreement": "job.readers_disagree", "unconfirmed": "job.unconfirmed"}
_REVOKED = Stop(JobState.REVOKED, "revoked")
_CLOSED = Stop(JobState.EXPIRED, "experiment_closed")


class NotSent(Exception):
    """The vendor surely does not have the job; whether it may be tried again."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


async def program_of(desk: Desk, hand: Hand) -> Program | None:
    """(1): the checked program, or None when what is stored is not it."""
    job = hand.job
    known = desk.programs.get(job.circuit_sha256)
    text = job.program
    if text is None:
        row = await desk.store.fetch_one("dispatch_program", {"job_id": job.job_id})
        stored = None if row is None else row["program"]
        text = stored if isinstance(stored, str) else ""
    data = text.encode()
    if hashlib.sha256(data).hexdigest() != job.circuit_sha256:
        return None
    if known is not None and known.fingerprint == job.circuit_sha256:
        return known
    try:
        program = Program.from_bytes(data)
    except CircuitError:
        return None
    return program if program.fingerprint == job.circuit_sha256 else None


def remember(desk: Desk, program: Program) -> None:
    """Keep a parsed program for a while: the same one is usually sent soon."""
    if len(program.to_bytes()) <= desk.limits.inline_program:
        desk.programs[program.fingerprint] = program
        while len(desk.programs) > _PROGRAMS:
            del desk.programs[next(iter(desk.programs))]


async def has_credential(desk: Desk, hand: Hand) -> bool:
    """Whether there is a lease to send the job with; if not, it waits and says why.

    Asked before the intent, so that a secret store that is down costs no job an attempt. Who may
    not be sent, gets no lease either: `intend` sees to him.
    """
    job = hand.job
    if hand.asked is not None or standing(desk, hand) is not True:
        return True
    try:
        await desk.lease(job)
    except Unavailable as error:
        log.warning("%s waits: %s", job.job_id, error)
        if desk.places.wait_for(job.job_id, "no_credential"):
            reasons = ("no_credential", printable(str(error)))
            now_ms = desk.clock.now_ms()
            await desk.alarm(job.event("job.waiting", Outcome.FAILURE, now_ms, reasons=reasons))
        await postpone(desk, hand, _NO_CREDENTIAL)
        return False
    desk.places.goes_on(job.job_id)
    return True


async def intend(desk: Desk, hand: Hand, provider: Provider) -> Submission | None:
    """(1) to (3): the submission that may now be made, or None when there is none to make.

    Raises:
        Lost: the job is not ours any more.
    """
    job = hand.job
    program = await program_of(desk, hand)
    if program is None:
        await _alarmed(desk, hand)
        return None
    stop = hand.asked or standing(desk, hand)
    if isinstance(stop, Stop):
        await end(desk, hand, Ending(stop.state, stop.failure), stop.actor)
        return None
    if stop is False:
        await postpone(desk, hand)
        return None
    text = await text_for(desk, hand, program)
    if text is None:
        return None
    now_ms = desk.clock.now_ms()
    work = UnitOfWork(
        (
            desk.fenced(
                job, "dispatch_intend", _GATE,
                until_ms=now_ms + desk.limits.claim_ms, now_ms=now_ms,
            ),
        ),
        (job.event("job.dispatching", Outcome.INTENT, now_ms),),
    )  # fmt: skip
    try:
        with desk.spans.step("job.intend"):
            await desk.batcher.commit(work, job.experiment_id)
    except GuardFailed:
        await _refused(desk, hand)
        return None
    except StoreUnavailable as error:
        # Perhaps the intent is on disk, perhaps not: nothing is sent, and the claim runs out.
        raise Lost from error
    hand.clbits = program.clbits
    remember(desk, program)
    if desk.clock.now_ms() - now_ms > desk.limits.claim_ms // 2:
        raise Lost  # this process stood still; its claim may end during the call
    return Submission(
        job.job_id, job.backend, program, job.shots, job.experiment_id, job.ceiling_cents, text
    )


async def text_for(desk: Desk, hand: Hand, program: Program) -> bytes | None:
    """(1): the bytes to send, empty for a backend without a dialect; None: the job has moved on."""
    device = desk.devices().get(hand.job.backend)
    if device is None:
        await end(desk, hand, Ending(JobState.FAILED, "backend_not_available"))
        return None
    if device.dialect is None:
        return b""
    try:
        return await desk.reader.text(program, device.dialect)
    except WorkerFailed as error:
        log.error("%s: no second opinion to be had: %s", hand.job.job_id, error)
        await postpone(desk, hand, _NO_WORKER)
        return None
    except CircuitError as error:
        log.critical("%s: %s: %s", hand.job.job_id, device.dialect, error)
        code, now_ms = error.code, desk.clock.now_ms()
        if code in _SECOND_OPINION:
            reasons = (device.dialect.value, printable(error.detail))
            alarm = hand.job.event(_SECOND_OPINION[code], Outcome.FAILURE, now_ms, reasons=reasons)
            await desk.alarm(alarm)
        reason = printable(f"{code}: {device.dialect.value}: {error.detail}")
        await end(desk, hand, Ending(JobState.FAILED, reason))
        return None


def standing(desk: Desk, hand: Hand) -> Stop | bool:
    """(2): a `Stop` if revoked, False if that cannot be told now, True if the job may go on."""
    try:
        if desk.revocations.revoked(hand.job.subject()) is not None:
            return _REVOKED
    except Unavailable:
        return False
    return True


async def send(desk: Desk, hand: Hand, provider: Provider, submission: Submission) -> str:
    """(4): the vendor's id for the job.

    Raises:
        NotSent: the vendor surely does not have it.
    """
    job, limits = hand.job, desk.limits
    # The intent took a commit; what happened meanwhile still counts.
    if hand.asked is not None or standing(desk, hand) is not True:
        raise NotSent("stopped_before_sending", retryable=True)
    try:
        lease = await desk.lease(job)
    except Unavailable as error:
        raise NotSent("no_credential", retryable=True) from error
    try:
        with desk.spans.step("vendor.submit"):
            async with asyncio.timeout(limits.submit_timeout_ms / 1000):
                vendor_id = await provider.submit(submission, lease)
        desk.breakers.answered(job.scheme)
        return receipt(vendor_id)
    except ProviderError as error:
        log.warning("%s: %s", job.job_id, error.detail)
        _note(desk, job.scheme, unwell=error.retryable)
        if not error.sent:
            raise NotSent(printable(error.detail), retryable=error.retryable) from error
        retryable, reason = error.retryable, printable(error.detail)
    except Exception as error:
        log.warning("%s: the vendor call ended without an answer: %r", job.job_id, error)
        _note(desk, job.scheme, unwell=True)
        retryable, reason = True, "no_answer"
    found = await locate(desk, hand, provider, desk.clock.now_ms())
    if found is None:
        raise NotSent(reason, retryable=retryable)
    return receipt(found)


def _note(desk: Desk, scheme: str, *, unwell: bool) -> None:
    if unwell:
        desk.breakers.failed(scheme)
    else:
        desk.breakers.answered(scheme)


def receipt(vendor_id: object) -> str:
    """A vendor id as it may be stored.

    Raises:
        ValueError: not a short printable string.
    """
    if type(vendor_id) is not str or not 0 < len(vendor_id) <= _MAX_VENDOR_ID:
        raise ValueError("the vendor's id is no short text")
    if printable(vendor_id) != vendor_id:
        raise ValueError("the vendor's id is not printable")
    return vendor_id


async def not_sent(desk: Desk, hand: Hand, failure: NotSent) -> None:
    """Back into the queue, or to an end; the whole hold goes back in the latter case."""
    job, limits = hand.job, desk.limits
    stop = hand.asked or standing(desk, hand)
    if isinstance(stop, Stop):
        await end(desk, hand, Ending(stop.state, stop.failure), stop.actor)
        return
    if not failure.retryable:
        await end(desk, hand, Ending(JobState.FAILED, f"refused: {failure.reason}"))
        return
    row = await desk.store.fetch_one("dispatch_attempts", {"job_id": job.job_id})
    attempts = int((row or {"attempts": 1})["attempts"] or 1)
    if attempts >= limits.max_attempts:
        await end(desk, hand, Ending(JobState.FAILED, f"gave_up: {failure.reason}"))
        return
    await requeue(desk, hand, failure.reason, desk.retry_ms(attempts))


async def requeue(desk: Desk, hand: Hand, reason: str, wait_ms: int) -> None:
    """Give a job back that the vendor surely does not have."""
    now_ms = desk.clock.now_ms()
    statement = desk.fenced(
        hand.job, "dispatch_requeue", FENCE, until_ms=now_ms + wait_ms, now_ms=now_ms
    )
    event = hand.job.event("job.requeued", Outcome.FAILURE, now_ms, reasons=(reason,))
    try:
        await desk.commit(UnitOfWork((statement,), (event,)), hand.job.experiment_id)
    except GuardFailed as error:
        raise Lost from error
    desk.changes.tell(hand.job.job_id)
    desk.wake_in(wait_ms)


async def end(desk: Desk, hand: Hand, ending: Ending, actor: str | None = None) -> None:
    """Settle or release, and finish. Waits while the ledger or the store is away.

    Raises:
        Lost: the job is not ours any more.
    """
    job, attempt = hand.job, 0
    while True:
        work, mergeable = unit(job, desk.owner, ending, desk.ledger, desk.clock.now_ms(), actor)
        try:
            with desk.spans.step("job.settle"):
                await desk.commit(work, job.experiment_id if mergeable else None)
        except GuardFailed as failed:
            if failed.guard == FENCE:
                raise Lost from failed
            # The books contradict the job. It stays where it is, and visible, until they agree.
            attempt += 1
            log.error("%s cannot be settled: %s", job.job_id, failed)
            if attempt == 1:
                alarm = job.event(
                    "budget.inconsistent", Outcome.FAILURE, desk.clock.now_ms(),
                    reasons=(printable(failed.guard),),
                )  # fmt: skip
                await desk.alarm(alarm)
            await desk.pause(desk.retry_ms(attempt))
            continue
        desk.changes.tell(job.job_id)
        return


async def _alarmed(desk: Desk, hand: Hand) -> None:
    log.critical("%s: the stored program is not the one that was checked", hand.job.job_id)
    now_ms = desk.clock.now_ms()
    await desk.alarm(hand.job.event("job.program_mismatch", Outcome.FAILURE, now_ms))
    await end(desk, hand, Ending(JobState.FAILED, "program_mismatch"))


async def _refused(desk: Desk, hand: Hand) -> None:
    """`dispatch_intend` touched nothing: find out why, and act on that."""
    job = hand.job
    now_ms = desk.clock.now_ms()
    row = await desk.store.fetch_one("dispatch_gate", {"job_id": job.job_id, "now_ms": now_ms})
    ours = (
        row is not None
        and row["claimed_by"] == desk.owner
        and row["claim_fence"] == job.claim_fence
        and row["state"] == JobState.QUEUED
    )
    if row is None or not ours:
        raise Lost
    if row["revocations"] or row["inactive_agents"]:
        stop = _REVOKED
    elif not row["open_experiments"]:
        stop = _CLOSED
    else:
        await postpone(desk, hand)
        return
    await end(desk, hand, Ending(stop.state, stop.failure))


async def postpone(desk: Desk, hand: Hand, attempt: int = 1) -> None:
    """Give a queued job back for a while.

    Raises:
        Lost: it is not ours any more.
    """
    wait_ms = desk.retry_ms(attempt)
    until_ms = desk.clock.now_ms() + wait_ms
    statement = desk.fenced(hand.job, "dispatch_postpone", FENCE, until_ms=until_ms)
    try:
        await desk.commit(UnitOfWork((statement,)), hand.job.experiment_id)
    except GuardFailed as error:
        raise Lost from error
    desk.wake_in(wait_ms)
