"""What is left to do when the vendor is done with a job: fetch its result and settle it."""

from __future__ import annotations

from cryogate.domain.errors import Unavailable
from cryogate.domain.jobs import JobState
from cryogate.gateway import vendor_lies
from cryogate.gateway.dispatch_desk import Desk, Hand, Stop, log
from cryogate.gateway.dispatch_send import end, program_of, standing
from cryogate.gateway.settle import Ending, MalformedResult, done, printable, runtime
from cryogate.ports.provider import (
    Ended,
    Provider,
    ProviderError,
    VendorLied,
    VendorState,
)

_RESULT_ATTEMPTS = 8


async def finish(desk: Desk, hand: Hand, provider: Provider, vendor_id: str, ended: Ended) -> None:
    """The vendor is done with the job: settle it."""
    status = ended.status
    stop = hand.asked
    if stop is None and isinstance(found := standing(desk, hand), Stop):
        stop = found
    actor = None if stop is None else stop.actor
    state: JobState
    if stop is not None and stop.state is JobState.REVOKED:
        # What ran is owed, but its result is for nobody.
        state, failure = stop.state, stop.failure
    elif status.state is VendorState.DONE:
        await end(desk, hand, await _result(desk, hand, provider, vendor_id, ended), actor)
        return
    elif status.state is VendorState.FAILED:
        state = JobState.FAILED
        failure = f"vendor: {printable(status.detail) or 'no reason given'}"
    elif stop is not None:
        state, failure = stop.state, stop.failure
    else:
        state, failure = JobState.CANCELLED, "cancelled_by_vendor"
    ending = Ending(state, failure, status, vendor_id=vendor_id, runtime_ms=runtime(status))
    await end(desk, hand, ending, actor)


async def _result(
    desk: Desk, hand: Hand, provider: Provider, vendor_id: str, ended: Ended
) -> Ending:
    status = ended.status

    def failed(failure: str) -> Ending:
        return Ending(
            JobState.FAILED, failure, status, vendor_id=vendor_id, runtime_ms=runtime(status)
        )

    attempt = 0
    program = await program_of(desk, hand) if provider.reads_program else None
    while True:
        try:
            raw = ended.result
            if raw is None:
                with desk.spans.step("vendor.result"):
                    raw = await desk.questions.ask(
                        hand.job, lambda lease: provider.result(vendor_id, lease, program)
                    )
            return done(hand.job, await _clbits(desk, hand), vendor_id, status, raw)
        except (MalformedResult, VendorLied) as error:
            log.error("%s: result refused: %s", hand.job.job_id, error)
            await vendor_lies.note(desk, hand, f"result: {error}")
            return failed(printable(f"result_malformed: {error}"))
        except (ProviderError, Unavailable, TimeoutError) as error:
            attempt += 1
            hopeless = isinstance(error, ProviderError) and not error.retryable
            if hopeless or attempt >= _RESULT_ATTEMPTS:
                return failed("result_unavailable")
            log.warning("%s: no result yet: %s", hand.job.job_id, error)
            await desk.pause(desk.retry_ms(attempt))
        except Exception:
            log.exception("%s: result refused", hand.job.job_id)
            return failed("result_malformed")


async def _clbits(desk: Desk, hand: Hand) -> int:
    if hand.clbits is None:
        program = await program_of(desk, hand)
        if program is None:
            raise MalformedResult("its program is not the one that was checked")
        hand.clbits = program.clbits
    return hand.clbits
