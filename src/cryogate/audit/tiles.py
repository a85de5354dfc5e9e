"""C2SP tlog-tiles: the log as a finite set of static resources.

A path has one spelling; any other is not found. Nothing beyond the newest signed head is served:
what is in a tile is always covered by a checkpoint that can be fetched.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryogate.audit.checkpoint import peek_checkpoint
from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.nodes import ROW_LEVELS, TILE_WIDTH, TreeReader
from cryogate.audit.reading import read_entries
from cryogate.ports.store import ReadStore

MAX_PATH = 64
# 2**53 entries fill fewer than seven rows of tiles.
_TILE = re.compile(r"/tile/(entries|[0-6])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_LENGTH = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class TilePath:
    """A tile of hashes (``row`` 0 to 6) or an entry bundle (``row`` None), partial if ``width``."""

    row: int | None
    index: int
    width: int | None = None

    def __str__(self) -> str:
        """The path by which it is fetched, under the log's prefix."""
        digits = f"{self.index:03}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        row = "entries" if self.row is None else str(self.row)
        return f"/tile/{row}/{name}" + (f".p/{self.width}" if self.width else "")


@dataclass(frozen=True, slots=True)
class Resource:
    """What a path holds. An ``immutable`` one may be cached for ever, another for seconds."""

    content: bytes
    content_type: str
    immutable: bool


def parse_tile_path(path: str) -> TilePath:
    """The tile that ``path`` names.

    Raises:
        NotInLog: no tile is spelled so.
    """
    match = _TILE.fullmatch(path) if len(path) <= MAX_PATH else None
    if match is None:
        raise NotInLog("no such tile")
    row, name, width = match.groups()
    index = int(name.replace("x", "").replace("/", ""))
    tile = TilePath(
        None if row == "entries" else int(row), index, int(width) if width is not None else None
    )
    if str(tile) != path or (tile.width is not None and tile.width >= TILE_WIDTH):
        raise NotInLog("no such tile")
    return tile


def tiles_of(size: int) -> tuple[TilePath, ...]:
    """Every tile and entry bundle of a log of ``size``, at its widest."""
    found: list[TilePath] = []
    for row in (None, 0, 1, 2, 3, 4, 5, 6):
        full, rest = divmod(size >> (ROW_LEVELS * (row or 0)), TILE_WIDTH)
        found += [TilePath(row, index) for index in range(full)]
        if rest:
            found.append(TilePath(row, full, rest))
    return tuple(found)


def encode_bundle(entries: list[bytes]) -> bytes:
    """An entry bundle: each entry after its length in two bytes.

    Raises:
        ValueError: an entry is longer than 65535 bytes.
    """
    try:
        return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)
    except struct.error as error:
        raise ValueError("an entry is too long for a bundle") from error


def decode_bundle(content: bytes) -> list[bytes]:
    """The entries of a bundle.

    Raises:
        ValueError: it ends within an entry, or holds more than a tile's width.
    """
    entries: list[bytes] = []
    place = 0
    while place < len(content):
        if len(entries) == TILE_WIDTH or place + 2 > len(content):
            raise ValueError("the bundle is malformed")
        end = place + 2 + int(_LENGTH.unpack_from(content, place)[0])
        if end > len(content):
            raise ValueError("the bundle ends within an entry")
        entries.append(content[place + 2 : end])
        place = end
    return entries


class TileServer:
    """Serves the published log from the store."""

    def __init__(self, store: ReadStore, checkpoint: Callable[[], bytes | None]) -> None:
        """``checkpoint`` gives the newest signed head, as `AuditLog.checkpoint` does."""
        self._store = store
        self._reader = TreeReader(store)
        self._checkpoint = checkpoint

    async def get(self, path: str) -> Resource:
        """The resource at ``path``: ``/checkpoint`` or ``/tile/…``.

        Entry bundles hold the events themselves: who may read events may read these, no one else.

        Raises:
            NotInLog: no such resource, or not in the published log.
            LogIntegrityError: what is stored is not what was logged.
            StoreUnavailable: the database did not answer.
        """
        note = self._checkpoint()
        if note is None:
            raise NotInLog("nothing is published yet")
        if path == "/checkpoint":
            return Resource(note, "text/plain; charset=utf-8", immutable=False)
        tile = parse_tile_path(path)
        content = await self.tile(tile, peek_checkpoint(note).size)
        return Resource(content, "application/octet-stream", immutable=True)

    async def tile(self, tile: TilePath, size: int) -> bytes:
        """A tile's or bundle's bytes in the log of ``size``.

        Raises:
            NotInLog: the log of ``size`` has no such tile.
            LogIntegrityError: what is stored is not what was logged.
            StoreUnavailable: the database did not answer.
        """
        width = tile.width or TILE_WIDTH
        first = tile.index * TILE_WIDTH
        if first + width > size >> (ROW_LEVELS * (tile.row or 0)):
            raise NotInLog("the published log has no such tile")
        if tile.row is None:
            entries = await read_entries(self._store, first, width)
            if entries and entries[0].seq != first:
                raise NotInLog("these entries were pruned; their hashes are here")
            if len(entries) != width:
                raise LogIntegrityError(f"log entries from {first + len(entries)} on are missing")
            return encode_bundle([entry.data for entry in entries])
        return b"".join(await self._reader.tile(tile.row, tile.index, width))
