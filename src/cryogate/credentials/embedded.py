"""Sealing with a master key in a file, and leases for what runs in this process.

Why a sealed value is safe at rest:

 (1) AES-256-GCM (NIST SP 800-38D) with a fresh random 96-bit nonce; the context is associated
     data, so a value moved to another place does not open.
 (2) The key file is made with ``O_EXCL`` and mode 0600, and is refused when anybody but its
     owner may read or write it, when it belongs to another user, or when it is a link.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease, LeaseIssuer, LeaseUnavailable, Sealer

_VERSION: Final = "v1."
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LOCAL: Final = "local"


class MasterKeyUnusable(Unavailable):
    """The master key file cannot be trusted or read; the text says the way out."""


class FileSealer(Sealer):
    """Seals under the key in ``path``, which is made at first use of the file name.

    Raises:
        MasterKeyUnusable: the file is not a private key file of this user.
    """

    def __init__(self, path: Path) -> None:
        self._cipher = AESGCM(_read_key(path).reveal())

    def seal(self, value: Secret, context: str) -> str:
        """``v1.`` and base64url of nonce, ciphertext and tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value.reveal(), _bound(context))
        return _VERSION + base64.urlsafe_b64encode(sealed).decode("ascii")

    def open(self, sealed: str, context: str) -> Secret:
        """The value.

        Raises:
            ValueError: another key, another context, or altered.
        """
        if not sealed.startswith(_VERSION):
            raise ValueError("sealed by an unknown version")
        try:
            data = base64.b64decode(sealed[len(_VERSION) :], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("not a sealed value") from None
        if len(data) < _NONCE_BYTES + _TAG_BYTES:
            raise ValueError("not a sealed value")
        nonce, rest = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            return Secret(self._cipher.decrypt(nonce, rest, _bound(context)))
        except InvalidTag:
            raise ValueError("another key, another context, or altered") from None


def _bound(context: str) -> bytes:
    return f"cryogate {_VERSION}{context}".encode()


def _read_key(path: Path) -> Secret:
    with contextlib.suppress(FileExistsError):
        _create_key(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise MasterKeyUnusable(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise MasterKeyUnusable(f"{path} is no regular file")
        if found.st_uid != os.geteuid():
            raise MasterKeyUnusable(f"{path} belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise MasterKeyUnusable(f"{path} may be read by others; run chmod 600 on it")
        key = file.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise MasterKeyUnusable(f"{path} does not hold a key of {_KEY_BYTES} bytes")
    return Secret(key)


def _create_key(path: Path) -> None:
    # Written whole under another name and linked into place: a crash leaves no half key, and
    # link() fails where the name is taken, so a second process uses the first one's key.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    if path.exists() or path.is_symlink():
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(draft, flags, 0o600)
    except OSError as error:
        raise MasterKeyUnusable(f"{path} cannot be created: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class EmbeddedLeases(LeaseIssuer):
    """Random leases for the local simulators, which need no vendor's key.

    Local adapters check nothing, so ending such a lease has nothing to undo.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def _issue(self, scheme: str, experiment_id: str, ttl_s: int) -> Lease:
        if scheme != _LOCAL:
            raise LeaseUnavailable(f"no credential is configured for {scheme}")
        if ttl_s < 1:
            raise LeaseUnavailable("a lease lasts at least one second")
        return Lease(
            lease_id=f"lease_{secrets.token_hex(16)}",
            scheme=scheme,
            expires_ms=self._clock.now_ms() + ttl_s * 1000,
            secret=Secret(secrets.token_bytes(32)),
        )

    async def revoke(self, lease_id: str) -> None:
        """End a lease now; a local one has no other side to tell."""
