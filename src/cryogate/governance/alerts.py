"""Alerts: told by the parts that see something, folded in memory, kept in one table.

 (1) `AlertBook.tell` counts an occurrence under (kind, subject): no I/O, bounded memory
 (2) `flush` writes each at once, and then at most every `FOLD_MS`, so that a flood makes one row
     and few events
 (3) in the table there is one alert that is not closed for each (kind, subject); a later one adds
     to its count. Closing it lets the next occurrence be an alert of its own.

A process that ends in order writes what is pending. One that is killed loses what it saw in the
last moment, and repetitions of the last `FOLD_MS`: what must not be lost is an audit event, which
every refusal and revocation already is.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Conflict, Malformed, NotFound, Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import is_minted, new_id
from cryogate.governance.paging import Page, cut, decode_cursor, page_size
from cryogate.governance.rows import number, text
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.alerts")

ALERT: Final = "alt"
STATES: Final = ("open", "acknowledged", "closed")
FOLD_MS: Final = 10_000
MAX_NOTE: Final = 1000
_MAX_PENDING: Final = 2048
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII)
_NEWEST: Final = (2**53 - 1, "~")


@dataclass(slots=True)
class _Pending:
    severity: Severity
    evidence: Mapping[str, Scalar]
    count: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Alert:
    """One row. Times are epoch milliseconds."""

    alert_id: str
    kind: str
    subject: str
    severity: str
    evidence: str
    state: str
    count: int
    first_ms: int
    last_ms: int
    handled_by: str | None
    handled_ms: int | None
    note: str | None


class AlertBook(Alerts):
    """Steps (1) and (2) for one process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._written: dict[tuple[str, str], int] = {}
        self._news = asyncio.Event()

    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        """See `Alerts.tell`."""
        if _KIND.fullmatch(kind) is None:
            log.error("an alert of a kind that is no name was dropped")
            return
        now_ms, key = self._clock.now_ms(), (kind, subject[:256])
        found = self._pending.get(key)
        if found is None:
            if len(self._pending) >= _MAX_PENDING:
                # Somebody makes subjects up: still one alert, and it says so.
                key = (kind, "*")
                found = self._pending.get(key)
            if found is None:
                self._pending[key] = _Pending(severity, dict(evidence), 1, now_ms, now_ms)
                if key not in self._written:
                    self._news.set()
                return
        found.severity, found.evidence = severity, dict(evidence)
        found.count, found.last_ms = found.count + 1, now_ms

    async def run(self, interval_s: float = 1.0) -> None:
        """`flush` on news, and every ``interval_s`` seconds; once more when cancelled."""
        try:
            while True:
                await self._wait(interval_s)
                try:
                    await self.flush()
                except Unavailable:
                    log.warning("alerts cannot be written now", exc_info=True)
                    await asyncio.sleep(interval_s)
        finally:
            await self._last(interval_s)

    async def _wait(self, interval_s: float) -> None:
        try:
            async with asyncio.timeout(interval_s):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def _last(self, seconds: float) -> None:
        self._written.clear()  # repetitions too
        try:
            async with asyncio.timeout(seconds):
                await self.flush()
        except (Unavailable, TimeoutError):
            log.warning("%d alerts were not written", len(self._pending))

    async def flush(self) -> None:
        """Write what is due.

        Raises:
            StoreUnavailable: what was not written is kept.
        """
        now_ms = self._clock.now_ms()
        for key in [k for k, at_ms in self._written.items() if now_ms - at_ms >= FOLD_MS]:
            del self._written[key]
        for key in [k for k in self._pending if k not in self._written]:
            pending = self._pending.pop(key)
            try:
                await self._write(key, pending)
            except Unavailable:
                later = self._pending.setdefault(key, pending)
                if later is not pending:
                    later.count, later.first_ms = later.count + pending.count, pending.first_ms
                raise
            self._written[key] = now_ms

    async def _write(self, key: tuple[str, str], pending: _Pending) -> None:
        kind, subject = key
        params: dict[str, SqlValue] = {
            "alert_id": new_id(ALERT),
            "kind": kind,
            "subject": subject,
            "severity": pending.severity.value,
            "evidence": msgspec.json.encode(pending.evidence, order="sorted").decode(),
            "count": pending.count,
            "first_ms": pending.first_ms,
            "last_ms": pending.last_ms,
        }
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action="alert.raised",
            outcome=Outcome.SUCCESS,
            decision_reasons=(kind, subject, pending.severity.value, f"count {pending.count}"),
        )
        await self._store.commit(UnitOfWork((Statement("alert_fold", params),), (event,)))


