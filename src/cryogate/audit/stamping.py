"""Has heads stamped by a time-stamping authority now and then (RFC 3161). Nothing waits for it."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from cryogate.audit.checkpoint import peek_checkpoint
from cryogate.audit.errors import TimestampRefused
from cryogate.audit.timestamps import TsaTrust
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Unavailable
from cryogate.outbound.fetcher import Answer
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.store import SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.audit")
Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answer]]
_HEADERS: Final = {
    "content-type": "application/timestamp-query",
    "accept": "application/timestamp-reply",
}
_RETRY_MS: Final = 60_000
_LOOK_S: Final = 2.0


class Stamping:
    """``every_ms`` apart, while the log grows, one head is stamped by the authority at ``url``.

    ``head`` gives the head that others are shown, with its cosignatures if it has any.
    """

    def __init__(
        self,
        origin: str,
        head: Callable[[], bytes | None],
        trust: TsaTrust,
        url: str,
        send: Send,
        *,
        store: Store,
        clock: Clock,
        alerts: Alerts,
        every_ms: int,
        alert_ms: int,
    ) -> None:
        self._origin, self._head = origin, head
        self._trust, self._url, self._send = trust, url, send
        self._store, self._clock, self._alerts = store, clock, alerts
        self._every_ms, self._alert_ms = every_ms, alert_ms
        self._again_ms = 0
        self._late_since_ms: int | None = None
        self.trouble: str | None = None

    @property
    def late_ms(self) -> int:
        """For how long a stamp has been due; 0 if none is."""
        since = self._late_since_ms
        return 0 if since is None else max(0, self._clock.now_ms() - since)

    async def run(self) -> None:
        """`round` again and again until cancelled."""
        while True:
            try:
                await self.round()
            except Unavailable:
                log.warning("no head can be stamped now", exc_info=True)
            await asyncio.sleep(_LOOK_S)

    async def round(self) -> bool:
        """Have the newest head stamped, if it is time; whether that was done.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        note, now_ms = self._head(), self._now()
        size = 0 if note is None else peek_checkpoint(note).size
        row = await self._store.fetch_one("timestamp_newest", {})
        if note is None or size == 0 or (row is not None and int(row["size"] or 0) >= size):
            self._late_since_ms = None
            return False
        if row is not None and now_ms - int(row["at_ms"] or 0) < self._every_ms:
            self._late_since_ms = None
            return False
        if self._late_since_ms is None:
            self._late_since_ms = now_ms
        if now_ms < self._again_ms:
            return False
        try:
            token = await self._ask(note)
        except TimestampRefused as error:
            self._failed(str(error))
            return False
        params: dict[str, SqlValue] = {
            "size": size,
            "note": note.decode(),
            "token": base64.b64encode(token).decode(),
            "at_ms": self._now(),
        }
        await self._store.commit(UnitOfWork((Statement("timestamp_put", params, None),)))
        self.trouble, self._late_since_ms, self._again_ms = None, None, 0
        return True

    async def _ask(self, note: bytes) -> bytes:
        body, nonce = self._trust.request(note)
        try:
            answer = await self._send("POST", self._url, _HEADERS, body)
        except Exception as error:
            raise TimestampRefused(f"no answer ({type(error).__name__})") from error
        if answer.status != 200:
            raise TimestampRefused(f"it answers {answer.status}")
        # Verified before it is kept: a stamp that nobody will believe must be noticed today.
        self._trust.time(note, answer.body, nonce)
        return answer.body

    def _failed(self, said: str) -> None:
        if said != self.trouble:
            log.warning("the time-stamping authority did not stamp the log's head: %s", said)
        self.trouble = said
        self._again_ms = self._now() + min(_RETRY_MS, self._every_ms)
        if self.late_ms >= self._alert_ms:
            evidence: dict[str, Scalar] = {"minutes": self.late_ms // 60_000, "said": said}
            self._alerts.tell("timestamp_late", self._origin, Severity.MEDIUM, evidence)

    def _now(self) -> int:
        return self._clock.now_ms()
