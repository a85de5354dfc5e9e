"""C2SP signed-note: text, and signature lines by named keys.

Accepted bytes have one spelling: a parsed note formats to the bytes it came from. Signatures of
unknown keys are kept, so that witnesses can add theirs, and never count.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cryogate.audit.errors import NoteRefused
from cryogate.domain.secrets import Secret

MAX_NOTE_BYTES = 131_072
MAX_SIGNATURES = 32
ED25519 = 0x01
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who, by which key, over the note's text."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line as it stands in a note, without its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of which has been checked yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        lines = "".join(f"{signature.line()}\n" for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()


class NoteVerifier(ABC):
    """A trusted public key; `cryogate.audit.cosign` has further kinds."""

    name: str
    key_id: bytes

    @abstractmethod
    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``text``."""

    @abstractmethod
    def vkey(self) -> str:
        """The key as text, to be given out and trusted by others."""


class NoteSigner(ABC):
    """A key that signs notes. The private part may live elsewhere."""

    @abstractmethod
    def sign(self, text: bytes) -> NoteSignature:
        """A signature over ``text``."""

    @abstractmethod
    def verifier(self) -> NoteVerifier:
        """The public part."""


def check_name(name: str) -> str:
    """``name`` if a key may have it.

    Stricter than the specification, which lets all but spaces and plus pass: printable ASCII, so
    that no look-alike letter can pass for another log.

    Raises:
        ValueError: it may not.
    """
    if not 0 < len(name) <= 255 or not all("!" <= char <= "~" for char in name) or "+" in name:
        raise ValueError("a key name is printable ASCII without spaces and plus")
    return name


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """SHA-256(name ‖ 0x0A ‖ kind ‖ public key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes((kind,)) + public).digest()[:4]


class Ed25519Verifier(NoteVerifier):
    """An Ed25519 public key (signature type 0x01)."""

    def __init__(self, name: str, public: bytes) -> None:
        """``public`` is the 32-byte encoding of RFC 8032.

        Raises:
            ValueError: a bad name or key.
        """
        self.name = check_name(name)
        self._raw = public
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self.key_id = key_id(name, ED25519, public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``text``."""
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def vkey(self) -> str:
        """``name+hex key id+base64(0x01 ‖ public key)``, as Go's note package writes it."""
        encoded = base64.b64encode(bytes((ED25519,)) + self._raw).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


class Ed25519Signer(NoteSigner):
    """An Ed25519 private key in this process."""

    def __init__(self, name: str, private: Secret) -> None:
        """``private`` is the 32-byte seed of RFC 8032.

        Raises:
            ValueError: a bad name or key.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(private.reveal())
        self._verifier = Ed25519Verifier(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: bytes) -> NoteSignature:
        """A signature over ``text``."""
        return NoteSignature(self._verifier.name, self._verifier.key_id, self._key.sign(text))

    def verifier(self) -> NoteVerifier:
        """The public part."""
        return self._verifier


def parse_note(data: bytes) -> Note:
    """A note, its signatures unchecked.

    Raises:
        NoteRefused: not a note, too large, or spelled in another way than `Note.encode` does.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteRefused("the note is too large")
    try:
        content = data.decode()
    except UnicodeDecodeError as error:
        raise NoteRefused("the note is not UTF-8") from error
    if any(char < " " and char != "\n" for char in content):
        raise NoteRefused("the note holds control characters")
    head, blank, tail = content.rpartition("\n\n")
    if not blank or not head or not tail.endswith("\n"):
        raise NoteRefused("the note has no text, no signatures or no final newline")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteRefused("the note has too many signatures")
    note = Note(head + "\n", tuple(parse_signature(line) for line in lines))
    if note.encode() != data:
        raise NoteRefused("the note has another spelling than its own")
    return note


def verified(note: Note, trusted: Sequence[NoteVerifier]) -> tuple[NoteVerifier, ...]:
    """The trusted keys that signed ``note``; at least one.

    Raises:
        NoteRefused: no trusted key signed it, or a line in a trusted key's name is not its
            signature.
    """
    keys = {(key.name, key.key_id): key for key in trusted}
    text = note.text.encode()
    good: list[NoteVerifier] = []
    for signature in note.signatures:
        key = keys.pop((signature.name, signature.key_id), None)
        if key is None:
            continue
        if not key.verify(text, signature.signature):
            raise NoteRefused(f"the signature of {key.name} does not verify")
        good.append(key)
    if not good:
        raise NoteRefused("no trusted key has signed this note")
    return tuple(good)


def parse_signature(line: str) -> NoteSignature:
    """The signature on one line of a note, unchecked.

    Raises:
        NoteRefused: malformed.
    """
    if not line.startswith(_DASH):
        raise NoteRefused("a signature line does not begin with an em dash")
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not space or not name or "+" in name or any(char.isspace() for char in name):
        raise NoteRefused("a signature line has no valid key name")
    raw = decode_base64(encoded, "a signature")
    if len(raw) < 5:
        raise NoteRefused("a signature is too short")
    return NoteSignature(name, raw[:4], raw[4:])


def decode_base64(encoded: str, what: str) -> bytes:
    """The bytes of ``encoded``, which must be their one spelling.

    Raises:
        NoteRefused: it is not; ``what`` names it.
    """
    try:
        raw = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise NoteRefused(f"{what} is not base64") from error
    # Python ignores stray trailing bits; a second spelling of the same bytes is refused here.
    if base64.b64encode(raw).decode() != encoded:
        raise NoteRefused(f"{what} is not canonical base64")
    return raw
