"""What readers of the log are given: entries and proofs, as values."""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.leaf import entry_bytes
from cryogate.audit.merkle import leaf_hash, verify_inclusion
from cryogate.audit.nodes import TreeReader
from cryogate.ports.store import ReadStore

MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry: its place, its canonical JSON bytes and the hash of the leaf they make."""

    seq: int
    data: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a leaf is in a tree. ``checkpoint`` is the signed head, if it is of this very size."""

    seq: int
    size: int
    leaf_hash: bytes
    path: tuple[bytes, ...]
    checkpoint: bytes | None

    def holds(self, entry: bytes, root: bytes) -> bool:
        """Whether ``entry`` is at ``seq`` in the log of ``size`` entries and this ``root``."""
        return verify_inclusion(leaf_hash(entry), self.seq, self.size, self.path, root)


async def prove_inclusion(
    reader: TreeReader, seq: int, size: int | None, published: int, checkpoint: bytes | None
) -> InclusionProof:
    """The proof for ``seq`` in the log of ``size``, at most ``published``.

    Nothing is proved against a size that no head covers: it could still change its owner's mind.

    Raises:
        NotInLog: no signed head covers it.
        LogIntegrityError: a hash of the tree is missing.
        StoreUnavailable: the database did not answer.
    """
    whole = published if size is None else size
    if not 0 <= seq < whole <= published:
        raise NotInLog(f"no signed head covers entry {seq} in a log of {whole}")
    (leaf,) = await reader.hashes(0, seq, 1)
    path = await reader.inclusion(seq, whole)
    return InclusionProof(seq, whole, leaf, path, checkpoint if whole == published else None)


async def prove_consistency(
    reader: TreeReader, old: int, new: int | None, published: int
) -> tuple[bytes, ...]:
    """The proof between two sizes, the larger at most ``published``.

    Raises:
        NotInLog: not ``0 < old <= new <= published``.
        LogIntegrityError: a hash of the tree is missing.
        StoreUnavailable: the database did not answer.
    """
    whole = published if new is None else new
    if not 0 < old <= whole <= published:
        raise NotInLog(f"no signed heads of sizes {old} and {whole}")
    return await reader.consistency(old, whole)


async def read_entries(store: ReadStore, first: int, limit: int) -> tuple[LogEntry, ...]:
    """Entries from ``first`` on, each checked against its stored hash.

    Raises:
        LogIntegrityError: an entry is missing, was altered or is not canonical.
        StoreUnavailable: the database did not answer.
    """
    first, count = max(first, 0), max(1, min(limit, MAX_ENTRIES))
    rows = await store.fetch("log_entries", {"first": first, "past": first + count})
    entries: list[LogEntry] = []
    for seq, row in enumerate(rows, first):
        if row["seq"] != seq:
            raise LogIntegrityError(f"log entry {seq} is missing")
        try:
            data = entry_bytes(str(row["body"]), seq)
        except ValueError as error:
            raise LogIntegrityError(f"log entry {seq} is not canonical") from error
        leaf = leaf_hash(data)
        if leaf.hex() != row["leaf_hash"]:
            raise LogIntegrityError(f"log entry {seq} was altered after it was logged")
        entries.append(LogEntry(seq, data, leaf))
    return tuple(entries)
