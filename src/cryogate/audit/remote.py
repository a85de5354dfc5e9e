"""A log as somebody serves it: C2SP tiles behind a function that fetches one path.

The served checkpoint says how far to look and nothing more; it is verified like every other head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cryogate.audit.checkpoint import peek_checkpoint
from cryogate.audit.errors import LogIntegrityError, NoteRefused
from cryogate.audit.merkle import HASH_BYTES
from cryogate.audit.nodes import ROW_LEVELS, TILE_WIDTH, TreeReader
from cryogate.audit.sources import FoundEntry, LogSource, entries_of, hashes_of
from cryogate.audit.tiles import TilePath, decode_bundle

#: Gives the bytes at a path such as ``checkpoint`` or ``tile/0/000``; None if there are none.
Get = Callable[[str], bytes | None]


class RemoteSource(LogSource):
    """A served log. One connection, one tile after the other."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._head: bytes | None = None
        self._size: int | None = None
        self._inner: tuple[TilePath, bytes] | None = None

    async def checkpoint(self) -> bytes | None:
        """See `LogSource`."""
        if self._head is None:
            self._head = await self._fetch("checkpoint")
        return self._head

    async def notes(self, first: int, past: int) -> list[tuple[int, bytes]]:
        """A server shows its newest head only."""
        return []

    async def size(self) -> int:
        """What the served head claims."""
        if self._size is None:
            head = await self.checkpoint()
            try:
                self._size = 0 if head is None else peek_checkpoint(head).size
            except NoteRefused:
                self._size = 0
        return self._size

    async def entries(self, first: int, past: int) -> list[FoundEntry]:
        """See `LogSource`."""
        index = first // TILE_WIDTH
        content = await self._tile(None, index)
        if content is None:
            return []
        try:
            bundle = decode_bundle(content)
        except ValueError:
            return []
        kept = await self._tile(0, index) or b""
        return entries_of(bundle, kept, first, past)

    async def leaves(self, first: int, past: int) -> list[bytes]:
        """See `LogSource`."""
        return hashes_of(await self._tile(0, first // TILE_WIDTH) or b"", first, past)

    async def inner(self, row: int, position: int) -> bytes | None:
        """See `LogSource`."""
        index, offset = divmod(position, TILE_WIDTH)
        content = await self._tile(row, index) or b""
        value = content[offset * HASH_BYTES : (offset + 1) * HASH_BYTES]
        return value if len(value) == HASH_BYTES else None

    async def strays(self) -> int:
        """Tiles have no room for any."""
        return 0

    async def hashes(self, row: int, index: int) -> bytes:
        """A tile of hashes as it is served, as wide as the served head has it."""
        return await self._tile(row, index) or b""

    async def _tile(self, row: int | None, index: int) -> bytes | None:
        width = (await self.size() >> (ROW_LEVELS * (row or 0))) - index * TILE_WIDTH
        if width <= 0:
            return None
        path = TilePath(row, index, width if width < TILE_WIDTH else None)
        if self._inner is not None and self._inner[0] == path:
            return self._inner[1]
        content = await self._fetch(str(path).lstrip("/"))
        if row and content is not None:
            # Inner tiles are asked for hash by hash.
            self._inner = path, content
        return content

    async def _fetch(self, path: str) -> bytes | None:
        return await asyncio.to_thread(self._get, path)


class ServedTree(TreeReader):
    """Proofs from a log's served hash tiles, which are public. They are verified like any other."""

    def __init__(self, source: RemoteSource) -> None:
        self._source = source
        self._full = {}

    async def hashes(self, row: int, first: int, count: int) -> tuple[bytes, ...]:
        """See `TreeReader.hashes`; all within one tile."""
        index, offset = divmod(first, TILE_WIDTH)
        content = await self._source.hashes(row, index)
        wanted = content[offset * HASH_BYTES : (offset + count) * HASH_BYTES]
        if len(wanted) != count * HASH_BYTES:
            raise LogIntegrityError(f"the served log lacks hashes of row {row} in tile {index}")
        return tuple(wanted[i : i + HASH_BYTES] for i in range(0, len(wanted), HASH_BYTES))
