"""Verifier keys as text: one a line, each ``name+id+base64(type ‖ key)`` (C2SP signed-note)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from cryogate.audit.cosign import (
    ED25519_BYTES,
    ED25519_COSIGNATURE,
    MLDSA44,
    MLDSA44_BYTES,
    Ed25519Cosignature,
    Mldsa44Cosignature,
)
from cryogate.audit.errors import NoteRefused
from cryogate.audit.note import ED25519, Ed25519Verifier, NoteVerifier, decode_base64

MAX_VKEYS_BYTES = 65_536
_HEX_ID = re.compile(r"[0-9a-f]{8}")
_KINDS: Final[Mapping[int, tuple[int, Callable[[str, bytes], NoteVerifier]]]] = {
    ED25519: (ED25519_BYTES, Ed25519Verifier),
    ED25519_COSIGNATURE: (ED25519_BYTES, Ed25519Cosignature),
    MLDSA44: (MLDSA44_BYTES, Mldsa44Cosignature),
}


def parse_vkey(text: str) -> NoteVerifier:
    """The verifier that ``vkey`` text describes; surrounding white space is ignored.

    Raises:
        NoteRefused: not a vkey, an unknown signature type, or a key id that does not fit.
    """
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _HEX_ID.fullmatch(parts[1]):
        raise NoteRefused("a verifier key reads name+hex key id+base64 key")
    raw = decode_base64(parts[2], "the verifier key")
    size, make = _KINDS.get(raw[0] if raw else 0, (0, None))
    if make is None or len(raw) != 1 + size:
        raise NoteRefused("the verifier key is of no known type (0x01, 0x04, 0x06) and length")
    try:
        verifier = make(parts[0], raw[1:])
    except ValueError as error:
        raise NoteRefused(f"the verifier key is not usable: {error}") from error
    if verifier.key_id.hex() != parts[1]:
        raise NoteRefused("the verifier key's id does not belong to its name and key")
    return verifier


def parse_vkeys(text: str) -> tuple[NoteVerifier, ...]:
    """One key a line; empty lines and comments (``#``) are ignored.

    Raises:
        NoteRefused: a line is no vkey.
    """
    lines = (line.strip() for line in text.splitlines())
    return tuple(parse_vkey(line) for line in lines if line and not line.startswith("#"))
