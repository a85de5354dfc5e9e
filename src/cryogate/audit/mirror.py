"""A copy of the log in a bucket whose objects nobody can remove for a time (S3 Object Lock).

(1) A bucket without Object Lock is not written to: a copy that can be removed was not asked for.
(2) Every object is written with a retention of its own, in COMPLIANCE mode, and counts only when
    the bucket has answered with a version of it.
(3) The place moves only over tiles that were acknowledged; what is written twice is the same again.
(4) The head comes last: under a head that lies in the bucket, all of its tiles lie there too.

The layout is C2SP tlog-tiles, so whatever verifies a log reads it. `heads/` keeps every mirrored
head beside `checkpoint`, which a later version replaces.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryogate.audit.checkpoint import peek_checkpoint
from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.nodes import ROW_LEVELS, TILE_WIDTH
from cryogate.audit.note import NoteVerifier
from cryogate.audit.tiles import TilePath, TileServer
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Unavailable
from cryogate.outbound.fetcher import Answer
from cryogate.outbound.s3 import Bucket
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.audit")
#: Entries between two moves of the place, while much is to be caught up with.
STRIDE: Final = 16 * TILE_WIDTH
_LEASE_MS: Final = 120_000
_LOOK_S: Final = 2.0
_RETRY_MS: Final = 30_000
_TILE, _TEXT = "application/octet-stream", "text/plain; charset=utf-8"


class MirrorFailed(Unavailable):
    """The bucket did not take the log's copy. The message says why."""


