"""What is left to do when the vendor is done with a job: fetch its result and settle it."""

from __future__ import annotations

from dataclasses import replace

from cryogate.domain.errors import Unavailable
from cryogate.domain.jobs import JobState
from cryogate.gateway import vendor_lies
from cryogate.gateway.dispatch_desk import Desk, Hand, Stop, log
from cryogate.gateway.dispatch_send import end, program_of, standing
from cryogate.gateway.settle import Ending, MalformedResult, done, printable, runtime
from cryogate.ports.provider import (
    Provider,
    ProviderError,
    RawResult,
    VendorLied,
    VendorState,
    VendorStatus,
)

_RESULT_ATTEMPTS = 8


async def finish(
    desk: Desk, hand: Hand, provider: Provider, vendor_id: str, status: VendorStatus
) -> None:
    """The vendor is done with the job: settle it."""
    stop = hand.asked
    if stop is None and isinstance(found := standing(desk, hand), Stop):
        stop = found
    ending = Ending(JobState.CANCELLED, "cancelled_by_vendor", status, runtime_ms=runtime(status))
    actor = None if stop is None else stop.actor
    if stop is not None and stop.state is JobState.REVOKED:
        # What ran is owed, but its result is for nobody.
        ending = replace(ending, state=stop.state, failure=stop.failure)
    elif status.state is VendorState.DONE:
        ending = await _result(desk, hand, provider, vendor_id, status)
    elif status.state is VendorState.FAILED:
        detail = printable(status.detail) or "no reason given"
        ending = replace(ending, state=JobState.FAILED, failure=f"vendor: {detail}")
    elif stop is not None:
        ending = replace(ending, state=stop.state, failure=stop.failure)
    await end(desk, hand, replace(ending, vendor_id=vendor_id), actor)


async def _result(
    desk: Desk, hand: Hand, provider: Provider, vendor_id: str, status: VendorStatus
) -> Ending:
    failed = Ending(JobState.FAILED, "result_malformed", status, runtime_ms=runtime(status))
    attempt = 0
    program = await program_of(desk, hand) if provider.reads_program else None
    while True:
        try:
            with desk.spans.step("vendor.result"):
                raw: RawResult = await desk.questions.ask(
                    hand.job, lambda lease: provider.result(vendor_id, lease, program)
                )
            return done(hand.job, await _clbits(desk, hand), status, raw)
        except (MalformedResult, VendorLied) as error:
            log.error("%s: result refused: %s", hand.job.job_id, error)
            await vendor_lies.note(desk, hand, f"result: {error}")
            return replace(failed, failure=printable(f"result_malformed: {error}"))
        except (ProviderError, Unavailable, TimeoutError) as error:
            attempt += 1
            hopeless = isinstance(error, ProviderError) and not error.retryable
            if hopeless or attempt >= _RESULT_ATTEMPTS:
                return replace(failed, failure="result_unavailable")
            log.warning("%s: no result yet: %s", hand.job.job_id, error)
            await desk.pause(desk.retry_ms(attempt))
        except Exception:
            log.exception("%s: result refused", hand.job.job_id)
            return failed


async def _clbits(desk: Desk, hand: Hand) -> int:
    if hand.clbits is None:
        program = await program_of(desk, hand)
        if program is None:
            raise MalformedResult("its program is not the one that was checked")
        hand.clbits = program.clbits
    return hand.clbits
