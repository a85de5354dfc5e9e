"""Where a log that is to be verified comes from. Nothing read here is trusted."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryogate.audit.export import CHECKPOINT_FILE
from cryogate.audit.leaf import entry_bytes
from cryogate.audit.merkle import HASH_BYTES
from cryogate.audit.nodes import ROW_LEVELS, TILE_WIDTH
from cryogate.audit.note import MAX_NOTE_BYTES
from cryogate.audit.tiles import TilePath, decode_bundle
from cryogate.ports.audit import canonical
from cryogate.ports.store import ReadStore

_MAX_BUNDLE = TILE_WIDTH * (65_535 + 2)


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry as it was found at ``position``.

    ``data`` is the log entry's bytes, None if there is no telling them; ``body`` the event without
    its number, None if it is not canonical; ``claimed`` the number that it bears; ``recorded`` the
    leaf hash that is kept for ``position``, None if none is.
    """

    position: int
    data: bytes | None
    body: str | None
    claimed: int | None
    recorded: bytes | None


class LogSource(ABC):
    """A whole log, page by page."""

    @abstractmethod
    async def checkpoint(self) -> bytes | None:
        """The newest signed head that lies with the log."""

    @abstractmethod
    async def notes(self, first: int, past: int) -> list[tuple[int, bytes]]:
        """Older signed heads of sizes in [first, past), smallest first, each with its size."""

    @abstractmethod
    async def size(self) -> int:
        """One more than the last position that may hold an entry."""

    @abstractmethod
    async def entries(self, first: int, past: int) -> list[FoundEntry]:
        """What is found at the positions [first, past) of one tile; absent ones are left out."""

    @abstractmethod
    async def leaves(self, first: int, past: int) -> list[bytes]:
        """The kept leaf hashes of [first, past) in one tile; empty if one is absent."""

    @abstractmethod
    async def inner(self, row: int, position: int) -> bytes | None:
        """The kept hash of a perfect subtree of ``256 ** row`` entries."""

    @abstractmethod
    async def strays(self) -> int:
        """How many entries lie outside the numbering."""


class StoreSource(LogSource):
    """The log in a database."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    async def checkpoint(self) -> bytes | None:
        """See `LogSource`."""
        row = await self._store.fetch_one("log_newest_checkpoint", {})
        return None if row is None else str(row["note"]).encode()

    async def notes(self, first: int, past: int) -> list[tuple[int, bytes]]:
        """See `LogSource`."""
        rows = await self._store.fetch("log_checkpoints", {"first": first, "past": past})
        return [(int(row["size"] or 0), str(row["note"]).encode()) for row in rows]

    async def size(self) -> int:
        """See `LogSource`."""
        row = await self._store.fetch_one("log_size", {})
        return int((row or {}).get("size") or 0)

    async def entries(self, first: int, past: int) -> list[FoundEntry]:
        """See `LogSource`."""
        rows = await self._store.fetch("log_entries", {"first": first, "past": past})
        return [
            _from_row(int(row["seq"] or 0), str(row["body"]), str(row["leaf_hash"])) for row in rows
        ]

    async def leaves(self, first: int, past: int) -> list[bytes]:
        """See `LogSource`."""
        rows = await self._store.fetch("log_leaf_hashes", {"first": first, "past": past})
        found = {int(row["position"] or 0): _hash(str(row["hash"])) for row in rows}
        return whole([found.get(position) for position in range(first, past)])

    async def inner(self, row: int, position: int) -> bytes | None:
        """See `LogSource`."""
        span = {"first": position, "past": position + 1}
        rows = await self._store.fetch("log_node_hashes", {"level": row * ROW_LEVELS, **span})
        return _hash(str(rows[0]["hash"])) if rows else None

    async def strays(self) -> int:
        """See `LogSource`."""
        row = await self._store.fetch_one("log_misnumbered", {})
        return int((row or {}).get("rows") or 0)


class DirectorySource(LogSource):
    """The log in a directory that `export_log` wrote, or any mirror in tlog-tiles layout.

    Symbolic links are not followed out of it by us: a hostile export could name other files, but
    their content would only fail to verify.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tile: tuple[TilePath, bytes] | None = None

    async def checkpoint(self) -> bytes | None:
        """See `LogSource`."""
        return _read(self._directory / CHECKPOINT_FILE, MAX_NOTE_BYTES + 1)

    async def notes(self, first: int, past: int) -> list[tuple[int, bytes]]:
        """A directory keeps no older heads."""
        return []

    async def size(self) -> int:
        """See `LogSource`."""
        return _size(self._directory / "tile" / "entries")

    async def entries(self, first: int, past: int) -> list[FoundEntry]:
        """See `LogSource`."""
        index = first // TILE_WIDTH
        content = self._widest(None, index, _MAX_BUNDLE)
        if content is None:
            return []
        try:
            bundle = decode_bundle(content)
        except ValueError:
            return []
        kept = self._widest(0, index, TILE_WIDTH * HASH_BYTES) or b""
        return entries_of(bundle, kept, first, past)

    async def leaves(self, first: int, past: int) -> list[bytes]:
        """See `LogSource`."""
        tile = self._widest(0, first // TILE_WIDTH, TILE_WIDTH * HASH_BYTES) or b""
        return hashes_of(tile, first, past)

    async def inner(self, row: int, position: int) -> bytes | None:
        """See `LogSource`."""
        index, offset = divmod(position, TILE_WIDTH)
        content = self._widest(row, index, TILE_WIDTH * HASH_BYTES) or b""
        value = content[offset * HASH_BYTES : (offset + 1) * HASH_BYTES]
        return value if len(value) == HASH_BYTES else None

    async def strays(self) -> int:
        """A directory has no room for any."""
        return 0

    def _widest(self, row: int | None, index: int, limit: int) -> bytes | None:
        wanted = TilePath(row, index)
        if self._tile is not None and self._tile[0] == wanted:
            return self._tile[1]
        path = self._directory / str(wanted).lstrip("/")
        content = _read(path, limit)
        if content is None:
            widths = sorted(_widths(path.with_name(path.name + ".p")), reverse=True)
            content = (
                _read(path.with_name(path.name + ".p") / str(widths[0]), limit) if widths else None
            )
        if row and content is not None:
            # Inner tiles are asked for hash by hash.
            self._tile = wanted, content
        return content


def hashes_of(tile: bytes, first: int, past: int) -> list[bytes]:
    """The hashes of [first, past) in a tile of leaves."""
    places = range(first % TILE_WIDTH, first % TILE_WIDTH + past - first)
    found = [tile[n * HASH_BYTES : (n + 1) * HASH_BYTES] for n in places]
    return whole([value if len(value) == HASH_BYTES else None for value in found])


def whole(values: Sequence[bytes | None]) -> list[bytes]:
    """All of them, or nothing."""
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) else []