class Mirror:
    """``head`` gives the head that others are shown; ``name`` is that of its place."""

    def __init__(
        self,
        name: str,
        bucket: Bucket,
        tiles: TileServer,
        head: Callable[[], bytes | None],
        *,
        keys: tuple[NoteVerifier, ...],
        store: Store,
        clock: Clock,
        alerts: Alerts,
        holder: str,
        every_ms: int,
        retention_days: int,
        alert_ms: int,
    ) -> None:
        self._name, self._bucket, self._tiles, self._head = name, bucket, tiles, head
        self._keys, self._store, self._clock, self._alerts = keys, store, clock, alerts
        self._holder, self._every_ms, self._alert_ms = holder, every_ms, alert_ms
        self._retention = timedelta(days=retention_days)
        self._locked = False
        self._next_ms = 0
        self._late_since_ms: int | None = None
        self.trouble: str | None = None

    @property
    def late_ms(self) -> int:
        """For how long the copy has been behind without getting on; 0 if it is not."""
        since = self._late_since_ms
        return 0 if since is None else max(0, self._clock.now_ms() - since)

    @property
    def name(self) -> str:
        """That of its place among those of the sinks."""
        return self._name

    async def run(self) -> None:
        """`round` again and again until cancelled."""
        while True:
            try:
                await self.round()
            except (Unavailable, LogIntegrityError):
                log.warning("the log cannot be mirrored now", exc_info=True)
            await asyncio.sleep(_LOOK_S)

    async def round(self) -> bool:
        """Bring the copy up to the present head, if it is time; whether it is up to date.

        Raises:
            LogIntegrityError: what is stored is not what was logged.
            StoreUnavailable: the database did not answer.
        """
        note, now_ms = self._head(), self._clock.now_ms()
        size = 0 if note is None else peek_checkpoint(note).size
        if note is None or not size or now_ms < self._next_ms:
            return False
        place = await self._held(now_ms)
        if place is None:
            self._late_since_ms = None
            return False  # another replica mirrors, and it is its business to be late
        if place >= size:
            self._late_since_ms = None
            return True
        if self._late_since_ms is None:
            self._late_since_ms = now_ms
        try:
            await self._check_lock()  # (1)
            while place < size:
                upto = min(size, place + STRIDE)
                await self._bring(place, upto, note if upto == size else None)
                place = await self._move(place, upto)
        except MirrorFailed as error:
            self._failed(str(error))
            return False
        self.trouble, self._late_since_ms = None, None
        self._next_ms = self._clock.now_ms() + self._every_ms
        return True

    async def _bring(self, old: int, new: int, note: bytes | None) -> None:
        for tile in full_tiles(old, new):
            try:
                content = await self._tiles.tile(tile, new)
            except NotInLog:
                if tile.row is None:
                    continue  # pruned before this mirror began; its hashes are mirrored
                raise
            await self._put(str(tile).lstrip("/"), content, _TILE)
        if note is None:
            return
        for tile in partial_tiles(new):
            await self._put(str(tile).lstrip("/"), await self._tiles.tile(tile, new), _TILE)
        await self._put("vkey", "".join(f"{key.vkey()}\n" for key in self._keys).encode(), _TEXT)
        await self._put(f"heads/{new:016}", note, _TEXT)
        await self._put("checkpoint", note, _TEXT)  # (4)

    async def _put(self, key: str, body: bytes, kind: str) -> None:
        until = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC) + self._retention
        headers = {
            "content-type": kind,
            # S3 demands a digest of its own for what it locks
            "content-md5": base64.b64encode(
                hashlib.md5(body, usedforsecurity=False).digest()
            ).decode(),
            "x-amz-object-lock-mode": "COMPLIANCE",
            "x-amz-object-lock-retain-until-date": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        try:
            answer = await self._bucket.put(key, body, headers)
        except Exception as error:
            raise MirrorFailed(f"no answer ({type(error).__name__})") from error
        version = answer.headers.get("x-amz-version-id", "null")
        if answer.status != 200 or version == "null":  # (2)
            raise MirrorFailed(f"it answers {answer.status} to {key}, version {version[:64]}")

    async def _check_lock(self) -> None:
        if self._locked:
            return
        try:
            answer: Answer = await self._bucket.about("object-lock")
        except Exception as error:
            raise MirrorFailed(f"no answer ({type(error).__name__})") from error
        if answer.status != 200 or b"<ObjectLockEnabled>Enabled<" not in answer.body:
            raise MirrorFailed(f"the bucket has no Object Lock (it answers {answer.status})")
        self._locked = True

    async def _held(self, now_ms: int) -> int | None:
        """The place, if this process may move it; (3) rests on `_move`, not on the lease."""
        begin: dict[str, SqlValue] = {"name": self._name, "position": 0}
        hold: dict[str, SqlValue] = {
            "name": self._name,
            "holder": self._holder,
            "now_ms": now_ms,
            "lease_ms": now_ms + _LEASE_MS,
        }
        work = (Statement("sink_begin", begin, None), Statement("sink_hold", hold))
        try:
            await self._store.commit(UnitOfWork(work))
        except GuardFailed:
            return None
        row = await self._store.fetch_one("sink_place", {"name": self._name})
        return int(row["position"] or 0) if row else None

    async def _move(self, seen: int, position: int) -> int:
        params: dict[str, SqlValue] = {
            "name": self._name,
            "holder": self._holder,
            "seen": seen,
            "position": position,
            "lease_ms": self._clock.now_ms() + _LEASE_MS,
        }
        try:
            await self._store.commit(UnitOfWork((Statement("sink_move", params),)))
        except GuardFailed as error:
            raise MirrorFailed("another replica has taken over") from error
        return position

    def _failed(self, said: str) -> None:
        if said != self.trouble:
            log.warning("the log was not mirrored: %s", said)
        self.trouble = said
        self._next_ms = self._clock.now_ms() + _RETRY_MS
        if self.late_ms >= self._alert_ms:
            evidence: dict[str, Scalar] = {"minutes": self.late_ms // 60_000, "said": said[:200]}
            self._alerts.tell("mirror_late", self._name[:256], Severity.HIGH, evidence)


def full_tiles(old: int, new: int) -> Iterator[TilePath]:
    """Tiles and bundles that are full in the tree of ``new`` and were not in the one of ``old``."""
    for row in (None, 0, 1, 2, 3, 4, 5, 6):
        level = ROW_LEVELS * (row or 0)
        for index in range((old >> level) // TILE_WIDTH, (new >> level) // TILE_WIDTH):
            yield TilePath(row, index)


def partial_tiles(size: int) -> Iterator[TilePath]:
    """The tile of each row, and the bundle, that is not full in the tree of ``size``."""
    for row in (None, 0, 1, 2, 3, 4, 5, 6):
        index, width = divmod(size >> (ROW_LEVELS * (row or 0)), TILE_WIDTH)
        if width:
            yield TilePath(row, index, width)
