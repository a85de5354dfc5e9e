"""The master key: from a file, from a passphrase, or from the environment.

(1) A key file is made with ``O_EXCL`` and mode 0600, and is refused when anybody but its owner may
    read or write it, when it belongs to another user, or when it is a link. Beside it may lie the
    next key (``.next``) while a re-key is under way: both open, and a crash loses nothing.
(2) A passphrase goes through scrypt (RFC 7914) with a random salt kept beside the state; 128 MiB
    and a fifth of a second for each guess.
(3) From the environment it is taken out as it is read, so that no process we start inherits it.
(4) A key's id is the first half of its SHA-256 under a label: it tells keys apart, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret

KEY_BYTES: Final = 32
KEY_VARIABLE: Final = "CRYOGATE_MASTER_KEY"
PASSPHRASE_VARIABLE: Final = "CRYOGATE_MASTER_PASSPHRASE"  # noqa: S105 - a name
_MIN_PASSPHRASE: Final = 12
_SALT_BYTES: Final = 16
_COST: Final = 1 << 17


class MasterKeyUnusable(Unavailable):
    """The master key cannot be trusted or read; the text says the way out."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key and the id by which envelopes name it."""

    key_id: str
    secret: Secret


def master_key(secret: Secret) -> MasterKey:
    """(4): ``secret`` with its id.

    Raises:
        MasterKeyUnusable: it has another length.
    """
    if len(secret.reveal()) != KEY_BYTES:
        raise MasterKeyUnusable(f"a master key has {KEY_BYTES} bytes")
    digest = hashlib.sha256(b"cryogate master key id\0" + secret.reveal()).hexdigest()
    return MasterKey(digest[:16], secret)


def from_file(path: Path) -> tuple[MasterKey, ...]:
    """(1): the key in ``path``, made if there is none, and the next one if there is.

    Raises:
        MasterKeyUnusable: the file is not a private key file of this user.
    """
    with contextlib.suppress(FileExistsError):
        _create(path, KEY_BYTES)
    found = [master_key(_read(path, KEY_BYTES))]
    if next_path(path).exists():
        found.append(master_key(_read(next_path(path), KEY_BYTES)))
    return tuple(found)


def next_path(path: Path) -> Path:
    """Where the next key lies while a re-key is under way."""
    return path.with_name(path.name + ".next")


def make_next(path: Path) -> MasterKey:
    """The next key for ``path``: the one that an interrupted re-key left, else a fresh one."""
    with contextlib.suppress(FileExistsError):
        _create(next_path(path), KEY_BYTES)
    return master_key(_read(next_path(path), KEY_BYTES))


def from_passphrase(passphrase: Secret, salt_path: Path) -> MasterKey:
    """(2): the key of a passphrase, and of the salt in ``salt_path``, which is made if missing.

    Raises:
        MasterKeyUnusable: too short, or the salt cannot be trusted.
    """
    if len(passphrase.reveal()) < _MIN_PASSPHRASE:
        raise MasterKeyUnusable(f"a passphrase has at least {_MIN_PASSPHRASE} characters")
    with contextlib.suppress(FileExistsError):
        _create(salt_path, _SALT_BYTES)
    salt = _read(salt_path, _SALT_BYTES)
    derived = hashlib.scrypt(
        passphrase.reveal(), salt=salt.reveal(), n=_COST, r=8, p=1, maxmem=256 << 20,
        dklen=KEY_BYTES,
    )  # fmt: skip
    return master_key(Secret(derived))


def from_text(text: Secret) -> MasterKey:
    """A key written as base64url.

    Raises:
        MasterKeyUnusable: it is not one.
    """
    written = text.reveal().strip().rstrip(b"=")
    try:
        key = Secret(base64.b64decode(written + b"=" * (-len(written) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise MasterKeyUnusable("a master key is written in base64url") from None
    return master_key(key)


def take(environ: MutableMapping[str, str], name: str) -> Secret:
    """(3): a variable's value; the variable is gone afterwards.

    Raises:
        MasterKeyUnusable: it is not set.
    """
    value = environ.pop(name, "")
    if not value:
        raise MasterKeyUnusable(f"the environment variable {name} is not set")
    return Secret(value.encode())


def _read(path: Path, size: int) -> Secret:
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
        held = Secret(file.read(size + 1))
    if len(held.reveal()) != size:
        raise MasterKeyUnusable(f"{path} does not hold {size} bytes")
    return held


def _create(path: Path, size: int) -> None:
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
            file.write(secrets.token_bytes(size))
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
