"""C2SP tlog-checkpoint: a signed statement of a log's size and root.

What may never change: a log signs no two checkpoints that contradict each other. Extension lines
are refused, because nothing in the log could be checked against them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryogate.audit.errors import NoteRefused
from cryogate.audit.merkle import EMPTY_ROOT, HASH_BYTES
from cryogate.audit.note import (
    Note,
    NoteSigner,
    NoteVerifier,
    check_name,
    parse_note,
    verified,
)

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
MAX_SIZE = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Origin, number of entries, and Merkle root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text that is signed.

        Raises:
            ValueError: a field is outside the format.
        """
        check_name(self.origin)
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise ValueError("size or root is outside the checkpoint format")
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, *signers: NoteSigner) -> bytes:
    """The signed note, the log's own signature first.

    Raises:
        ValueError: no signer, or a field is outside the format.
    """
    if not signers:
        raise ValueError("a checkpoint needs a signature")
    text = checkpoint.text()
    return Note(text, tuple(signer.sign(text.encode()) for signer in signers)).encode()


def parse_checkpoint_text(text: str) -> Checkpoint:
    """The checkpoint in a note's text.

    Raises:
        NoteRefused: another format, or another spelling of it.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise NoteRefused("a checkpoint has three lines: origin, size, root")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
        raise NoteRefused("the checkpoint's size is not a plain decimal number")
    try:
        raw = base64.b64decode(root.encode("ascii"), validate=True)
        checkpoint = Checkpoint(origin, int(size), raw)
        spelled = checkpoint.text()
    except (binascii.Error, ValueError) as error:
        raise NoteRefused(f"the checkpoint is malformed: {error}") from error
    if spelled != text:
        raise NoteRefused("the checkpoint has another spelling than its own")
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise NoteRefused("the checkpoint claims entries' root for an empty log")
    return checkpoint


def open_checkpoint(
    data: bytes, trusted: Sequence[NoteVerifier], origin: str | None = None
) -> Checkpoint:
    """A checkpoint signed by at least one trusted key.

    Raises:
        NoteRefused: malformed, no trusted signature, or of another log than ``origin``.
    """
    note = parse_note(data)
    verified(note, trusted)
    checkpoint = parse_checkpoint_text(note.text)
    if origin is not None and checkpoint.origin != origin:
        raise NoteRefused(f"the checkpoint is of the log {checkpoint.origin!r}, not {origin!r}")
    return checkpoint


def peek_checkpoint(data: bytes) -> Checkpoint:
    """What a note says, whoever signed it: for messages and ordering, never for trust.

    Raises:
        NoteRefused: malformed.
    """
    return parse_checkpoint_text(parse_note(data).text)
