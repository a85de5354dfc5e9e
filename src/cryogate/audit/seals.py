"""Commitments and sealed texts: how a value is in the log without being in it.

Why the log tells nothing, and why what is shown later can be believed:

(1) In the leaf stands ``sealed:`` and SHA-256 over a salt, the field's name and the value. The
    salt is 128 bits drawn by the value under the scope's key, so nobody without the key can try out
    values, however few there are (the SHA-256 of a textbook circuit falls to a dictionary).
(2) SHA-256 binds: no other field and no other value opens it. Who has salt and value can check that
    with nothing else, and learns nothing about any other value.
(3) The value itself lies in a side table, AES-256-GCM under another key of the scope, bound to it
    and to the commitment. A text that was altered or moved does not open.
(4) Without the scope's key neither (1) nor (3) can be undone. The leaf never changes, so the log
    verifies as before.

One value of one field has one commitment within a scope: who reads the log sees that two events
tell of the same person or circuit, but not of which. Across scopes it does not show.

What may never change: (1), for commitments that are in a log.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
from binascii import b2a_base64
from hashlib import blake2b, sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cryogate.domain.secrets import Secret

PREFIX: Final = "sealed:"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
_DOMAIN: Final = b"cryogate sealed v1\0"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_TOKEN: Final = re.compile(r"sealed:[A-Za-z0-9_-]{43}")
# In each of many scopes: enough for a job's events to find what its first one said.
_MAX_KNOWN: Final = 512
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class SealBroken(ValueError):
    """A sealed text does not open, or opens to something that was not committed to."""


def is_token(value: object) -> bool:
    """Whether ``value`` has the form of a commitment."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def commitment(field: str, value: str, salt: bytes) -> str:
    """(1): what stands in the leaf."""
    digest = sha256(_DOMAIN + salt + _text(field, value)).digest()
    return PREFIX + b2a_base64(digest, newline=False)[:-1].translate(_URL_SAFE).decode()


About = tuple[str, str | None, str | None, tuple[str, ...] | None, tuple[str, ...] | None]
Told = tuple[str | None, str | None, tuple[str, ...] | None, tuple[str, ...] | None]


class ScopeKey:
    """What seals and opens in one scope: an experiment, or a month of what belongs to none."""

    def __init__(self, scope: str, secret: Secret) -> None:
        if len(secret.reveal()) != KEY_BYTES:
            raise ValueError(f"a scope's key has {KEY_BYTES} bytes")
        self.scope = scope
        self._secret = hmac.digest(secret.reveal(), b"cryogate scope salts", "sha256")
        self._cipher = AESGCM(hmac.digest(secret.reveal(), b"cryogate scope texts", "sha256"))
        self._known: dict[tuple[str, str], str] = {}
        #: What stands in the leaf for texts that are all on disk; see `remember`.
        self.told: dict[About, Told] = {}

    def remember(self, about: About, told: Told) -> None:
        """Note what ``told`` is made of, for `told`."""
        if len(self.told) >= _MAX_KNOWN:
            self.told.clear()
        self.told[about] = told

    def token(self, field: str, value: str) -> str:
        """The commitment to a value of a field."""
        known = self._known.get((field, value))
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[field, value] = commitment(field, value, self.salt(field, value))
        return known

    def salt(self, field: str, value: str) -> bytes:
        """What opens the commitment to ``value``, together with it."""
        return self._drawn(_text(field, value))[:SALT_BYTES]

    def seal(self, field: str, value: str, token: str) -> str:
        """(3): the text for the side table."""
        text = _text(field, value)
        # Never one nonce for two texts, any more than with random ones: it is drawn by the text
        # under a secret, so the same nonce again means the same text again.
        nonce = self._drawn(text)[SALT_BYTES:]
        sealed = nonce + self._cipher.encrypt(nonce, text, self._bound(token))
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str, token: str) -> tuple[str, str]:
        """The field and the value behind ``token``.

        Raises:
            SealBroken: altered, moved, or not what was committed to.
        """
        try:
            data = base64.b64decode(sealed, validate=True)
            if len(data) < _NONCE_BYTES + _TAG_BYTES:
                raise ValueError("too short")
            nonce, body = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
            field, _, value = self._cipher.decrypt(nonce, body, self._bound(token)).partition(b"\0")
            name, text = field.decode(), value.decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError) as error:
            raise SealBroken("altered, moved, or sealed under another key") from error
        if commitment(name, text, self.salt(name, text)) != token:
            raise SealBroken("it opens to another value than the one in the log")
        return name, text

    def _drawn(self, text: bytes) -> bytes:
        """Salt and nonce of a text: keyed BLAKE2b (RFC 7693), so random to who has not the key."""
        return blake2b(text, digest_size=SALT_BYTES + _NONCE_BYTES, key=self._secret).digest()

    def _bound(self, token: str) -> bytes:
        return f"{self.scope}\0{token}".encode()


class LostKey(ScopeKey):
    """The key of a scope that was shredded: commits to what nobody will ever open."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope, Secret(os.urandom(KEY_BYTES)))


def _text(field: str, value: str) -> bytes:
    # Half of a surrogate pair cannot be UTF-8; a value that holds one is sealed like any other.
    return f"{field}\0{value}".encode("utf-8", "surrogatepass")
