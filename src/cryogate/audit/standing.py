"""Where a log stands: its signed head, and the stored tree that must begin with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint
from cryogate.audit.errors import LogIntegrityError, NoteRefused
from cryogate.audit.merkle import CompactRange, verify_consistency
from cryogate.audit.nodes import TreeReader
from cryogate.audit.note import NoteVerifier
from cryogate.ports.store import ReadStore, Row, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint whose signature has been verified, and the note it came in."""

    checkpoint: Checkpoint
    note: bytes

    @property
    def size(self) -> int:
        """How many entries it covers."""
        return self.checkpoint.size


def open_head(note: bytes, trusted: Sequence[NoteVerifier], origin: str) -> Head:
    """The head in ``note``.

    Raises:
        LogIntegrityError: not signed by a key of this log; says what to do.
    """
    try:
        return Head(open_checkpoint(note, trusted, origin), note)
    except NoteRefused as error:
        raise LogIntegrityError(
            f"The log's head is not one that this log signed ({error}). Nothing is signed on top "
            f"of it. Check the head directory, audit.origin and the master key."
        ) from error


async def stored_head(
    store: ReadStore, trusted: Sequence[NoteVerifier], origin: str, above: int = -1
) -> Head | None:
    """The newest checkpoint in the database, if it is of more than ``above`` entries.

    Raises:
        LogIntegrityError: it is not signed by a key of this log.
        StoreUnavailable: the database did not answer.
    """
    row = await store.fetch_one("log_newest_checkpoint", {})
    if row is None or integer(row, "size") <= above:
        return None
    return open_head(str(row["note"]).encode(), trusted, origin)


async def stored_size(store: ReadStore) -> int:
    """How many events have their place.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    row = await store.fetch_one("log_size", {})
    if row is None:
        raise StoreUnavailable("the database did not count the log")
    return integer(row, "size")


async def tree_behind(head: Head, store: ReadStore, reader: TreeReader) -> CompactRange:
    """The stored tree, which begins with what ``head`` signed (L2).

    Raises:
        LogIntegrityError: it does not; says what differs and what to do.
        StoreUnavailable: the database did not answer.
    """
    size = await stored_size(store)
    if size < head.size:
        raise LogIntegrityError(
            f"The database holds {size} log entries, but a head over {head.size} has been signed: "
            f"it is an older copy, or entries were removed. Restore the newest copy."
        )
    tree = await reader.edge(size)
    proof = await reader.consistency(head.size, size) if head.size else ()
    if not verify_consistency(head.size, size, proof, head.checkpoint.root, tree.root()):
        raise LogIntegrityError(
            f"The first {head.size} log entries in the database are not the ones that were "
            f"signed. Verify the log to see which, and restore a copy that agrees."
        )
    return tree


def integer(row: Row, column: str) -> int:
    """A column that holds an integer.

    Raises:
        StoreUnavailable: it holds something else.
    """
    value = row[column]
    if type(value) is not int:
        raise StoreUnavailable(f"column {column} does not hold an integer")
    return value
