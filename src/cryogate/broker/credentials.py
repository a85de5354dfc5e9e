"""Ways by which an agent proves who it is, beside keys of its own.

Each is kept like a key, under an id that follows from its content, and belongs to one client only:
two agents never share one. Removing it ends the tokens that were got by it.

- `OwnCertificate`: a self-signed certificate (RFC 8705 section 2.2)
- `NamedCertificate`: one name in certificates of the configured authorities (section 2.1), for
  SPIFFE a ``san_uri``
- `Federated`: tokens of another issuer, with conditions (`cryogate.broker.federation`)
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from cryogate.broker.client_keys import MAX_KEYS, registry_event
from cryogate.broker.federation import Federated, check_rule
from cryogate.broker.rows import agent_of, number, text
from cryogate.domain.errors import Conflict, Malformed, NotFound, Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    ReadStore,
    Statement,
    Store,
    StoreUnavailable,
    UnitOfWork,
)
from cryogate.tokens import certificates
from cryogate.tokens.encoding import b64
from cryogate.tokens.errors import TokenError

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class OwnCertificate(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="certificate"
):
    """A self-signed certificate, as base64 of its DER."""

    der: Annotated[str, msgspec.Meta(max_length=24 << 10)]


class NamedCertificate(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="subject",
):
    """Exactly one name, compared byte for byte."""

    san_uri: _Name | None = None
    san_dns: _Name | None = None
    san_email: _Name | None = None
    san_ip: _Name | None = None
    subject_dn: _Name | None = None

    def name(self) -> tuple[str, str] | None:
        """Which name, and its value; None unless there is exactly one."""
        given = [(k, v) for k in certificates.NAME_KINDS if (v := getattr(self, k)) is not None]
        return given[0] if len(given) == 1 else None


log = logging.getLogger("cryogate.broker")

Credential = OwnCertificate | NamedCertificate | Federated
_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final[msgspec.json.Decoder[Credential]] = msgspec.json.Decoder(Credential)


@dataclass(frozen=True, slots=True)
class Held:
    """A registered credential under its id."""

    kid: str
    credential: Credential
    created_ms: int


async def held_by(store: ReadStore, client_id: str) -> Sequence[Held]:
    """The credentials of a client, oldest first.

    Raises:
        StoreUnavailable: one cannot be read.
    """
    rows = await store.fetch("client_credentials_by_client", {"client_id": client_id})
    try:
        return tuple(
            Held(text(row, "kid"), _decoder.decode(text(row, "jwk")), number(row, "created_ms"))
            for row in rows
        )
    except msgspec.MsgspecError as error:
        raise StoreUnavailable("a stored credential cannot be read") from error


class Credentials:
    """Registers credentials. ``actor`` is the operator who asks. `ClientKeys.remove` removes.

    ``trust`` is told of self-signed certificates, for TLS must take them in handshakes.
    """

    def __init__(
        self, store: Store, clock: Clock, trust: Callable[[Iterable[bytes]], None] | None = None
    ) -> None:
        self._store, self._clock, self._trust = store, clock, trust

    async def follow(self, every_s: float) -> None:
        """Take certificates in handshakes that were registered, here or by another process."""
        while True:
            try:
                await self.refresh()
            except Unavailable:
                log.warning("the registered certificates cannot be read", exc_info=True)
            await asyncio.sleep(every_s)

    async def refresh(self) -> None:
        """Read the registered certificates now.

        Raises:
            Unavailable: the store did not answer.
        """
        if self._trust is None:
            return
        rows = await self._store.fetch("certificates_registered", {})
        held = (_decoder.decode(text(row, "jwk")) for row in rows)
        self._trust(base64.b64decode(c.der) for c in held if isinstance(c, OwnCertificate))

    async def list(self, client_id: str) -> Sequence[Held]:
        """As `held_by`."""
        return await held_by(self._store, client_id)

    async def add(self, agent_id: str, credential: Credential, *, actor: str) -> Held:
        """Register one more.

        Raises:
            NotFound: there is no such agent.
            Malformed: not an acceptable credential.
            Conflict: registered already, another client's, or there are too many.
        """
        row = await self._store.fetch_one("agent_by_id", {"agent_id": agent_id})
        if row is None:
            raise NotFound("no_such_agent", "there is no such agent")
        now_ms = self._clock.now_ms()
        kid = credential_id(credential, now_ms)
        document = _encoder.encode(credential).decode()
        insert = Statement(
            "client_credential_insert",
            {
                "client_id": agent_id,
                "kid": kid,
                "kind": str(credential.__struct_config__.tag),
                "jwk": document,
                "created_ms": now_ms,
                "max_keys": MAX_KEYS,
            },
            guard="key",
        )
        reasons = (f"kid {kid}", *_told(credential))
        event = registry_event(now_ms, "credential.added", actor, agent_of(row), reasons)
        try:
            await self._store.commit(UnitOfWork((insert,), (event,)))
        except AlreadyExists:
            raise Conflict("already_exists", "this credential is registered already") from None
        except GuardFailed:
            raise Conflict(
                "key_refused",
                f"the credential is another client's, or there are {MAX_KEYS} already",
            ) from None
        if isinstance(credential, OwnCertificate):
            await self.refresh()
        return Held(kid, credential, now_ms)


def credential_id(credential: Credential, now_ms: int) -> str:
    """The id that follows from the content; a certificate's is its thumbprint.

    Raises:
        Malformed: the content is not acceptable.
    """
    match credential:
        case OwnCertificate():
            try:
                der = base64.b64decode(credential.der, validate=True)
                certificates.require_self_signed(der, now_ms)
            except (TokenError, ValueError) as error:
                raise Malformed("malformed_certificate", str(error)) from None
            return certificates.PeerCertificate(der).thumbprint
        case NamedCertificate():
            name = credential.name()
            if name is None:
                kinds = ", ".join(certificates.NAME_KINDS)
                raise Malformed("malformed_credential", f"give exactly one of {kinds}")
            if "*" in name[1] or name[1] != name[1].strip():
                raise Malformed("malformed_credential", "names are compared whole: no wildcard")
            if name[0] == "san_dns" and name[1] != name[1].lower():
                raise Malformed("malformed_credential", "write DNS names in lower case")
        case Federated():
            check_rule(credential)
    return b64(hashlib.sha256(_encoder.encode(credential)).digest())


def _told(credential: Credential) -> tuple[str, ...]:
    match credential:
        case OwnCertificate():
            return ("self-signed certificate",)
        case NamedCertificate():
            return (": ".join(credential.name() or ()),)
        case Federated():
            return (f"issuer {credential.issuer}", f"audience {credential.audience}")