class AlertDesk:
    """What operators see of alerts, and do about them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def list(self, state: str | None, cursor: str | None, limit: int) -> Page[Alert]:
        """Alerts by their latest occurrence, newest first; those not closed unless asked.

        Raises:
            Malformed: no such state, or not a cursor of this list.
        """
        if state is not None and state not in STATES:
            raise Malformed("malformed_query", f"state is one of {', '.join(STATES)}")
        at_ms, last = decode_cursor(cursor) if cursor is not None else _NEWEST
        params: dict[str, SqlValue] = {
            "state": state,
            "before_ms": at_ms,
            "before_id": last,
            "limit": page_size(limit) + 1,
        }
        rows = await self._store.fetch("alerts_page", params)
        found = [alert_of(row) for row in rows]
        return cut(found, limit, lambda alert: (alert.last_ms, alert.alert_id))

    async def show(self, alert_id: str) -> Alert:
        """One alert.

        Raises:
            NotFound: there is none of this id.
        """
        row = None
        if is_minted(alert_id, ALERT):
            row = await self._store.fetch_one("alert_by_id", {"alert_id": alert_id})
        if row is None:
            raise NotFound("no_such_alert", "there is no such alert")
        return alert_of(row)

    async def acknowledge(self, alert_id: str, actor: str, note: str) -> Alert:
        """Somebody looks into it. More occurrences add to it.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is not open.
        """
        return await self._handle("acknowledged", "alert_acknowledge", alert_id, actor, note)

    async def close(self, alert_id: str, actor: str, note: str) -> Alert:
        """It is dealt with. The next occurrence is a new alert.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is closed already.
        """
        return await self._handle("closed", "alert_close", alert_id, actor, note)

    async def _handle(
        self, state: str, statement: str, alert_id: str, actor: str, note: str
    ) -> Alert:
        if len(note) > MAX_NOTE:
            raise Malformed("malformed_note", f"a note has at most {MAX_NOTE} characters")
        found = await self.show(alert_id)
        now_ms = self._clock.now_ms()
        params: dict[str, SqlValue] = {
            "alert_id": alert_id,
            "handled_by": actor,
            "handled_ms": now_ms,
            "note": note,
        }
        event = Event(
            timestamp_ms=now_ms,
            action=f"alert.{state}",
            outcome=Outcome.SUCCESS,
            decision_reasons=tuple(r for r in (alert_id, found.kind, found.subject, note) if r),
            actor_chain=(actor,),
        )
        try:
            await self._store.commit(UnitOfWork((Statement(statement, params),), (event,)))
        except GuardFailed:
            raise Conflict("alert_handled", "somebody has dealt with it: read it again") from None
        return await self.show(alert_id)


def alert_of(row: Row) -> Alert:
    """The alert in a row."""
    by, at_ms, note = row["handled_by"], row["handled_ms"], row["note"]
    return Alert(
        text(row, "alert_id"),
        text(row, "kind"),
        text(row, "subject"),
        text(row, "severity"),
        text(row, "evidence"),
        text(row, "state"),
        number(row, "count"),
        number(row, "first_ms"),
        number(row, "last_ms"),
        by if isinstance(by, str) else None,
        at_ms if isinstance(at_ms, int) else None,
        note if isinstance(note, str) else None,
    )
