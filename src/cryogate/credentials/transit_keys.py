"""Signing keys in a transit engine (Vault, OpenBao): the private half never comes here.

(1) versions of one named key are the key set; a version is known by its public key's thumbprint
(2) the oldest version signs whose successor is not yet published for ``lead_ms``
(3) what the engine answers is verified with the public key before it is handed out, so neither a
    wrong key nor a broken engine makes tokens that nobody can verify
(4) versions below the engine's ``min_decryption_version`` are distrusted
(5) whatever goes wrong is `Unavailable`: without a signature there is no token
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.keys import OVERLAP_MS, KeyInfo, SigningKeys
from cryogate.ports.store import Store, UnitOfWork
from cryogate.tokens import jws
from cryogate.tokens.encoding import unb64
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import EcPublicKey

_TIMEOUT_S: Final = 3.0
_MAX_BYTES: Final = 256 << 10
_KIND: Final = "ecdsa-p256"
_FINER: Final = re.compile(r"(\.[0-9]{6})[0-9]+")
T = TypeVar("T")


class _Version(msgspec.Struct, frozen=True):
    public_key: str
    creation_time: str


class _Key(msgspec.Struct, frozen=True):
    type: str
    keys: dict[str, _Version]
    min_decryption_version: int = 1


class _KeyAnswer(msgspec.Struct, frozen=True):
    data: _Key


class _Signature(msgspec.Struct, frozen=True):
    signature: str


class _SignAnswer(msgspec.Struct, frozen=True):
    data: _Signature


@dataclass(frozen=True, slots=True)
class _Held:
    version: int
    key: EcPublicKey
    created_ms: int
    retired_ms: int | None

    def signs(self, now_ms: int) -> bool:
        return self.retired_ms is None or now_ms < self.retired_ms

    def served(self, now_ms: int) -> bool:
        return self.retired_ms is None or now_ms < self.retired_ms + OVERLAP_MS


class TransitKeys(SigningKeys):
    """``token`` gives the engine's access token, each time anew, as it may be renewed outside."""

    def __init__(
        self,
        url: str,
        token: Callable[[], Secret],
        store: Store,
        clock: Clock,
        *,
        mount: str = "transit",
        name: str = "cryogate-tokens",
        lead_ms: int = 0,
        ca_file: str | None = None,
    ) -> None:
        self._base = f"{url.rstrip('/')}/v1/{mount}"
        self._token, self._name = token, name
        self._store, self._clock, self._lead_ms = store, clock, lead_ms
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT_S,
            trust_env=False,
            verify=ssl.create_default_context(cafile=ca_file or None),
        )
        self._held: tuple[_Held, ...] = ()
        self._jwks: Mapping[str, Mapping[str, str]] = {}
        self._generation = 0
        self._next_ms: int | None = None

    async def start(self) -> None:
        """See `SigningKeys.start`. The key itself is made by whoever administers the engine."""
        await self.refresh()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def refresh(self) -> None:
        """See `SigningKeys.refresh`."""
        found = (await self._call("GET", f"keys/{self._name}", None, _KeyAnswer)).data
        if found.type != _KIND:
            raise Unavailable(f"the transit key is not of type {_KIND}")
        made: list[tuple[int, EcPublicKey, int]] = []
        try:
            for number, version in found.keys.items():
                if int(number) >= found.min_decryption_version:  # (4)
                    made.append((int(number), _public(version), _epoch_ms(version.creation_time)))
        except (ValueError, TypeError) as error:
            raise Unavailable("the transit key cannot be read") from error
        if not made:
            raise Unavailable("the transit key has no version that may be used")
        made.sort()
        ends: list[int | None] = [created_ms + self._lead_ms for _, _, created_ms in made[1:]]
        held = tuple(  # (1)
            _Held(number, key, created_ms, retired_ms)
            for (number, key, created_ms), retired_ms in zip(made, [*ends, None], strict=True)
        )
        known = [(h.version, h.key.kid, h.retired_ms) for h in self._held]
        if known != [(h.version, h.key.kid, h.retired_ms) for h in held]:
            self._held = held
            self._settle()

    async def rotate(self, actor: str, *, distrust_old: bool = False) -> KeyInfo:
        """See `SigningKeys.rotate`."""
        await self._call("POST", f"keys/{self._name}/rotate", {}, None)
        await self.refresh()
        newest = self._held[-1]
        if distrust_old:
            bounds = {"min_decryption_version": newest.version}
            await self._call("POST", f"keys/{self._name}/config", bounds, None)
            await self.refresh()
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action="signing_key.distrusted" if distrust_old else "signing_key.rotated",
            outcome=Outcome.SUCCESS,
            decision_reasons=(f"kid {newest.key.kid}", f"transit version {newest.version}"),
            actor_chain=(actor,),
        )
        await self._store.commit(UnitOfWork((), (event,)))
        return next(info for info in self.keys() if info.kid == newest.key.kid)

    def keys(self) -> tuple[KeyInfo, ...]:
        """See `SigningKeys.keys`."""
        self._tick()
        now_ms = self._clock.now_ms()
        signer = self._signer(now_ms)
        return tuple(
            KeyInfo(h.key.kid, h.created_ms, h.retired_ms, h is signer)
            for h in self._held
            if h.served(now_ms)
        )

    async def sign(self, header: Mapping[str, str], payload: bytes) -> str:
        """See `TokenSigner.sign`."""
        signer = self._signer(self._clock.now_ms())  # (2)
        if signer is None:
            raise Unavailable("there is no key to sign with")
        text = jws.signing_input({**header, "kid": signer.key.kid}, payload)
        body = {
            "input": base64.b64encode(text.encode("ascii")).decode(),
            "key_version": signer.version,
            "marshaling_algorithm": "jws",
            "prehashed": False,
        }
        path = f"sign/{self._name}/sha2-256"
        answer = (await self._call("POST", path, body, _SignAnswer)).data.signature
        prefix, version, signature = (*answer.split(":"), "", "")[:3]
        if (prefix, version) != ("vault", f"v{signer.version}"):
            raise Unavailable("the transit engine signed with another version")
        try:
            signer.key.verify("ES256", text.encode("ascii"), unb64(signature))  # (3)
        except TokenError as error:
            raise Unavailable("the transit engine's signature does not hold") from error
        return f"{text}.{signature}"

    def public_jwks(self) -> Mapping[str, Mapping[str, str]]:
        """See `TokenKeys.public_jwks`."""
        self._tick()
        return self._jwks

    def generation(self) -> int:
        """See `TokenKeys.generation`."""
        self._tick()
        return self._generation

    def _signer(self, now_ms: int) -> _Held | None:
        return next((h for h in self._held if h.signs(now_ms)), None)

    def _tick(self) -> None:
        if self._next_ms is not None and self._clock.now_ms() >= self._next_ms:
            self._settle()

    def _settle(self) -> None:
        now_ms = self._clock.now_ms()
        served = [h for h in self._held if h.served(now_ms)]
        ends = [h.retired_ms + OVERLAP_MS for h in served if h.retired_ms is not None]
        self._next_ms = min(ends, default=None)
        self._jwks = {h.key.kid: h.key.jwk() for h in served}
        self._generation += 1

    async def _call(self, method: str, path: str, body: object, kind: type[T] | None) -> T:
        content = None if body is None else msgspec.json.encode(body)
        try:  # (5)
            headers = {"x-vault-token": self._token().reveal().decode("ascii").strip()}
            async with self._http.stream(
                method, f"{self._base}/{path}", content=content, headers=headers
            ) as answer:
                found = bytearray()
                async for part in answer.aiter_bytes():
                    found += part
                    if len(found) > _MAX_BYTES:
                        raise Unavailable("the transit engine's answer is too long")
            if answer.status_code not in (200, 204):
                raise Unavailable(f"the transit engine answered {answer.status_code}")
            return msgspec.json.decode(found, type=kind) if kind is not None else None  # type: ignore[return-value]
        except (httpx.HTTPError, msgspec.MsgspecError, OSError, ValueError) as error:
            raise Unavailable("the transit engine cannot be used") from error


def _public(version: _Version) -> EcPublicKey:
    key = load_pem_public_key(version.public_key.encode("ascii"))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")
    return EcPublicKey(key)


def _epoch_ms(text: str) -> int:
    # RFC 3339 with up to nanoseconds, of which Python reads microseconds.
    text = _FINER.sub(r"\1", text.replace("Z", "+00:00"))
    return int(datetime.fromisoformat(text).timestamp() * 1000)
