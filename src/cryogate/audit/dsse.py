"""DSSE envelopes: a payload, its type, and ECDSA P-256 signatures over both (DER, SHA-256)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)

from cryogate.audit.errors import NoteRefused

MAX_PAYLOAD_BYTES = 1 << 20
_SHA256 = ECDSA(hashes.SHA256())


class Signature(msgspec.Struct, frozen=True):
    """One signature and a hint as to whose it is; the hint proves nothing."""

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """See https://github.com/secure-systems-lab/dsse; unknown fields are ignored as it asks."""

    payload_type: str
    payload: str
    signatures: tuple[Signature, ...]


def pae(kind: str, payload: bytes) -> bytes:
    """What is signed: both parts with their lengths, so neither can run into the other."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def key_id(key: EllipticCurvePublicKey) -> str:
    """SHA-256 over the key's SubjectPublicKeyInfo."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(key.public_bytes(serialization.Encoding.DER, spki)).hexdigest()


def pem(key: EllipticCurvePublicKey) -> str:
    """The key as others read it."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, spki).decode()


def load_pem(text: bytes) -> EllipticCurvePublicKey:
    """A P-256 public key in PEM.

    Raises:
        NoteRefused: it is not one.
    """
    try:
        key = serialization.load_pem_public_key(text)
    except ValueError as error:
        raise NoteRefused("not a public key in PEM") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NoteRefused("the provenance key is not a P-256 key")
    return key


def sign(key: EllipticCurvePrivateKey, kind: str, payload: bytes) -> Envelope:
    """A signed envelope around ``payload``."""
    signature = base64.b64encode(key.sign(pae(kind, payload), _SHA256)).decode()
    public = key.public_key()
    return Envelope(
        kind, base64.b64encode(payload).decode(), (Signature(key_id(public), signature),)
    )


def opened(envelope: Envelope, kind: str, trusted: Sequence[EllipticCurvePublicKey]) -> bytes:
    """The payload, if it is of ``kind`` and a trusted key signed it.

    Raises:
        NoteRefused: it is not.
    """
    if envelope.payload_type != kind or len(envelope.payload) > 2 * MAX_PAYLOAD_BYTES:
        raise NoteRefused(f"the envelope does not hold {kind}")
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [base64.b64decode(s.sig, validate=True) for s in envelope.signatures[:16]]
    except (binascii.Error, ValueError) as error:
        raise NoteRefused("the envelope is not base64") from error
    message = pae(kind, payload)
    for key in trusted:
        for signature in signatures:
            try:
                key.verify(signature, message, _SHA256)
            except InvalidSignature:
                continue
            return payload
    raise NoteRefused("no trusted key has signed this statement")
