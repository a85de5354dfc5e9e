"""From the vendor's receipt to the job's end, and the way back in after a crash."""

from __future__ import annotations

import asyncio
import contextlib

from msgspec import structs

from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Outcome
from cryogate.domain.jobs import JobState
from cryogate.gateway import vendor_lies
from cryogate.gateway.dispatch_desk import Desk, Hand, Lost, Stop, first_of, log
from cryogate.gateway.dispatch_finish import finish
from cryogate.gateway.dispatch_job import CANCEL_MARK, REVOKE_MARK, Job
from cryogate.gateway.dispatch_send import (
    NotSent,
    end,
    has_credential,
    intend,
    not_sent,
    postpone,
    program_of,
    receipt,
    requeue,
    send,
    standing,
    text_for,
)
from cryogate.gateway.reconcile import locate
from cryogate.gateway.settle import FENCE, Ending
from cryogate.gateway.vendor_questions import Line
from cryogate.ports.provider import (
    Ended,
    Provider,
    ProviderError,
    Submission,
    VendorLied,
    VendorState,
    VendorStatus,
)
from cryogate.ports.store import GuardFailed, UnitOfWork

_FINAL = frozenset({VendorState.DONE, VendorState.FAILED, VendorState.CANCELLED})


async def carry(desk: Desk, hand: Hand) -> None:
    """Take a claimed job as far as it goes. Returns when this process is done with it."""
    job = hand.job
    provider = desk.providers.get(job.scheme)
    # A job at a vendor whose adapter is not installed here must wait for one that is; a job that
    # nobody has sent can end.
    if provider is None and job.state is not JobState.QUEUED:
        raise Lost
    if provider is None:
        await end(desk, hand, Ending(JobState.FAILED, "backend_not_available"))
        return
    _heed_mark(hand)
    if hand.ready is not None:
        ready, hand.ready = hand.ready, None
        hand.clbits = ready.program.clbits
        await _submit(desk, hand, provider, ready)
    elif job.state is JobState.QUEUED:
        if not await has_credential(desk, hand):
            return
        if not desk.breakers.admit(job.scheme):
            await postpone(desk, hand)
            return
        submission = await intend(desk, hand, provider)
        if submission is not None:
            await _submit(desk, hand, provider, submission)
    elif job.state is JobState.DISPATCHING or job.vendor_id is None:
        await _recover(desk, hand, provider)
    else:
        hand.arrive()
        await _watch(desk, hand, provider, job.vendor_id)


def _heed_mark(hand: Hand) -> None:
    # A marked job that had to be queued again keeps its mark, and ends before it is sent.
    if hand.job.failure == CANCEL_MARK:
        hand.ask(Stop(JobState.CANCELLED, "cancelled"))
    elif hand.job.failure == REVOKE_MARK:
        hand.ask(Stop(JobState.REVOKED, "revoked"))


async def _submit(desk: Desk, hand: Hand, provider: Provider, submission: Submission) -> None:
    try:
        vendor_id = await send(desk, hand, provider, submission)
    except NotSent as failure:
        if hand.job.state is JobState.RUNNING:
            # Sent once, forgotten by the simulator, and now refused: it cannot go back.
            await end(desk, hand, Ending(JobState.FAILED, f"refused: {failure.reason}"))
            return
        await not_sent(desk, hand, failure)
        return
    hand.arrive()
    ended = provider.ended(vendor_id)
    if ended is not None and hand.asked is None:
        # Over before it could be recorded as running: one move, one commit.
        await finish(desk, hand, provider, vendor_id, ended)
        return
    await _running(desk, hand, vendor_id, ())
    await _watch(desk, hand, provider, vendor_id)


