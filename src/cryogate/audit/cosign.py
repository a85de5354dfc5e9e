"""C2SP tlog-cosignature: timestamped signatures over a checkpoint, Ed25519 (v1) and ML-DSA-44.

A witness cosigns what it has seen to be consistent; the log itself signs so with ML-DSA-44, beside
its plain Ed25519 signature, for readers who no longer trust Ed25519 alone. What is signed is built
from the parsed checkpoint, so nothing that is no checkpoint can be cosigned.
"""

from __future__ import annotations

import base64
import struct

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from cryogate.audit.checkpoint import parse_checkpoint_text
from cryogate.audit.errors import NoteRefused
from cryogate.audit.note import NoteSignature, NoteSigner, NoteVerifier, check_name, key_id
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock

ED25519_COSIGNATURE = 0x04
MLDSA44 = 0x06
_TIME = struct.Struct(">Q")
_MAX_TIME = 2**63 - 1
_LABEL = b"subtree/v1\n\x00"
ED25519_BYTES, MLDSA44_BYTES = 32, 1312


def mldsa44_available() -> bool:
    """Whether the cryptographic library beneath can sign with ML-DSA-44."""
    try:
        MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:
        return False
    return True


class Ed25519Cosignature(NoteVerifier):
    """A witness's Ed25519 key (signature type 0x04)."""

    def __init__(self, name: str, public: bytes) -> None:
        """``public`` is the 32-byte encoding of RFC 8032.

        Raises:
            ValueError: a bad name or key.
        """
        self.name = check_name(name)
        self._raw = public
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self.key_id = key_id(name, ED25519_COSIGNATURE, public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this witness's over the checkpoint ``text``."""
        if len(signature) != 72 or (time := cosigned_at(signature)) is None:
            return False
        try:
            self._key.verify(signature[8:], _v1_message(text, time))
        except (InvalidSignature, NoteRefused):
            return False
        return True

    def vkey(self) -> str:
        """The key as text."""
        return _vkey(self.name, self.key_id, ED25519_COSIGNATURE, self._raw)


class Mldsa44Cosignature(NoteVerifier):
    """An ML-DSA-44 key of a log or a witness (signature type 0x06)."""

    def __init__(self, name: str, public: bytes) -> None:
        """``public`` is the 1312-byte encoding of FIPS 204.

        Raises:
            ValueError: a bad name or key.
        """
        self.name = check_name(name)
        self._raw = public
        try:
            self._key = MLDSA44PublicKey.from_public_bytes(public)
        except UnsupportedAlgorithm as error:
            raise ValueError("ML-DSA-44 is not available on this machine") from error
        self.key_id = key_id(name, MLDSA44, public)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over the checkpoint ``text``."""
        if len(signature) != 8 + 2420 or (time := cosigned_at(signature)) is None:
            return False
        try:
            self._key.verify(signature[8:], _subtree_message(self.name, text, time))
        except (InvalidSignature, NoteRefused):
            return False
        return True

    def vkey(self) -> str:
        """The key as text."""
        return _vkey(self.name, self.key_id, MLDSA44, self._raw)


class Ed25519Cosigner(NoteSigner):
    """A witness's private key in this process."""

    def __init__(self, name: str, private: Secret, clock: Clock) -> None:
        """``private`` is the 32-byte seed of RFC 8032.

        Raises:
            ValueError: a bad name or key.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(private.reveal())
        self._clock = clock
        self._verifier = Ed25519Cosignature(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: bytes) -> NoteSignature:
        """A cosignature as of now. `NoteRefused` if ``text`` is no checkpoint."""
        time = self._clock.now_ms() // 1000
        raw = _TIME.pack(time) + self._key.sign(_v1_message(text, time))
        return NoteSignature(self._verifier.name, self._verifier.key_id, raw)

    def verifier(self) -> NoteVerifier:
        """The public part."""
        return self._verifier


class Mldsa44Cosigner(NoteSigner):
    """An ML-DSA-44 private key in this process."""

    def __init__(self, name: str, private: Secret, clock: Clock) -> None:
        """``private`` is the 32-byte seed of FIPS 204.

        Raises:
            ValueError: a bad name or key.
        """
        self._key = MLDSA44PrivateKey.from_seed_bytes(private.reveal())
        self._clock = clock
        self._verifier = Mldsa44Cosignature(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: bytes) -> NoteSignature:
        """A cosignature as of now. `NoteRefused` if ``text`` is no checkpoint."""
        time = self._clock.now_ms() // 1000
        raw = self._key.sign(_subtree_message(self._verifier.name, text, time))
        return NoteSignature(self._verifier.name, self._verifier.key_id, _TIME.pack(time) + raw)

    def verifier(self) -> NoteVerifier:
        """The public part."""
        return self._verifier


def cosigned_at(signature: bytes) -> int | None:
    """The POSIX second that a cosignature states; None where the format forbids it.

    A time of zero states no time, and is no statement that this is the largest tree seen.
    """
    if len(signature) < _TIME.size:
        return None
    time = int(_TIME.unpack_from(signature)[0])
    return time if 0 < time <= _MAX_TIME else None


def _v1_message(text: bytes, time: int) -> bytes:
    parse_checkpoint_text(text.decode())
    return b"cosignature/v1\ntime %d\n" % time + text


def _subtree_message(name: str, text: bytes, time: int) -> bytes:
    checkpoint = parse_checkpoint_text(text.decode())
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    # Names are at most 255 bytes (`check_name`), so each length fits its byte.
    return b"".join(
        (
            _LABEL,
            bytes((len(cosigner),)) + cosigner,
            _TIME.pack(time),
            bytes((len(origin),)) + origin,
            _TIME.pack(0),
            _TIME.pack(checkpoint.size),
            checkpoint.root,
        )
    )


def _vkey(name: str, identity: bytes, kind: int, public: bytes) -> str:
    return f"{name}+{identity.hex()}+{base64.b64encode(bytes((kind,)) + public).decode()}"