def _from_row(position: int, body: str, recorded: str) -> FoundEntry:
    try:
        data = entry_bytes(body, position)
    except ValueError:
        return FoundEntry(position, None, None, position, _hash(recorded))
    return FoundEntry(position, data, body, position, _hash(recorded))


def entries_of(bundle: Sequence[bytes], hashes: bytes, first: int, past: int) -> list[FoundEntry]:
    """The entries from ``first`` to before ``past`` of the bundle that ``first`` is in, each with
    the hash that its tile, ``hashes``, records for it.
    """
    start = first // TILE_WIDTH * TILE_WIDTH
    found = [
        entry_from_bytes(start + n, data, hashes[n * HASH_BYTES : (n + 1) * HASH_BYTES])
        for n, data in enumerate(bundle)
    ]
    return [entry for entry in found if first <= entry.position < past]


def entry_from_bytes(position: int, data: bytes, recorded: bytes) -> FoundEntry:
    """An entry of a bundle, with the hash that lies beside it."""
    kept = recorded if len(recorded) == HASH_BYTES else None
    try:
        fields = json.loads(data)
        if not isinstance(fields, dict) or canonical(fields) != data:
            raise ValueError("not canonical")
        claimed = fields.pop("seq")
        if type(claimed) is not int:
            raise ValueError("no number")
    except (ValueError, KeyError, RecursionError):
        return FoundEntry(position, data, None, None, kept)
    return FoundEntry(position, data, canonical(fields).decode(), claimed, kept)


def _hash(text: str) -> bytes | None:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return None
    return value if len(value) == HASH_BYTES else None


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(name) for name in names if len(name) == 3 and name.isascii() and name.isdigit()]


def _widths(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir()]
    return [int(n) for n in names if n.isascii() and n.isdigit() and 0 < int(n) < TILE_WIDTH]


def _size(folder: Path) -> int:
    """One more than the last position for which a bundle is there."""
    if not folder.is_dir():
        return 0
    base = 0
    while True:
        names = [path.name for path in folder.iterdir()]
        deeper = _numbers(name[1:] for name in names if name.startswith("x"))
        if not deeper:
            break
        folder, base = folder / f"x{max(deeper):03}", (base + max(deeper)) * 1000
    full = _numbers(names)
    partial = _numbers(name.removesuffix(".p") for name in names if name.endswith(".p"))
    ends = [(base + index + 1) * TILE_WIDTH for index in full]
    for index in partial:
        widths = _widths(folder / f"{index:03}.p")
        ends += [(base + index) * TILE_WIDTH + width for width in widths]
    return max(ends, default=0)
