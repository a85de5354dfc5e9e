"""C2SP tlog-witness: what a log sends to a witness, and what it gets back.

The bytes come from strangers on either side: sizes are bounded, and a spelling that is not the one
of `AddCheckpoint.encode` is refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryogate.audit.checkpoint import MAX_SIZE
from cryogate.audit.errors import NoteRefused
from cryogate.audit.merkle import HASH_BYTES
from cryogate.audit.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    NoteSignature,
    decode_base64,
    parse_signature,
)

#: The type of a 409's body, which says how far the witness has come.
SIZE_TYPE: Final = "text/x.tlog.size"
MAX_PROOF: Final = 63
MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + MAX_PROOF * 45 + 32
#: A witness gives few lines; an ML-DSA-44 one has 3.3 kB.
MAX_ANSWER_BYTES: Final = 65_536
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A head, and the proof that it continues the one over ``old`` entries."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The body of ``POST /add-checkpoint``."""
        lines = [f"old {self.old}", *(base64.b64encode(node).decode() for node in self.proof)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """The request in ``body``; its checkpoint is not looked into.

    Raises:
        NoteRefused: malformed.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise NoteRefused("the request is too large")
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise NoteRefused("the request is not ASCII before its checkpoint") from error
    word, space, number = first.partition(" ")
    if not blank or word != "old" or not space:
        raise NoteRefused("the request begins with a line: old SIZE")
    if len(rest) > MAX_PROOF:
        raise NoteRefused("the proof is too long")
    proof = tuple(decode_base64(line, "a hash of the proof") for line in rest)
    if any(len(node) != HASH_BYTES for node in proof):
        raise NoteRefused("a hash of the proof is not 32 bytes long")
    return AddCheckpoint(parse_size(number), proof, note)


def parse_size(text: str) -> int:
    """A tree's size in its one spelling.

    Raises:
        NoteRefused: no plain decimal number, or too large.
    """
    if not _SIZE.fullmatch(text) or int(text) > MAX_SIZE:
        raise NoteRefused("a size is a plain decimal number")
    return int(text)


def encode_cosignatures(signatures: Sequence[NoteSignature]) -> bytes:
    """The body of an answer with status 200."""
    return "".join(f"{signature.line()}\n" for signature in signatures).encode()


def parse_cosignatures(body: bytes) -> tuple[NoteSignature, ...]:
    """The signatures in an answer with status 200, unchecked.

    Raises:
        NoteRefused: malformed, too many, or too large.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise NoteRefused("the answer is too large")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NoteRefused("the answer is not UTF-8") from error
    if not text.endswith("\n"):
        raise NoteRefused("the answer holds no signature lines")
    lines = text[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteRefused("the answer has too many signatures")
    return tuple(parse_signature(line) for line in lines)


def parse_conflict(body: bytes) -> int:
    """The size in an answer with status 409.

    Raises:
        NoteRefused: malformed.
    """
    text = body[:32].decode("ascii", "replace")
    if not text.endswith("\n"):
        raise NoteRefused("a conflict is answered with the witness's size")
    return parse_size(text[:-1])
