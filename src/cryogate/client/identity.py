"""Who a client is: its key, and the credential file that holds it.

The key never leaves this module except into a new credential file. ``repr`` shows its
thumbprint only.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from cryogate.domain.errors import Malformed
from cryogate.tokens import dpop, keys
from cryogate.tokens.assertion import ACTOR_TYPE, ASSERTION_TYPE, make_assertion
from cryogate.tokens.errors import TokenError

_MAX_FILE_BYTES = 64 << 10


class Identity:
    """A client id and its ES256 key; proves both, shows neither."""

    __slots__ = ("_client_id", "_key")

    def __init__(self, client_id: str, key: keys.SigningKey | Mapping[str, Any]) -> None:
        self._client_id = client_id
        if isinstance(key, keys.SigningKey):
            self._key = key
            return
        try:
            self._key = keys.load_private(key)
        except TokenError as error:
            raise Malformed("malformed_key", f"not a usable ES256 key: {error}") from None

    @classmethod
    def generate(cls, client_id: str) -> Identity:
        """An identity with a fresh key."""
        return cls(client_id, keys.generate())

    def named(self, client_id: str) -> Identity:
        """The same key under the name that the server gave it."""
        return Identity(client_id, self._key)

    @property
    def client_id(self) -> str:
        """The OAuth client id."""
        return self._client_id

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint."""
        return self._key.kid

    def public_jwk(self) -> dict[str, str]:
        """The public half, to be registered."""
        return self._key.public.jwk()

    def assertion(self, audience: str, now_ms: int) -> str:
        """A client assertion (RFC 7523 section 2.2), good once and for a minute."""
        return make_assertion(self._key, self._client_id, audience, now=now_ms // 1000)

    def consent(self, audience: str, now_ms: int | None = None) -> str:
        """An actor token (RFC 8693): this agent's consent to act for whoever it hands this to.

        ``audience`` is the server's URL. Good once and for a minute from ``now_ms``, which is now
        unless given. It authenticates nobody, and what it leads to works only with this key.
        """
        now_s = time.time_ns() // 10**9 if now_ms is None else now_ms // 1000
        return make_assertion(self._key, self._client_id, audience, now=now_s, typ=ACTOR_TYPE)

    def grant(self, audience: str, now_ms: int) -> Mapping[str, str]:
        """A token request by ``private_key_jwt``."""
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(audience, now_ms),
        }

    def proof(
        self, method: str, url: str, now_ms: int, token: str | None, nonce: str | None
    ) -> str:
        """A DPoP proof (RFC 9449 section 4.2) with a fresh ``jti``."""
        ath = None if token is None else dpop.token_hash(token)
        return dpop.make_proof(self._key, method, url, now=now_ms // 1000, ath=ath, nonce=nonce)

    def __repr__(self) -> str:
        return f"Identity({self._client_id!r}, kid={self.kid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is not pickled: its key would leave this process")

    def private_jwk(self) -> dict[str, str]:
        """All members, for a credential file and nothing else."""
        return self._key.private_jwk()


@dataclass(frozen=True, slots=True)
class Credential:
    """What a credential file holds."""

    client_id: str
    identity: Identity
    url: str | None
    experiment_id: str | None
    ca_file: str | None = None
    next_identity: Identity | None = field(default=None, repr=False)


def read_credential(path: str | os.PathLike[str]) -> Credential:
    """The credential in a file that is its owner's alone.

    Raises:
        Malformed: missing, a symbolic link or not a plain file, readable by others, somebody
            else's, or not a credential. The text never shows the file's content.
    """
    name = Path(path).name
    data = read_private_file(Path(path))
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Malformed("malformed_credential", f"{name} is not a JSON object") from None
    client_id = fields.get("client_id")
    # The key stands under "jwk", or its members stand beside client_id.
    jwk = fields.get("jwk")
    if jwk is None:
        about = ("client_id", "url", "experiment_id", "ca_file", "next_jwk")
        jwk = {member: value for member, value in fields.items() if member not in about}
    if not isinstance(client_id, str) or not client_id or not isinstance(jwk, dict):
        raise Malformed("malformed_credential", f"{name} needs client_id and jwk")
    url, experiment = fields.get("url"), fields.get("experiment_id")
    ca_file, pending = fields.get("ca_file"), fields.get("next_jwk")
    return Credential(
        client_id,
        Identity(client_id, jwk),
        url if isinstance(url, str) else None,
        experiment if isinstance(experiment, str) else None,
        ca_file if isinstance(ca_file, str) else None,
        Identity(client_id, pending) if isinstance(pending, dict) else None,
    )


def read_private_file(path: Path) -> bytes:
    """The content of a small file that is its owner's alone.

    Raises:
        Malformed: missing, a link or not a plain file, open to others, somebody else's, too long.
    """
    name = path.name
    try:
        # The checks are on the opened file, so it cannot be exchanged in between.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Malformed("no_credential", f"cannot open {name}: {error.strerror}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Malformed("malformed_credential", f"{name} is not a plain file")
        if found.st_mode & 0o077:
            raise Malformed(
                "exposed_credential",
                f"{name} can be read by others, so its key may be known: chmod 600 {name}, and "
                "register a new key if others had access",
            )
        if found.st_uid not in (os.geteuid(), 0):
            raise Malformed("foreign_credential", f"{name} belongs to another user")
        data = os.read(handle, _MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > _MAX_FILE_BYTES:
        raise Malformed("malformed_credential", f"{name} is too long")
    return data


def write_credential(
    path: str | os.PathLike[str],
    identity: Identity,
    url: str | None = None,
    experiment_id: str | None = None,
    ca_file: str | None = None,
) -> None:
    """Write a new credential file, 0600 from its first moment. An existing file is never replaced.

    Raises:
        Malformed: the file exists or cannot be made.
    """
    _write(Path(path), Credential(identity.client_id, identity, url, experiment_id, ca_file))


def replace_credential(path: str | os.PathLike[str], held: Credential) -> None:
    """Put ``held`` in place of a credential file: a reader sees the old one or the new one, whole.

    Raises:
        Malformed: it cannot be written.
    """
    partial = Path(path).with_name(Path(path).name + ".new")
    partial.unlink(missing_ok=True)
    _write(partial, held)
    try:
        partial.replace(path)
    except OSError as error:
        raise Malformed(
            "no_credential", f"cannot write {Path(path).name}: {error.strerror}"
        ) from None


def _write(path: Path, held: Credential) -> None:
    fields = {
        "client_id": held.client_id,
        "url": held.url,
        "experiment_id": held.experiment_id,
        "ca_file": held.ca_file,
        "jwk": held.identity.private_jwk(),
        "next_jwk": None if held.next_identity is None else held.next_identity.private_jwk(),
    }
    document = {name: value for name, value in fields.items() if value is not None}
    text = msgspec.json.format(msgspec.json.encode(document))
    name = path.name
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Malformed("credential_exists", f"{name} exists; it is not overwritten") from None
    except OSError as error:
        raise Malformed("no_credential", f"cannot write {name}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(text + b"\n")
        file.flush()
        os.fsync(handle)
