"""The pass over all entries: each one checked, two trees grown.

The *true* tree is made of what the entries hash to; it alone decides. The *kept* tree is made of
the hashes that lie beside them, and differs from the first altered entry on. If its root is the
signed one, the kept hashes are genuine, so the entries that differ from them are the altered ones.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from cryogate.audit.findings import FindingKind, Findings
from cryogate.audit.leaf import entry_bytes
from cryogate.audit.merkle import CompactRange, leaf_hash
from cryogate.audit.nodes import ROW_LEVELS, TILE_WIDTH
from cryogate.audit.reading import told_first
from cryogate.audit.sources import FoundEntry, LogSource

# Displaced entries that are compared with one another; their number bounds the work squared.
_MAX_SUSPECTS = 64
_EDITED = "the entry is not the one that its hash was made of"
_MISSING = "no entry is found"
_NOT_CANONICAL = "the entry is not a canonical event"


@dataclass(frozen=True, slots=True)
class Roots:
    """Roots over the first ``size`` entries; None once an entry or hash is missing."""

    size: int
    true: bytes | None
    kept: bytes | None


class Inspector:
    """Goes through a log once, in order, page by page."""

    def __init__(self, source: LogSource, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self._true: CompactRange | None = CompactRange()
        self._kept: CompactRange | None = CompactRange()
        self._forked = False
        self._suspects: list[FoundEntry] = []
        self._shift = 0
        #: How many entries from the first on have hashes and no texts.
        self.pruned = 0
        self._told: list[tuple[int, int]] = []

    async def page(self, first: int, past: int, wanted: Container[int]) -> list[Roots]:
        """Inspect the positions [first, past); the roots at the ``wanted`` sizes among them."""
        found = {entry.position: entry for entry in await self._source.entries(first, past)}
        roots: list[Roots] = []
        if first == self.pruned and not any(entry.data for entry in found.values()):
            # Perhaps pruned: what is signed tells whether these are the hashes, and an entry that
            # is left must tell that the texts may be absent.
            leaves = await self._source.leaves(first, past)
            if len(leaves) == TILE_WIDTH:
                self.pruned = past
                for size, leaf in enumerate(leaves, first + 1):
                    await self._grow(leaf, leaf)
                    if size in wanted:
                        roots.append(self._roots(size))
                return roots
        for position in range(first, past):
            await self._inspect(position, found.get(position))
            if position + 1 in wanted:
                roots.append(self._roots(position + 1))
        return roots

    def vouched(self, signed: int) -> int:
        """Up to where entries may be absent, as says what is among the ``signed`` first."""
        return max((left for place, left in self._told if place < signed), default=0)

    def finish(self) -> None:
        """Say of every entry that differs from its hash whether it was moved or edited."""
        homes = {entry.position: entry.recorded for entry in self._suspects}
        for entry in self._suspects:
            home = next((p for p in homes if self._belongs(entry, p, homes)), None)
            if home is None:
                self._findings.add(FindingKind.EDITED, _EDITED, entry.position)
            else:
                self._findings.add(
                    FindingKind.REORDERED, f"this entry was logged as {home}", entry.position
                )
        self._suspects.clear()

    def _roots(self, size: int) -> Roots:
        kept = self._kept if self._forked else self._true
        return Roots(size, self._true.root() if self._true else None, kept.root() if kept else None)

    def _belongs(self, entry: FoundEntry, position: int, homes: dict[int, bytes | None]) -> bool:
        if position == entry.position or entry.body is None:
            return False
        moved = leaf_hash(entry_bytes(entry.body, position))
        return moved in (entry.recorded, homes[position])

    async def _inspect(self, position: int, entry: FoundEntry | None) -> None:
        if entry is None:
            self._findings.add(FindingKind.MISSING, _MISSING, position)
            self._true = self._kept = None
            return
        leaf = leaf_hash(entry.data) if entry.data is not None else None
        if entry.body is None:
            self._findings.add(FindingKind.NOT_CANONICAL, _NOT_CANONICAL, position)
        elif entry.claimed != position:
            self._findings.add(
                FindingKind.REORDERED, f"the entry says that it is {entry.claimed}", position
            )
        elif leaf != entry.recorded:
            self._suspect(entry)
        elif left := told_first(entry.body):
            self._told.append((position, left))
        await self._grow(leaf, entry.recorded)

    def _suspect(self, entry: FoundEntry) -> None:
        # A deleted entry whose followers were numbered anew shows as one shift of them all.
        for shift in (self._shift, 1, -1):
            home = entry.position + shift
            if shift and home >= 0 and self._belongs(entry, home, {home: entry.recorded}):
                self._shift = shift
                self._findings.add(
                    FindingKind.REORDERED,
                    f"entries were logged {abs(shift)} {'later' if shift > 0 else 'earlier'} than "
                    f"they stand",
                    entry.position,
                )
                return
        if len(self._suspects) < _MAX_SUSPECTS:
            self._suspects.append(entry)
        else:
            self._findings.add(FindingKind.EDITED, _EDITED, entry.position)

    async def _grow(self, leaf: bytes | None, recorded: bytes | None) -> None:
        if leaf != recorded and not self._forked:
            self._forked = True
            self._kept = self._true.copy() if self._true else None
        if self._true is not None:
            done = self._true.append(leaf) if leaf is not None else None
            if done is None:
                self._true = None
            elif not self._forked:
                await self._check_inner(done)
        if self._forked and self._kept is not None:
            done = self._kept.append(recorded) if recorded is not None else None
            if done is None:
                self._kept = None
            else:
                await self._check_inner(done)

    async def _check_inner(self, done: list[tuple[int, int, bytes]]) -> None:
        for level, position, value in done:
            if level % ROW_LEVELS:
                continue
            kept = await self._source.inner(level // ROW_LEVELS, position)
            if kept != value:
                what = "is missing" if kept is None else "is not that of the entries"
                self._findings.add(
                    FindingKind.HASHES,
                    f"the kept hash over these entries {what}",
                    position << level,
                    ((position + 1) << level) - 1,
                )
