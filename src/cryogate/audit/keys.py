"""The log's own signing key, sealed in the database.

What may never happen: a new key in the place of one that cannot be opened. Whoever trusts the old
key would see a log that is signed by a stranger, and rightly refuse it.
"""

from __future__ import annotations

import base64
import contextlib

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cryogate.audit.errors import LogIntegrityError
from cryogate.audit.note import Ed25519Signer, NoteSigner
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Sealer
from cryogate.ports.store import AlreadyExists, Row, Statement, Store, UnitOfWork


class _PublicJwk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """RFC 8037 section 2."""

    kty: str
    crv: str
    x: str


async def load_or_create(store: Store, sealer: Sealer, clock: Clock, origin: str) -> NoteSigner:
    """The Ed25519 signer of the log ``origin``; made, sealed and recorded on the first call.

    Raises:
        LogIntegrityError: there is a key, but it cannot be opened or is not the recorded one.
        StoreUnavailable: the database did not answer.
        ValueError: ``origin`` cannot be a key name.
    """
    kid = f"log:{origin}"
    row = await store.fetch_one("log_key", {"kid": kid})
    if row is None:
        # Two processes that start together make one key: the kid is taken for the second.
        with contextlib.suppress(AlreadyExists):
            await _create(store, sealer, clock, kid, origin)
        row = await store.fetch_one("log_key", {"kid": kid})
        if row is None:
            raise LogIntegrityError("the log's signing key vanished after it was stored")
    return _open(row, sealer, kid, origin)


async def _create(store: Store, sealer: Sealer, clock: Clock, kid: str, origin: str) -> None:
    private = Ed25519PrivateKey.generate()
    seed = Secret(private.private_bytes_raw())
    Ed25519Signer(origin, seed)
    now_ms = clock.now_ms()
    insert = Statement(
        "log_add_key",
        {
            "kid": kid,
            "public_jwk": msgspec.json.encode(_jwk(private)).decode(),
            "sealed": sealer.seal(seed, _context(kid)),
            "now_ms": now_ms,
        },
    )
    event = Event(timestamp_ms=now_ms, action="audit.key_create", outcome=Outcome.SUCCESS)
    await store.commit(UnitOfWork((insert,), (event,)))


def _open(row: Row, sealer: Sealer, kid: str, origin: str) -> NoteSigner:
    try:
        seed = sealer.open(str(row["sealed"]), _context(kid))
        private = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        recorded = msgspec.json.decode(str(row["public_jwk"]), type=_PublicJwk)
    except ValueError as error:
        raise LogIntegrityError(
            f"The log's signing key {kid} cannot be opened: another master key, or the row was "
            f"altered. No new key was made. Start with the master key of this database."
        ) from error
    if recorded != _jwk(private):
        raise LogIntegrityError(
            f"The sealed key of {kid} is not the one whose public part is kept."
        )
    return Ed25519Signer(origin, seed)


def _jwk(private: Ed25519PrivateKey) -> _PublicJwk:
    raw = private.public_key().public_bytes_raw()
    return _PublicJwk("OKP", "Ed25519", base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


def _context(kid: str) -> str:
    return f"signing_keys/checkpoint/{kid}"
