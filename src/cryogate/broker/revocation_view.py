"""What is revoked, as this process knows it: a polled feed in memory.

 (1) `refresh` reads the feed behind the highest ``rev_seq`` seen, and a window before it
 (2) only after a whole read does the view count as fresh
 (3) `revoked` answers from memory, and refuses to when the view is older than its bound (R3)

Why nothing is missed: a writer draws its ``rev_seq`` only while it holds a lock that it keeps
until its commit is visible (``revocation_order`` in revocations.sql), so no lower number appears
after a higher one. The window before the cursor is read again all the same: a row put in by hand,
without that lock, is then still seen if no more than `WINDOW` revocations overtook it.

Age is measured on a monotonic clock, because a wall clock that is set back would make an old
view look fresh.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from cryogate.broker.rows import number, text
from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView, RevokedKind, StaleRevocations, Subject
from cryogate.ports.store import ReadStore

log = logging.getLogger("cryogate.broker")

WINDOW: Final = 64
_PAGE: Final = 1000
_PRUNE_EVERY_MS: Final = 60_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class FollowedRevocations(RevocationView):
    """The view of one process. ``max_age_ms`` is the staleness bound."""

    def __init__(
        self,
        store: ReadStore,
        clock: Clock,
        *,
        max_age_ms: int = 5000,
        monotonic_ms: Callable[[], int] = _monotonic_ms,
    ) -> None:
        self._store, self._clock, self._monotonic_ms = store, clock, monotonic_ms
        self._max_age_ms = max_age_ms
        self._fresh_ms: int | None = None
        self._cursor = 0
        # kind → subject → (revoked at, forget after)
        self._known: dict[RevokedKind, dict[str, tuple[int, int]]] = {k: {} for k in RevokedKind}
        self._prune_ms = 0
        self._reading = asyncio.Lock()
        self._wake = asyncio.Event()

    def revoked(self, subject: Subject) -> RevokedKind | None:
        """See `RevocationView.revoked`."""
        if self._fresh_ms is None or self._monotonic_ms() - self._fresh_ms > self._max_age_ms:
            raise StaleRevocations("the view of revocations is too old")  # (3)
        known, issued_ms = self._known, subject.issued_ms
        if subject.token_id in known[RevokedKind.TOKEN]:
            return RevokedKind.TOKEN
        if subject.session_id is not None and subject.session_id in known[RevokedKind.SESSION]:
            return RevokedKind.SESSION
        for kind, name in (
            (RevokedKind.AGENT, subject.agent_id),
            (RevokedKind.EXPERIMENT, subject.experiment_id),
            (RevokedKind.OWNER, subject.owner),
            (RevokedKind.ALL, "*"),
        ):
            entry = known[kind].get(name)
            if entry is not None and issued_ms <= entry[0]:
                return kind
        return None

    async def refresh(self) -> None:
        """See `RevocationView.refresh`.

        Raises:
            StoreUnavailable: the feed could not be read; the view ages meanwhile.
        """
        # One read at a time; who waited here began before that read may have, so reads again.
        async with self._reading:
            # Taken before the read, so the view never counts as fresher than what it saw.
            began_ms = self._monotonic_ms()
            await self._read()
            self._fresh_ms = began_ms  # (2)

    async def follow(self, interval_s: float) -> None:
        """Refresh every ``interval_s`` seconds, and at once on `nudge`, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.refresh()
            except Unavailable:
                log.warning("the revocation feed cannot be read", exc_info=True)
            try:
                async with asyncio.timeout(interval_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def nudge(self) -> None:
        """Have `follow` read now, for instance when another process notified."""
        self._wake.set()

    async def _read(self) -> None:
        now_ms = self._clock.now_ms()
        after = max(0, self._cursor - WINDOW)  # (1)
        while True:
            rows = await self._store.fetch(
                "revocations_after", {"after": after, "now_ms": now_ms, "limit": _PAGE}
            )
            for row in rows:
                after = number(row, "rev_seq")
                kind = RevokedKind(text(row, "kind"))
                self._learn(kind, text(row, "subject"), number(row, "created_ms"),
                            number(row, "until_ms"))  # fmt: skip
            self._cursor = max(self._cursor, after)
            if len(rows) < _PAGE:
                break
        if now_ms >= self._prune_ms:
            self._prune_ms = now_ms + _PRUNE_EVERY_MS
            for entries in self._known.values():
                for name in [n for n, (_, until_ms) in entries.items() if until_ms <= now_ms]:
                    del entries[name]

    def _learn(self, kind: RevokedKind, subject: str, at_ms: int, until_ms: int) -> None:
        old_at_ms, old_until_ms = self._known[kind].get(subject, (at_ms, until_ms))
        self._known[kind][subject] = (max(at_ms, old_at_ms), max(until_ms, old_until_ms))
