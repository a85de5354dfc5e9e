"""Tree hashes as they are stored: tile rows, eight levels apart.

A tile is 256 hashes of one *row*: row 0 holds the leaf hashes, row ``r`` the perfect subtrees of
level ``8 · r``. The levels between are computed when a proof asks for them, which is why a log of
a million entries stores some four thousand inner hashes and not a million (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Iterable

from cryogate.audit.errors import LogIntegrityError
from cryogate.audit.merkle import (
    HASH_BYTES,
    CompactRange,
    Node,
    NodeGroup,
    assemble,
    consistency_nodes,
    edge_nodes,
    inclusion_nodes,
    perfect_root,
)
from cryogate.ports.store import ReadStore, Row

ROW_LEVELS = 8
TILE_WIDTH = 1 << ROW_LEVELS
_CACHED_TILES = 64


class TreeReader:
    """Reads hashes and gives proofs. Full tiles never change, so some are kept."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store
        self._full: dict[Node, tuple[bytes, ...]] = {}

    async def tile(self, row: int, index: int, width: int = TILE_WIDTH) -> tuple[bytes, ...]:
        """The first ``width`` hashes of a tile.

        Raises:
            LogIntegrityError: one of them is not stored, or is no hash.
            StoreUnavailable: the database did not answer.
        """
        kept = self._full.get((row, index))
        if kept is not None:
            return kept[:width]
        hashes = await self.hashes(row, index * TILE_WIDTH, width)
        if width == TILE_WIDTH:
            if len(self._full) >= _CACHED_TILES:
                del self._full[next(iter(self._full))]
            self._full[row, index] = hashes
        return hashes

    async def hashes(self, row: int, first: int, count: int) -> tuple[bytes, ...]:
        """``count`` neighbouring hashes of a row.

        Raises:
            LogIntegrityError: one of them is not stored, or is no hash.
            StoreUnavailable: the database did not answer.
        """
        span = {"first": first, "past": first + count}
        if row == 0:
            rows = await self._store.fetch("log_leaf_hashes", span)
        else:
            rows = await self._store.fetch("log_node_hashes", {"level": row * ROW_LEVELS, **span})
        if [found["position"] for found in rows] != list(range(first, first + count)):
            raise LogIntegrityError(
                f"the stored log lacks hashes of row {row} between {first} and {first + count}"
            )
        return tuple(_unhex(found) for found in rows)

    async def nodes(self, wanted: Iterable[Node]) -> dict[Node, bytes]:
        """The hashes of these nodes, each computed from the row below it.

        Raises:
            LogIntegrityError: a hash that it rests on is not stored.
            StoreUnavailable: the database did not answer.
        """
        places: dict[Node, tuple[Node, int, int]] = {}
        widths: dict[Node, int] = {}
        for level, position in wanted:
            row, above = divmod(level, ROW_LEVELS)
            index, offset = divmod(position << above, TILE_WIDTH)
            # At most half a tile wide and aligned to its width: a node is never in two tiles.
            past = offset + (1 << above)
            places[level, position] = ((row, index), offset, past)
            widths[row, index] = max(past, widths.get((row, index), 0))
        tiles = {where: await self.tile(*where, width) for where, width in widths.items()}
        return {
            node: perfect_root(tiles[where][offset:past])
            for node, (where, offset, past) in places.items()
        }

    async def edge(self, size: int) -> CompactRange:
        """The right edge of the tree of ``size``, ready to append to.

        Raises:
            LogIntegrityError: a hash that it rests on is not stored.
            StoreUnavailable: the database did not answer.
        """
        wanted = edge_nodes(size)
        found = await self.nodes(wanted)
        return CompactRange(size, [found[node] for node in wanted])

    async def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The inclusion proof of an entry in the tree of ``size``.

        Raises:
            ValueError: ``index`` is not in that tree.
            LogIntegrityError: a hash that it rests on is not stored.
            StoreUnavailable: the database did not answer.
        """
        return await self._prove(inclusion_nodes(index, size))

    async def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the tree of ``new`` begins with the one of ``old``.

        Raises:
            ValueError: not ``0 < old <= new``.
            LogIntegrityError: a hash that it rests on is not stored.
            StoreUnavailable: the database did not answer.
        """
        return await self._prove(consistency_nodes(old, new))

    async def _prove(self, groups: tuple[NodeGroup, ...]) -> tuple[bytes, ...]:
        wanted = [node for group in groups for node in group]
        return assemble(groups, await self.nodes(wanted))


def _unhex(row: Row) -> bytes:
    try:
        value = bytes.fromhex(str(row["hash"]))
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES:
        raise LogIntegrityError(f"the stored hash at {row['position']} is not a SHA-256 hash")
    return value
