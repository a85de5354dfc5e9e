"""What readers of the log are given: entries and proofs, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.leaf import entry_bytes
from cryogate.audit.merkle import leaf_hash, verify_inclusion
from cryogate.audit.nodes import TreeReader
from cryogate.ports.store import ReadStore

MAX_ENTRIES = 1000
#: The event that tells of a pruning, and the reason of it that names the first entry left.
PRUNED = "audit.pruned"
LEFT_FROM = "new "


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


async def pruned_before(store: ReadStore) -> int:
    """The first entry that has its text still, as the database says; those before were pruned.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    row = await store.fetch_one("log_pruned", {})
    return 0 if row is None else int(row["pruned"] or 0)


def told_first(body: str) -> int:
    """The first entry that is left, as an entry of the log says that tells of a pruning; else 0."""
    if f'"action":"{PRUNED}"' not in body:
        return 0
    try:
        fields = json.loads(body)
        if fields["action"] != PRUNED:
            return 0
        [told] = [r for r in fields["decision_reasons"] if r.startswith(LEFT_FROM)]
        return int(told.removeprefix(LEFT_FROM))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0


async def read_entries(store: ReadStore, first: int, limit: int) -> tuple[LogEntry, ...]:
    """Entries from ``first`` on, each checked against its stored hash. What was pruned is jumped
    over.

    Raises:
        LogIntegrityError: an entry is missing, was altered or is not canonical.
        StoreUnavailable: the database did not answer.
    """
    first, count = max(first, 0), max(1, min(limit, MAX_ENTRIES))
    rows = await store.fetch("log_entries", {"first": first, "past": first + count})
    if rows and not rows[0]["body"] and first < (left := await pruned_before(store)):
        return await read_entries(store, left, limit)
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