async def _running(desk: Desk, hand: Hand, vendor_id: str, reasons: tuple[str, ...]) -> None:
    now_ms = desk.clock.now_ms()
    statement = desk.fenced(
        hand.job, "dispatch_submitted", FENCE, vendor_id=vendor_id, now_ms=now_ms
    )
    event = hand.job.event("job.submitted", Outcome.SUCCESS, now_ms, reasons=reasons or None)
    try:
        await desk.commit(UnitOfWork((statement,), (event,)), hand.job.experiment_id)
    except GuardFailed as error:
        raise Lost from error  # whoever holds the claim now will find the job at the vendor
    hand.job = _moved(hand, vendor_id)
    desk.changes.tell(hand.job.job_id)


def _moved(hand: Hand, vendor_id: str | None) -> Job:
    # The program is not needed any more, and jobs may stay at a vendor for days.
    return structs.replace(hand.job, state=JobState.RUNNING, vendor_id=vendor_id, program=None)


# -- after a crash -----------------------------------------------------------------------------


async def _recover(desk: Desk, hand: Hand, provider: Provider) -> None:
    """The vendor may have the job: ask, and send nothing before it has answered (B2)."""
    job, now_ms = hand.job, desk.clock.now_ms()
    # A call made under the last claim began after the intent and has timed out by now, unless
    # the intent is so young that its process must have died since.
    longest_ms = desk.limits.submit_timeout_ms + desk.limits.quiet_ms
    recent = now_ms - job.updated_ms < longest_ms
    before_ms = now_ms if recent else job.updated_ms
    if not desk.alone:
        # Another replica, silent but perhaps alive: no call of its outlasts the claim it began in.
        before_ms = job.updated_ms + desk.limits.claim_ms
    found = await locate(desk, hand, provider, before_ms)
    if found is not None:
        vendor_id = receipt(found)
        hand.arrive()
        await _running(desk, hand, vendor_id, ("found_at_vendor",))
        await _watch(desk, hand, provider, vendor_id)
        return
    stop = hand.asked or standing(desk, hand)
    if isinstance(stop, Stop):
        await end(desk, hand, Ending(stop.state, stop.failure), stop.actor)
    elif job.state is JobState.RUNNING:
        await _resend(desk, hand, provider)
    else:
        await requeue(desk, hand, "vendor_never_had_it", 0)


async def _forgotten(desk: Desk, hand: Hand, provider: Provider, vendor_id: str) -> str | None:
    """A vendor refuses to speak of a job it accepted. Its id, or None when the job has moved on.

    Only a simulator that costs nothing is ever given the same job again; on anything that may
    send a bill the job stays as it is, and somebody is told.
    """
    job = hand.job
    found = await locate(desk, hand, provider, desk.clock.now_ms())
    if found is not None:
        return receipt(found)
    stop = hand.asked
    if stop is not None:
        await end(desk, hand, Ending(stop.state, stop.failure), stop.actor)
        return None
    if job.cost_bound_cents == 0 and _simulator(desk, job.backend):
        await _resend(desk, hand, provider)
        return None
    if not hand.alarmed:
        hand.alarmed = True
        log.critical("%s: the vendor does not know a job that it accepted", job.job_id)
        await desk.alarm(job.event("job.vendor_lost", Outcome.FAILURE, desk.clock.now_ms()))
    return vendor_id


def _simulator(desk: Desk, backend: str) -> bool:
    found = desk.devices().get(backend)
    return found is not None and found.simulator


async def _resend(desk: Desk, hand: Hand, provider: Provider) -> None:
    job = hand.job
    program = await program_of(desk, hand)
    if program is None or job.cost_bound_cents != 0:
        await end(desk, hand, Ending(JobState.FAILED, "lost_by_backend"))
        return
    text = await text_for(desk, hand, program)
    if text is None:
        return
    now_ms = desk.clock.now_ms()
    statement = desk.fenced(job, "dispatch_resend", FENCE, now_ms=now_ms)
    intent = job.event("job.dispatching", Outcome.INTENT, now_ms, reasons=("simulator_restarted",))
    try:
        await desk.commit(UnitOfWork((statement,), (intent,)), job.experiment_id)
    except GuardFailed as error:
        raise Lost from error
    hand.job = _moved(hand, None)
    await _submit(
        desk, hand, provider,
        Submission(job.job_id, job.backend, program, job.shots, job.experiment_id, 0, text),
    )  # fmt: skip


