"""Telling others of revocations: CAEP events pushed to configured receivers (RFC 8935).

(1) each receiver has a cursor in the revocation feed, so nothing is lost while it is away
(2) a revocation becomes a SET signed by the keys that sign tokens; a SET that is sent twice is the
    same event by its ``jti``
(3) the cursor moves only when the receiver has taken the SET, or has said that it never will
(4) otherwise it is asked again, after pauses that grow; and somebody is told
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec

from cryogate.broker.rows import number, text
from cryogate.broker.security_events import MEDIA_TYPE, TYPE, claims_of
from cryogate.domain.errors import Malformed, Unavailable
from cryogate.domain.secrets import Secret
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.keys import TokenSigner
from cryogate.ports.revocations import RevokedKind
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.broker")

_BATCH: Final = 100
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_ALARM_AFTER: Final = 5


class Reply(Protocol):
    """What an HTTP client of ours gives back."""

    @property
    def status(self) -> int:
        """The HTTP status."""


Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Reply]]


class SsfEmitter:
    """Follows the feed for one receiver, ``url``. ``send`` is the guarded outbound door."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        signer: TokenSigner,
        alerts: Alerts,
        send: Send,
        issuer: str,
        url: str,
        audience: str,
        secret: Secret | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._clock, self._signer, self._alerts = store, clock, signer, alerts
        self._send, self._issuer, self._url, self._audience = send, issuer, url, audience
        self._secret, self._sleep = secret, sleep
        self._cursor = f"ssf:{url}"
        self._wake = asyncio.Event()
        self._failures = 0

    def nudge(self) -> None:
        """Something was revoked."""
        self._wake.set()

    async def run(self, interval_s: float = 5.0) -> None:
        """Follow and send until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.begin()
                while await self.turn():
                    pass
                self._failures = 0
            except (Unavailable, Malformed) as error:
                await self._failed(error)
                continue
            try:
                async with asyncio.timeout(interval_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def begin(self) -> None:
        """Take a place in the feed, if there is none yet: what was before is not told.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        await self._commit(Statement("ssf_cursor_begin", {"name": self._cursor}, rows=None))

    async def turn(self) -> bool:
        """Send what is due; whether there may be more.

        Raises:
            Unavailable: the receiver did not take it; it stays due.
        """
        place = await self._store.fetch_one("cursor_of", {"name": self._cursor})
        if place is None:
            return False
        seen = number(place, "position")  # (1)
        rows = await self._store.fetch("ssf_feed", {"after": seen, "limit": _BATCH})
        for row in rows:
            await self._push(row)
            moved: dict[str, SqlValue] = {
                "name": self._cursor, "position": number(row, "rev_seq"), "seen": seen,
            }  # fmt: skip
            try:
                await self._commit(Statement("cursor_move", moved))  # (3)
            except GuardFailed:
                return True  # another replica has sent this far
            seen = number(row, "rev_seq")
        return len(rows) == _BATCH

    async def _push(self, row: Row) -> None:
        claims = claims_of(
            RevokedKind(text(row, "kind")),
            text(row, "subject"),
            text(row, "reason"),
            number(row, "created_ms"),
            number(row, "rev_seq"),
            issuer=self._issuer,
            audience=self._audience,
            now_ms=self._clock.now_ms(),
        )
        token = await self._signer.sign({"typ": TYPE}, msgspec.json.encode(claims))  # (2)
        headers = {"content-type": MEDIA_TYPE, "accept": "application/json"}
        if self._secret is not None:
            headers["authorization"] = f"Bearer {self._secret.reveal().decode()}"
        status = (await self._send("POST", self._url, headers, token.encode("ascii"))).status
        if status in (200, 202):
            return
        if status == 400:
            # RFC 8935 section 2.4: it has read the SET and will never take it.
            evidence = {"status": status, "rev_seq": number(row, "rev_seq")}
            self._alerts.tell("security_event_refused", self._url[:256], Severity.HIGH, evidence)
            return
        raise Unavailable(f"the receiver of security events answered {status}")

    async def _failed(self, error: Exception) -> None:
        self._failures += 1
        log.warning("security events wait for their receiver: %s", error)
        if self._failures >= _ALARM_AFTER:
            self._alerts.tell("security_event_unsent", self._url[:256], Severity.HIGH,
                              {"failures": self._failures})  # fmt: skip
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
        await self._sleep(pause_s)

    async def _commit(self, statement: Statement) -> None:
        await self._store.commit(UnitOfWork((statement,)))
