"""Asking a vendor whether it has a job, before anything is sent again.

"No" is believed only when it was said after the quiet time: a vendor may list a job some moments
after it accepted it. Until then, and while the vendor does not answer, nothing is sent.
"""

from __future__ import annotations

from cryogate.domain.errors import Unavailable
from cryogate.gateway.dispatch_desk import Desk, Hand, log
from cryogate.gateway.vendor_questions import Line
from cryogate.ports.provider import Provider, ProviderError


async def locate(desk: Desk, hand: Hand, provider: Provider, sent_before_ms: int) -> str | None:
    """The vendor id of a job that may have been sent, or None when the vendor surely lacks it.

    ``sent_before_ms`` is a time by which any call that could have sent it had ended. Waits and
    asks again for as long as the vendor does not answer.
    """
    job, attempt = hand.job, 0
    line = Line.FIND_TOGETHER if provider.finds_together else Line.FIND
    while True:
        asked_ms = desk.clock.now_ms()
        try:
            found = await desk.questions.ask(
                job, lambda lease: provider.find(job.job_id, lease), line
            )
        except (ProviderError, Unavailable, TimeoutError) as error:
            attempt += 1
            log.warning("%s: vendor not asked yet: %s", job.job_id, error)
            await desk.pause(desk.retry_ms(attempt))
            continue
        except Exception:
            attempt += 1
            log.exception("%s: vendor not asked yet", job.job_id)
            await desk.pause(desk.retry_ms(attempt))
            continue
        if found is not None:
            return found
        quiet_ms = sent_before_ms + desk.limits.quiet_ms - asked_ms
        if quiet_ms <= 0:
            return None
        await desk.pause(quiet_ms)
