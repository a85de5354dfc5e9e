"""Keys sealed in the database: Ed25519, ML-DSA-44 for heads; P-256 for provenance; webhooks' own.

What may never happen: a new key in the place of one that cannot be opened. Whoever trusts the old
key would see a log that is signed by a stranger, and rightly refuse it.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from cryogate.audit.cosign import Mldsa44Cosigner
from cryogate.audit.errors import LogIntegrityError
from cryogate.audit.note import Ed25519Signer, NoteSigner, check_name
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Sealer
from cryogate.ports.store import AlreadyExists, Row, Statement, Store, UnitOfWork

Jwk = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of key is named, made, and shown."""

    prefix: str
    make: Callable[[], bytes]
    public: Callable[[bytes], Jwk]


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _ed25519_jwk(seed: bytes) -> Jwk:
    """RFC 8037 section 2."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return {"kty": "OKP", "crv": "Ed25519", "x": _b64(public)}


def _mldsa44_jwk(seed: bytes) -> Jwk:
    """The key type AKP of JOSE for ML-DSA."""
    public = MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
    return {"kty": "AKP", "alg": "ML-DSA-44", "pub": _b64(public)}


def _p256(raw: bytes) -> EllipticCurvePrivateKey:
    return derive_private_key(int.from_bytes(raw, "big"), SECP256R1())


def _p256_jwk(raw: bytes) -> Jwk:
    point = _p256(raw).public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": _b64(point.x.to_bytes(32, "big")),
            "y": _b64(point.y.to_bytes(32, "big"))}  # fmt: skip


def _new_p256() -> bytes:
    return generate_private_key(SECP256R1()).private_numbers().private_value.to_bytes(32, "big")


_ED25519: Final = _Kind("log", lambda: os.urandom(32), _ed25519_jwk)
_MLDSA44: Final = _Kind("log-mldsa44", lambda: os.urandom(32), _mldsa44_jwk)
_PROVENANCE: Final = _Kind("provenance", _new_p256, _p256_jwk)
_WEBHOOK: Final = _Kind("webhook", lambda: os.urandom(32), _ed25519_jwk)


async def load_or_create(store: Store, sealer: Sealer, clock: Clock, origin: str) -> NoteSigner:
    """The Ed25519 signer of the log ``origin``; made, sealed and recorded on the first call.

    Raises:
        LogIntegrityError: there is a key, but it cannot be opened or is not the recorded one.
        StoreUnavailable: the database did not answer.
        ValueError: ``origin`` cannot be a key name.
    """
    return Ed25519Signer(origin, await _load(store, sealer, clock, origin, _ED25519))


async def load_or_create_mldsa44(
    store: Store, sealer: Sealer, clock: Clock, origin: str
) -> NoteSigner:
    """The ML-DSA-44 signer of the log ``origin``; made on the first call. Raises as above."""
    return Mldsa44Cosigner(origin, await _load(store, sealer, clock, origin, _MLDSA44), clock)


async def load_or_create_provenance(
    store: Store, sealer: Sealer, clock: Clock, origin: str
) -> EllipticCurvePrivateKey:
    """The P-256 key that signs provenance statements; made on the first call. Raises as above."""
    return _p256((await _load(store, sealer, clock, origin, _PROVENANCE)).reveal())


async def load_or_create_webhook(
    store: Store, sealer: Sealer, clock: Clock, origin: str
) -> Ed25519PrivateKey:
    """The Ed25519 key that signs webhooks; made on the first call. Raises as above."""
    seed = await _load(store, sealer, clock, origin, _WEBHOOK)
    return Ed25519PrivateKey.from_private_bytes(seed.reveal())


async def _load(store: Store, sealer: Sealer, clock: Clock, origin: str, kind: _Kind) -> Secret:
    kid = f"{kind.prefix}:{check_name(origin)}"
    row = await store.fetch_one("log_key", {"kid": kid})
    if row is None:
        # Two processes that start together make one key: the kid is taken for the second.
        with contextlib.suppress(AlreadyExists):
            await _create(store, sealer, clock, kid, kind)
        row = await store.fetch_one("log_key", {"kid": kid})
        if row is None:
            raise LogIntegrityError("the log's signing key vanished after it was stored")
    return _open(row, sealer, kid, kind)


async def _create(store: Store, sealer: Sealer, clock: Clock, kid: str, kind: _Kind) -> None:
    seed = Secret(kind.make())
    public = msgspec.json.encode(kind.public(seed.reveal())).decode()
    now_ms = clock.now_ms()
    insert = Statement(
        "log_add_key",
        {
            "kid": kid,
            "public_jwk": public,
            "sealed": sealer.seal(seed, _context(kid)),
            "now_ms": now_ms,
        },
    )
    event = Event(
        timestamp_ms=now_ms,
        action="audit.key_create",
        outcome=Outcome.SUCCESS,
        decision_reasons=(f"kid {kid}", f"jwk sha256:{sha256(public.encode()).hexdigest()}"),
    )
    await store.commit(UnitOfWork((insert,), (event,)))


def _open(row: Row, sealer: Sealer, kid: str, kind: _Kind) -> Secret:
    try:
        seed = sealer.open(str(row["sealed"]), _context(kid))
        derived = kind.public(seed.reveal())
        recorded = msgspec.json.decode(str(row["public_jwk"]), type=dict[str, str])
    except ValueError as error:
        raise LogIntegrityError(
            f"The log's signing key {kid} cannot be opened: another master key, or the row was "
            f"altered. No new key was made. Start with the master key of this database."
        ) from error
    if recorded != derived:
        raise LogIntegrityError(
            f"The sealed key of {kid} is not the one whose public part is kept."
        )
    return seed


def _context(kid: str) -> str:
    return f"signing_keys/checkpoint/{kid}"
