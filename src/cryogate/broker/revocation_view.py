"""What is revoked, as this process knows it: a polled feed in memory.

 (0) where there are other replicas, they are told that this one lives, when that is due
 (1) `refresh` reads the feed behind the highest ``rev_seq`` seen, and a window before it
 (2) only after a whole read does the view count as fresh
 (3) `revoked` answers from memory, and refuses to when the view is older than its bound (R3)
 (4) others are told how far this replica has come, and who follows the view hears of it

`heard` takes in what another process told a moment ago, without a read: to enforce a revocation
early is never wrong. What a notice says is not counted as read: only (1) moves the cursor.

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
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from cryogate.broker.replicas import Replicas, monotonic_ms
from cryogate.broker.rows import number, text
from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView, RevokedKind, StaleRevocations, Subject
from cryogate.ports.store import ReadStore

log = logging.getLogger("cryogate.broker")

CHANNEL: Final = "cryogate_revocations"
WINDOW: Final = 64
_PAGE: Final = 1000
_PRUNE_EVERY_MS: Final = 60_000
_Bounded = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
# rev_seq, kind, subject, revoked at, forget after: see revocations.sql
_notice: Final = msgspec.json.Decoder(tuple[_Bounded, RevokedKind, str, _Bounded, _Bounded])


class FollowedRevocations(RevocationView):
    """The view of one process. ``max_age_ms`` is the staleness bound, ``replicas`` this
    process's row among others, where there may be others.
    """

    def __init__(
        self,
        store: ReadStore,
        clock: Clock,
        *,
        max_age_ms: int = 2000,
        replicas: Replicas | None = None,
        monotonic_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._store, self._clock, self._monotonic_ms = store, clock, monotonic_ms
        self._max_age_ms, self._replicas = max_age_ms, replicas
        self._fresh_ms: int | None = None
        self._told_ms: int | None = None
        self._told_seq = -1
        self._followers: list[Callable[[], None]] = []
        self._learned = 0
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
        if subject.key in known[RevokedKind.KEY]:
            return RevokedKind.KEY
        for ancestor in subject.ancestors:
            if ancestor in known[RevokedKind.TOKEN]:
                return RevokedKind.TOKEN
        for delegator in subject.delegators:
            entry = known[RevokedKind.AGENT].get(delegator)
            if entry is not None and issued_ms <= entry[0]:
                return RevokedKind.AGENT
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
            learned = self._learned
            told_ms = await self._tell_if_due()  # (0)
            # Taken before the read, so the view never counts as fresher than what it saw.
            began_ms = self._monotonic_ms()
            await self._read()
            self._fresh_ms = began_ms if told_ms is None else min(began_ms, told_ms)  # (2)
            if self._replicas is not None and self._cursor > self._told_seq:  # (4)
                await self._confirm(self._replicas)
        if self._learned != learned:
            self._announce()

    async def _tell_if_due(self) -> int | None:
        if self._replicas is None:
            return None
        now_ms = self._monotonic_ms()
        if self._told_ms is None or now_ms - self._told_ms >= self._max_age_ms // 4:
            self._told_ms = None
            await self._replicas.beat(self._cursor)
            self._told_ms, self._told_seq = now_ms, self._cursor
        return self._told_ms

    async def _confirm(self, replicas: Replicas) -> None:
        cursor = self._cursor
        try:
            known = await replicas.confirm(cursor)
        except Unavailable:
            return  # told again with the next read; the age of the row decides meanwhile
        if known:
            self._told_seq = cursor
        else:
            # Somebody took this replica for dead: nothing is accepted before it is known again.
            self._fresh_ms = self._told_ms = None
            self.nudge()

    def subscribe(self, follower: Callable[[], None]) -> None:
        """Have ``follower`` called whenever something more is revoked. It must be quick."""
        self._followers.append(follower)

    def heard(self, payload: str) -> None:
        """Take in a notice of another process, and have `follow` read now. Never raises."""
        learned = self._learned
        try:
            _, kind, subject, at_ms, until_ms = _notice.decode(payload)
            self._learn(kind, subject, at_ms, until_ms)
        except (msgspec.MsgspecError, UnicodeEncodeError):
            log.debug("a notice that says only that there is something")
        self.nudge()
        if self._learned != learned:
            self._announce()

    def _announce(self) -> None:
        for follower in self._followers:
            try:
                follower()
            except Exception:
                log.exception("a follower of revocations failed")

    def age_ms(self) -> int | None:
        """How old the view is; None before the feed was read for the first time."""
        return None if self._fresh_ms is None else self._monotonic_ms() - self._fresh_ms

    @property
    def version(self) -> int:
        """Changes whenever something more is revoked."""
        return self._learned

    @property
    def enforced_seq(self) -> int:
        """Up to which revocation the feed has been read."""
        return self._cursor

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
        old = self._known[kind].get(subject, (0, 0))
        new = (max(at_ms, old[0]), max(until_ms, old[1]))
        if new != old:
            self._known[kind][subject] = new
            self._learned += 1
