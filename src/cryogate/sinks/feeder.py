"""Feeds one sink from the log, beside everything else and in nobody's way.

(1) The log is the queue. Entries are read by ``seq``, which has no gaps and no late arrivals, so
    a receiver that is slow or gone costs a later read and nothing else: no request waits, and
    nothing grows in memory.
(2) The place is moved only after the sink has acknowledged, by a guarded update. Whoever dies
    in between sends the same entries again.
(3) One process holds a sink at a time, by a lease that it renews as it moves. A holder that is
    late finds its guard failing and stops; the receiver may have seen an entry twice.
(4) After a broken connection, and at the start, a sink whose protocol has no acknowledgement is
    sent its last `Sink.overlap` entries again.
(5) A batch that is refused is halved until one entry is left. That one becomes a dead letter,
    together with the move, and somebody is told; it stays in the log, under its number. A
    receiver that refuses entry after entry is broken itself: nothing more is given up.
(6) A dead letter that an operator asks for again is offered alone, now and then, beside the rest.
    Taken, it is none any more; refused, it waits for the next operator; both are events.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import CryogateError
from cryogate.domain.events import Event, Outcome
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.sinks import Entry, EntryRefused, Sink, SinkUnavailable
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.sinks")

ReadEntries = Callable[[int, int], Awaitable[Sequence[Entry]]]
LEASE_MS: Final = 120_000
DELIVER_S: Final = 60.0
MAX_REFUSED: Final = 20
TOLD_AFTER: Final = 4
LETTERS_MS: Final = 5_000
_LETTERS: Final = 20
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0


@dataclass(slots=True)
class SinkState:
    """What is known of a sink here: for metrics, never for decisions."""

    position: int = 0
    failures: int = 0
    delivered: int = 0
    buried: int = 0
    holding: bool = False


class Feeder:
    """Feeds ``sink`` under ``name``; `run` until cancelled."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        store: Store,
        clock: Clock,
        read: ReadEntries,
        alerts: Alerts,
        holder: str,
        from_start: bool = True,
    ) -> None:
        self.name, self.state = name, SinkState()
        self._sink, self._store, self._clock = sink, store, clock
        self._read, self._alerts, self._holder = read, alerts, holder
        self._from_start = from_start
        self._place: int | None = None
        self._renew_ms = self._since_ms = self._letters_ms = 0
        self._refused = 0

    async def run(self, interval_s: float = 0.5) -> None:
        """Feed until cancelled. Nothing that goes wrong ends it."""
        try:
            while True:
                more = await self._turn()
                await asyncio.sleep(0 if more else self._pause(interval_s))
        finally:
            await self._sink.close()

    def _pause(self, interval_s: float) -> float:
        if not self.state.failures:
            return interval_s
        wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * (1 << min(self.state.failures - 1, 16)))
        return wait * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, hides nothing

    async def _turn(self) -> bool:
        try:
            return await self.feed_once()
        except CryogateError as error:
            await self.failed(error)
        except Exception as error:
            log.exception("sink %s", self.name)
            await self.failed(error)
        return False

    async def failed(self, error: Exception) -> None:
        """Count a failure, tell of it, and begin the connection anew."""
        self.state.failures += 1
        self._place = None  # (4)
        log.warning("sink %s: %s", self.name, error)
        if self.state.failures >= TOLD_AFTER:
            trouble = str(error)[:200] or type(error).__name__
            self._alerts.tell("sink_failing", self.name, Severity.HIGH, {"trouble": trouble})
        try:
            await self._sink.close()
        except Exception:
            log.warning("sink %s does not close", self.name, exc_info=True)

    async def feed_once(self) -> bool:
        """Deliver one batch; whether there was one.

        Raises:
            SinkUnavailable: it was not taken.
            CryogateError: the log cannot be read; nothing was sent.
        """
        if not await self._held():
            return False
        await self._again()
        place = await self._store.fetch_one("sink_place", {"name": self.name})
        acknowledged = int(place["position"] or 0) if place else 0
        self.state.position = acknowledged
        if self._place is None:
            self._place = max(0, acknowledged - self._sink.overlap)  # (4)
        entries = await self._read(self._place, self._sink.batch)  # (1)
        if not entries:
            await self._sink.check()
            self.state.failures = 0
            return False
        if self._lingers(len(entries)):
            return False
        await self._deliver(entries)
        self.state.failures = 0
        return True

    def _lingers(self, count: int) -> bool:
        now_ms = self._clock.now_ms()
        if count < self._sink.batch and now_ms < self._since_ms + self._sink.linger_ms:
            return True
        self._since_ms = now_ms
        return False

    async def _held(self) -> bool:
        now_ms = self._clock.now_ms()
        if self.state.holding and self._place is not None and now_ms < self._renew_ms:
            return True
        hold: dict[str, SqlValue] = {"name": self.name, "holder": self._holder, "now_ms": now_ms,
                "lease_ms": now_ms + LEASE_MS}  # fmt: skip
        try:
            await self._begin()
            await self._commit(Statement("sink_hold", hold))
        except GuardFailed:
            self.state.holding, self._place = False, None
            return False  # (3) another process feeds it
        self.state.holding, self._renew_ms = True, now_ms + LEASE_MS // 4
        return True

    async def _begin(self) -> None:
        first = 0
        if not self._from_start:
            end = await self._store.fetch_one("log_size", {})
            first = int(end["size"] or 0) if end else 0
        begin: dict[str, SqlValue] = {"name": self.name, "position": first}
        await self._commit(Statement("sink_begin", begin, rows=None))

    async def _offer(self, entries: Sequence[Entry]) -> None:
        try:
            async with asyncio.timeout(DELIVER_S):
                await self._sink.deliver(entries)
        except TimeoutError as error:
            raise SinkUnavailable("no acknowledgement in time") from error

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        try:
            await self._offer(entries)
        except EntryRefused as refusal:
            await self._divide(entries, refusal)  # (5)
            return
        self._refused = 0
        self.state.delivered += len(entries)
        await self._move(entries[-1].seq + 1)

    async def _divide(self, entries: Sequence[Entry], refusal: EntryRefused) -> None:
        if len(entries) > 1:
            half = len(entries) // 2
            await self._deliver(entries[:half])
            await self._deliver(entries[half:])
            return
        if self._refused >= MAX_REFUSED:
            raise SinkUnavailable(f"refuses every entry: {refusal}")
        self._refused += 1
        seq = entries[0].seq
        log.error("sink %s will never take entry %d: %s", self.name, seq, refusal)
        bury: dict[str, SqlValue] = {"name": self.name, "seq": seq, "reason": str(refusal)[:200],
                "now_ms": self._clock.now_ms()}  # fmt: skip
        await self._move(seq + 1, Statement("sink_bury", bury, rows=None))
        self.state.buried += 1
        evidence: dict[str, Scalar] = {"seq": seq, "reason": str(refusal)[:200]}
        self._alerts.tell("sink_dead_letter", self.name, Severity.HIGH, evidence)

    async def _again(self) -> None:
        """(6)"""
        now_ms = self._clock.now_ms()
        if now_ms < self._letters_ms:
            return
        # not at once again: a letter that breaks the connection must not stop what comes after it
        self._letters_ms = now_ms + 6 * LETTERS_MS
        asked: dict[str, SqlValue] = {"name": self.name, "limit": _LETTERS}
        for row in await self._store.fetch("sink_letters_asked", asked):
            await self._redeliver(int(row["seq"] or 0))
        self._letters_ms = now_ms + LETTERS_MS

    async def _redeliver(self, seq: int) -> None:
        params: dict[str, SqlValue] = {"name": self.name, "seq": seq, "holder": self._holder}
        statement, outcome, why = "sink_letter_delivered", Outcome.SUCCESS, ""
        try:
            entries = await self._read(seq, 1)
            if not entries or entries[0].seq != seq:
                raise EntryRefused("the log has this entry no more")
            await self._offer(entries)
            self.state.delivered += 1
        except EntryRefused as refusal:
            statement, outcome, why = "sink_letter_refused", Outcome.REFUSED, str(refusal)[:200]
            params["reason"] = why
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action="sink.redelivered" if outcome is Outcome.SUCCESS else "sink.refused_again",
            outcome=outcome,
            decision_reasons=tuple(r for r in (self.name, f"entry {seq}", why) if r),
        )
        try:
            await self._store.commit(UnitOfWork((Statement(statement, params),), (event,)))
        except GuardFailed:
            log.warning("sink %s: dead letter %d is not ours any more", self.name, seq)

    async def _move(self, past: int, *others: Statement) -> None:
        self._place = past
        seen = self.state.position
        if past <= seen:
            if others:
                await self._commit(*others)
            return  # sent again, acknowledged before
        move: dict[str, SqlValue] = {
            "name": self.name,
            "position": past,
            "seen": seen,
            "holder": self._holder,
            "lease_ms": self._clock.now_ms() + LEASE_MS,
        }
        try:
            await self._commit(Statement("sink_move", move), *others)  # (2)
        except GuardFailed as error:
            self.state.holding = False
            raise SinkUnavailable("another process has taken this sink over") from error
        self.state.position = past

    async def _commit(self, *statements: Statement) -> None:
        await self._store.commit(UnitOfWork(statements))
