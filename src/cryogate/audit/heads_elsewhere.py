"""The second copy of the log's head in another database, or in an object store.

Either compares and swaps in one step of its own, so that of two signers one finds another head
there: a database by a guarded statement, an object store by conditional writes (``If-Match`` on the
ETag that was read, ``If-None-Match: *`` for the first). A store that ignores conditions would let
two histories pass; it is found out and refused at start.
"""

from __future__ import annotations

from cryogate.audit.checkpoint import peek_checkpoint
from cryogate.audit.errors import HeadConflict, HeadUnavailable, LogIntegrityError, NoteRefused
from cryogate.audit.heads import HeadStore
from cryogate.audit.note import MAX_NOTE_BYTES
from cryogate.domain.errors import Unavailable
from cryogate.outbound.fetcher import Answer
from cryogate.outbound.s3 import Bucket
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

_HEAD, _PROBE = "head", "head.probe"
_TYPE = {"content-type": "text/plain; charset=utf-8"}


class TableHeadStore(HeadStore):
    """A row of another database, one for each log."""

    def __init__(self, store: Store, origin: str) -> None:
        self._store = store
        self._origin = origin

    async def open(self) -> None:
        """See `HeadStore.open`."""
        await self._store.open()

    async def close(self) -> None:
        """See `HeadStore.close`."""
        await self._store.close()

    async def read(self) -> bytes | None:
        """See `HeadStore.read`."""
        try:
            row = await self._store.fetch_one("log_head", {"origin": self._origin})
        except Unavailable as error:
            raise HeadUnavailable("the second copy of the log's head cannot be read") from error
        return None if row is None else str(row["note"]).encode()

    async def advance(self, expected: bytes | None, note: bytes) -> None:
        """See `HeadStore.advance`."""
        params: dict[str, SqlValue] = {
            "origin": self._origin,
            "size": peek_checkpoint(note).size,
            "note": note.decode(),
        }
        if expected is None:
            change = Statement("log_head_first", params)
        else:
            before = expected.decode(errors="replace")
            change = Statement("log_head_advance", {**params, "expected": before})
        try:
            await self._store.commit(UnitOfWork((change,)))
        except GuardFailed as error:
            raise HeadConflict("another head is there, or it would go back") from error
        except Unavailable as error:
            raise HeadUnavailable("the second copy of the log's head cannot be written") from error


class BucketHeadStore(HeadStore):
    """An object; its ETag is what is compared."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        # What we last saw, so that a head costs one call; a stale ETag is refused by the store.
        self._seen: tuple[bytes, str] | None = None

    async def open(self) -> None:
        """See `HeadStore.open`."""
        first = {**_TYPE, "if-none-match": "*"}
        await self._put(_PROBE, b"conditions\n", first)
        for condition in (first, {**_TYPE, "if-match": '"0123456789abcdef0123456789abcdef"'}):
            answer = await self._put(_PROBE, b"conditions\n", condition)
            if answer.status not in (409, 412):
                raise LogIntegrityError(
                    f"audit.heads: the object store answers {answer.status} to a write whose "
                    f"condition does not hold, so it cannot keep the log's head. Use one with "
                    f"conditional writes (If-Match, If-None-Match), a database or a directory."
                )

    async def read(self) -> bytes | None:
        """See `HeadStore.read`."""
        try:
            answer = await self._bucket.get(_HEAD)
        except Exception as error:
            raise HeadUnavailable("the object store does not answer") from error
        if answer.status == 404:
            self._seen = None
            return None
        etag = answer.headers.get("etag", "")
        if answer.status != 200 or not etag:
            raise HeadUnavailable(f"the object store answers {answer.status} to who reads the head")
        self._seen = answer.body[: MAX_NOTE_BYTES + 1], etag
        return self._seen[0]

    async def advance(self, expected: bytes | None, note: bytes) -> None:
        """See `HeadStore.advance`."""
        size = peek_checkpoint(note).size
        known = self._seen is not None and self._seen[0] == expected
        if not known and await self.read() != expected:
            raise HeadConflict("another head has been written in the meantime")
        condition = {"if-none-match": "*"}
        if self._seen is not None:
            try:
                if peek_checkpoint(self._seen[0]).size >= size:
                    raise HeadConflict("the log's head never goes back")
            except NoteRefused as error:
                raise HeadConflict("the head that is there is damaged") from error
            condition = {"if-match": self._seen[1]}
        self._seen = None  # unknown until the store has answered
        answer = await self._put(_HEAD, note, {**_TYPE, **condition})
        if answer.status in (404, 409, 412):
            raise HeadConflict("another head has been written in the meantime")
        etag = answer.headers.get("etag", "")
        if answer.status not in (200, 201, 204):
            raise HeadUnavailable(f"the object store answers {answer.status} to the log's head")
        self._seen = (note, etag) if etag else None

    async def _put(self, key: str, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            return await self._bucket.put(key, body, headers)
        except Exception as error:
            raise HeadUnavailable("the object store does not answer") from error