# -- at the vendor -----------------------------------------------------------------------------


async def _watch(desk: Desk, hand: Hand, provider: Provider, vendor_id: str) -> None:
    """Until the vendor says that the job is over, or somebody asks for its end."""
    with desk.questions.watching(hand.job.scheme):
        await _until_over(desk, hand, provider, vendor_id)


async def _until_over(desk: Desk, hand: Hand, provider: Provider, vendor_id: str) -> None:
    polls = 0
    while True:
        stop = hand.asked
        if stop is not None and polls % 4 == 0:
            await _ask_vendor_to_stop(desk, hand, provider, vendor_id)
        try:
            status = await _next_status(desk, hand, provider, vendor_id)
        except VendorLied as lie:
            log.error("%s: the vendor lies: %s", hand.job.job_id, lie.detail)
            status = None
            if await vendor_lies.note(desk, hand, lie.detail):
                await _ask_vendor_to_stop(desk, hand, provider, vendor_id)
                await end(desk, hand, vendor_lies.gave_up(lie.detail, vendor_id))
                return
        except ProviderError as error:
            log.warning("%s: status unknown: %s", hand.job.job_id, error.detail)
            status = None
            if not error.retryable:
                known = await _forgotten(desk, hand, provider, vendor_id)
                if known is None:
                    return
                vendor_id = known
        except (Unavailable, TimeoutError) as error:
            log.warning("%s: status unknown: %r", hand.job.job_id, error)
            status = None
        except Exception:
            log.exception("%s: status unknown", hand.job.job_id)
            status = None
        if status is not None and status.state in _FINAL:
            await finish(desk, hand, provider, vendor_id, Ended(status, None))
            return
        if status is not None and desk.places.hear(hand.job.job_id, status):
            desk.changes.tell(hand.job.job_id)
        polls += 1
        if stop is None and hand.asked is not None:
            polls = 0  # asked to stop during the wait: tell the vendor at once
            continue
        await desk.pause(desk.poll_ms(polls, hand.job.scheme), None if stop else hand)


async def _next_status(
    desk: Desk, hand: Hand, provider: Provider, vendor_id: str
) -> VendorStatus | None:
    """What the vendor says next: by its own waiting where it can, else by asking."""
    if hand.asked is None:
        lease = await desk.lease(hand.job)
        waiter = asyncio.ensure_future(provider.wait(vendor_id, lease))
        try:
            await first_of(waiter, hand.stop)
            if waiter.done():
                status = waiter.result()
                if status is not None:
                    return vendor_lies.about(hand.job, status)
        finally:
            await _abandon(waiter)
        if hand.stop.done():
            return None
    asked, turn_ms = hand.asked, desk.questions.turn_ms(hand.job.scheme)
    if turn_ms:
        await desk.pause(turn_ms, hand if asked is None else None)
        if hand.asked is not asked:
            return None
    found = await desk.questions.ask(hand.job, lambda lease: provider.status(vendor_id, lease))
    return vendor_lies.about(hand.job, found)


async def _abandon(waiter: asyncio.Future[VendorStatus | None]) -> None:
    waiter.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await waiter  # also takes notice of how it failed, if it did


async def _ask_vendor_to_stop(desk: Desk, hand: Hand, provider: Provider, vendor_id: str) -> None:
    """Best effort, asked again until the vendor says that the job is over."""
    try:
        await desk.questions.ask(
            hand.job, lambda lease: provider.cancel(vendor_id, lease), Line.STOP
        )
    except (ProviderError, Unavailable, TimeoutError) as error:
        log.warning("%s: could not be cancelled yet: %s", hand.job.job_id, error)
    except Exception:
        log.exception("%s: could not be cancelled yet", hand.job.job_id)
