"""Envelopes: every value under a data key of its own, and that key under the master key.

Why a sealed value is safe at rest:

 (1) AES-256-GCM (NIST SP 800-38D) with a fresh random 256-bit data key and 96-bit nonce for each
     value; the context is associated data, so a value moved to another place does not open.
 (2) The data key is wrapped with AES-256-GCM under the master key, and the master key's id is
     associated data. So a new master key needs only the wraps to be written again: no value is
     ever in clear for it.
 (3) One spelling: ``v2.KEY-ID.WRAPPED.SEALED``, base64url without padding, decoded strictly.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cryogate.credentials.master_key import MasterKey, from_file
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import Sealer

_VERSION: Final = "v2"
_NONCE_BYTES: Final = 12
_DATA_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16


class EnvelopeSealer(Sealer):
    """Seals under the first of ``keys`` and opens what any of them sealed."""

    def __init__(self, *keys: MasterKey) -> None:
        if not keys:
            raise ValueError("a sealer needs a master key")
        self._first = keys[0].key_id
        self._ciphers = {key.key_id: AESGCM(key.secret.reveal()) for key in keys}

    def seal(self, value: Secret, context: str) -> str:
        """(3) of a fresh envelope."""
        data_key = Secret(secrets.token_bytes(_DATA_KEY_BYTES))
        sealed = _encrypt(AESGCM(data_key.reveal()), value, _bound(context))
        return f"{_VERSION}.{self._first}.{self._wrap(data_key)}.{sealed}"

    def open(self, sealed: str, context: str) -> Secret:
        """The value.

        Raises:
            ValueError: another key, another context, or altered.
        """
        key_id, wrapped, body = _parts(sealed)
        data_key = self._unwrap(key_id, wrapped)
        return _decrypt(AESGCM(data_key.reveal()), body, _bound(context))

    def rewrap(self, sealed: str) -> str:
        """The same value under the first key; its text does not change when it is already.

        Raises:
            ValueError: as `open`.
        """
        key_id, wrapped, body = _parts(sealed)
        if key_id == self._first:
            return sealed
        return f"{_VERSION}.{self._first}.{self._wrap(self._unwrap(key_id, wrapped))}.{body}"

    def _wrap(self, data_key: Secret) -> str:
        return _encrypt(self._ciphers[self._first], data_key, _wrapping(self._first))

    def _unwrap(self, key_id: str, wrapped: str) -> Secret:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ValueError("sealed under another key")
        return _decrypt(cipher, wrapped, _wrapping(key_id))


class FileSealer(EnvelopeSealer):
    """Seals under the key in ``path``, which is made at first use of the file name.

    Raises:
        MasterKeyUnusable: the file is not a private key file of this user.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(*from_file(path))


def _bound(context: str) -> bytes:
    return f"cryogate {_VERSION} value {context}".encode()


def _wrapping(key_id: str) -> bytes:
    return f"cryogate {_VERSION} key {key_id}".encode()


def _encrypt(cipher: AESGCM, value: Secret, bound: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _encode(nonce + cipher.encrypt(nonce, value.reveal(), bound))


def _decrypt(cipher: AESGCM, text: str, bound: bytes) -> Secret:
    data = _decode(text)
    if len(data) < _NONCE_BYTES + _TAG_BYTES:
        raise ValueError("not a sealed value")
    try:
        return Secret(cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound))
    except InvalidTag:
        raise ValueError("another key, another context, or altered") from None


def _parts(sealed: str) -> tuple[str, str, str]:
    parts = sealed.split(".")
    if parts[0] != _VERSION:
        raise ValueError("sealed by an unknown version")
    if len(parts) != 4:
        raise ValueError("not a sealed value")
    return parts[1], parts[2], parts[3]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not a sealed value") from None
    if _encode(data) != text:  # unused bits would give one value two spellings
        raise ValueError("not a sealed value")
    return data
