"""Sends spans to a collector, and drops them rather than hold anything up.

Traces are for looking at, not for proof: that is what the audit log is for. So what does not fit
the queue is dropped, a batch that is not taken after a few tries too, and both are counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from cryogate.domain.errors import CryogateError
from cryogate.telemetry.otlp import encode
from cryogate.telemetry.spans import Span, Value

log = logging.getLogger("cryogate.traces")

MAX_QUEUE: Final = 4096
MAX_BATCH: Final = 512
TRIES: Final = 5
_AGAIN: Final = frozenset({429, 502, 503, 504})


class Answered(Protocol):
    """What a request gives back; nothing in it is trusted."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The body, no longer than the fetcher allows."""


Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answered]]
Sleep = Callable[[float], Awaitable[None]]


class Exporter:
    """`keep` spans from anywhere on the event loop; `run` until cancelled."""

    def __init__(
        self,
        send: Send,
        url: str,
        token: str,
        resource: Mapping[str, Value],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._send, self._url, self._resource, self._sleep = send, url, dict(resource), sleep
        self._headers = {"content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._queue: deque[Span] = deque()
        self.exported = self.dropped = 0

    def keep(self, span: Span) -> None:
        """Queue a span that has ended. No I/O, bounded memory, never raises."""
        if len(self._queue) < MAX_QUEUE:
            self._queue.append(span)
        else:
            self.dropped += 1

    async def run(self, interval_s: float = 1.0) -> None:
        """Export until cancelled; nothing that goes wrong ends it."""
        while True:
            await self._sleep(interval_s)
            while self._queue:
                await self.export(TRIES)

    async def close(self) -> None:
        """One try for what is left."""
        try:
            async with asyncio.timeout(2):
                while self._queue:
                    await self.export(1)
        except TimeoutError:
            self.dropped += len(self._queue)
            self._queue.clear()

    async def export(self, tries: int) -> None:
        """Send one batch; drop it if it is not taken."""
        batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
        body = encode(batch, self._resource)
        for attempt in range(tries):
            refused = await self._offer(body)
            if refused is not None:
                refused = min(refused, len(batch))
                self.exported += len(batch) - refused
                self.dropped += refused
                return
            if attempt + 1 < tries:
                await self._sleep((1 << attempt) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries
        self.dropped += len(batch)
        log.warning("the collector took no spans: %d dropped so far", self.dropped)

    async def _offer(self, body: bytes) -> int | None:
        """How many of a batch were refused; None: not taken this time."""
        try:
            answer = await self._send("POST", self._url, self._headers, body)
        except CryogateError as error:
            log.info("no answer from the collector: %s", type(error).__name__)
            return None
        except Exception:
            log.exception("spans cannot be sent")
            return None
        if answer.status in _AGAIN:
            return None
        if not 200 <= answer.status < 300:
            log.warning("the collector answered %d", answer.status)
            return MAX_BATCH
        return _rejected(answer.body)


def _rejected(body: bytes) -> int:
    try:
        part = json.loads(body).get("partialSuccess", {})
        return max(0, int(part.get("rejectedSpans", 0)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0  # an answer of 200 without a readable body has refused nothing
