"""Other ways than a key of one's own to prove who one is; each is given to `Client` as its key.

None of them shows its secret in ``repr``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cryogate.client.identity import Identity, read_credential, read_private_file, write_credential
from cryogate.client.protocol import Prover
from cryogate.client.transport import ClientTls
from cryogate.domain.errors import Malformed

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MAX_ASSERTION = 8192


class CertificateIdentity:
    """A client certificate (RFC 8705): the connection is the proof, and tokens are bound to it.

    ``cert`` and ``key`` are PEM files, ``ca_file`` the authorities of the server's certificate.
    """

    def __init__(self, client_id: str, cert: str, key: str, ca_file: str | None = None) -> None:
        self._client_id = client_id
        self.tls = ClientTls(ca_file, cert, key)

    @property
    def client_id(self) -> str:
        """The OAuth client id."""
        return self._client_id

    def grant(self, audience: str, now_ms: int) -> Mapping[str, str]:
        """A token request without an assertion."""
        return {"grant_type": "client_credentials", "client_id": self._client_id}

    def proof(
        self, method: str, url: str, now_ms: int, token: str | None, nonce: str | None
    ) -> None:
        """None: the connection is the proof."""
        return

    def __repr__(self) -> str:
        return f"CertificateIdentity({self._client_id!r})"


class FederatedIdentity:
    """Tokens of another issuer (RFC 7523 section 2.1), bound to a key made here.

    ``assertion`` gives the issuer's present token whenever one is needed: Kubernetes writes a new
    one into the file now and then, GitHub hands one out on demand.
    """

    def __init__(
        self, client_id: str, assertion: Callable[[], str], key: Identity | None = None
    ) -> None:
        self._key = key or Identity.generate(client_id)
        self._assertion = assertion

    @classmethod
    def from_file(
        cls, client_id: str, path: str | Path, key_file: Path | None = None
    ) -> FederatedIdentity:
        """The token is read from a file each time, as Kubernetes projects it.

        A server may take one token with one key only. In ``key_file`` the key made here is kept
        for the next process that has the same token; where it cannot be kept, it is not.
        """

        def read() -> str:
            try:
                with Path(path).open("rb") as file:
                    data = file.read(_MAX_ASSERTION + 1)
            except OSError as error:
                raise Malformed("no_credential", f"no token to read: {error.strerror}") from None
            if len(data) > _MAX_ASSERTION or not data.isascii():
                raise Malformed("malformed_credential", "the file does not hold a token")
            return data.decode("ascii").strip()

        return cls(client_id, read, None if key_file is None else _kept(client_id, key_file))

    @property
    def client_id(self) -> str:
        """The OAuth client id."""
        return self._key.client_id

    def grant(self, audience: str, now_ms: int) -> Mapping[str, str]:
        """A token request by the other issuer's token."""
        return {
            "grant_type": JWT_BEARER,
            "client_id": self.client_id,
            "assertion": self._assertion(),
        }

    def proof(
        self, method: str, url: str, now_ms: int, token: str | None, nonce: str | None
    ) -> str:
        """A proof by the key made here."""
        return self._key.proof(method, url, now_ms, token, nonce)

    def __repr__(self) -> str:
        return f"FederatedIdentity({self.client_id!r})"


@dataclass(frozen=True, slots=True)
class AgentFile:
    """What an agent's credential file says: how it proves who it is, and what it is for."""

    prover: Prover
    url: str | None
    experiment_id: str | None
    ca_file: str | None
    has_key: bool


def read_agent(path: str | os.PathLike[str]) -> AgentFile:
    """The agent of a credential file that is its owner's alone.

    With ``jwk`` it has a key; with ``tls_cert`` and ``tls_key`` a certificate in other files; with
    ``token_file`` the token of another issuer in another file.

    Raises:
        Malformed: as `read_credential`, or the file says more than one of these.
    """
    data = read_private_file(Path(path))
    try:
        found = msgspec.json.decode(data, type=_Keyless)
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = _Keyless()
    if not found.token_file and not found.tls_cert:
        held = read_credential(path)
        return AgentFile(held.identity, held.url, held.experiment_id, held.ca_file, has_key=True)
    name = Path(path).name
    if not found.client_id or found.jwk is not None or (found.token_file and found.tls_cert):
        raise Malformed(
            "malformed_credential", f"{name} needs client_id and one of jwk, tls_cert, token_file"
        )
    prover: Prover
    if found.token_file:
        key_file = Path(path).with_name(name + ".key")
        prover = FederatedIdentity.from_file(found.client_id, found.token_file, key_file)
    else:
        if not found.tls_key:
            raise Malformed("malformed_credential", f"{name} needs tls_key beside tls_cert")
        prover = CertificateIdentity(
            found.client_id, found.tls_cert, found.tls_key, found.ca_file or None
        )
    return AgentFile(
        prover, found.url or None, found.experiment_id or None, found.ca_file or None, has_key=False
    )


def _kept(client_id: str, path: Path) -> Identity:
    """The key in ``path``, or a new one that is put there if that is possible."""
    fresh = Identity.generate(client_id)
    with contextlib.suppress(Malformed):
        write_credential(path, fresh)
        return fresh
    with contextlib.suppress(Malformed):
        held = read_credential(path)
        if held.client_id == client_id:
            return held.identity
    return fresh


class _Keyless(msgspec.Struct, frozen=True):
    client_id: str = ""
    url: str = ""
    experiment_id: str = ""
    ca_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    token_file: str = ""
    jwk: dict[str, str] | None = None
