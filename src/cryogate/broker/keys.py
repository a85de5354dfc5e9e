"""The keys that sign access tokens, and the JWKS that verifies them.

(1) private keys rest sealed; they are opened into memory at start and nowhere else
(2) the oldest key that is not retired signs: a new key is published first and signs only when
    the one before it retires, so that every process knows it by then
(3) a retired key is served until the longest token signed by it has expired
(4) verifiers look up ``kid`` in memory; an unknown one costs nothing and fetches nothing (T11)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.broker.rows import number, text
from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Sealer
from cryogate.ports.keys import OVERLAP_MS, KeyInfo, SigningKeys
from cryogate.ports.store import Row, Statement, Store, StoreUnavailable, UnitOfWork
from cryogate.tokens import jws
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import SigningKey, generate, load_private

PURPOSE: Final = "token"


@dataclass(frozen=True, slots=True)
class _Held:
    key: SigningKey
    created_ms: int
    retired_ms: int | None

    def order(self) -> tuple[bool, int, int, str]:
        """Keys sort by when they stop signing."""
        return self.retired_ms is None, self.retired_ms or 0, self.created_ms, self.key.kid

    def signs(self, now_ms: int) -> bool:
        return self.retired_ms is None or now_ms < self.retired_ms

    def served(self, now_ms: int) -> bool:
        return self.retired_ms is None or now_ms < self.retired_ms + OVERLAP_MS


class KeyRing(SigningKeys):
    """See the module. ``lead_ms`` is how long a new key is published before it signs; with several
    processes it must be longer than the interval of `KeyKeeper.run`.
    """

    def __init__(self, store: Store, sealer: Sealer, clock: Clock, *, lead_ms: int = 0) -> None:
        self._store, self._sealer, self._clock = store, sealer, clock
        self._lead_ms = lead_ms
        self._held: tuple[_Held, ...] = ()
        self._jwks: Mapping[str, Mapping[str, str]] = {}
        self._generation = 0
        self._next_ms: int | None = None

    async def start(self) -> None:
        """Load the keys; make the first if there is none.

        Raises:
            Unavailable: the store did not answer, or a key cannot be opened with this master key.
        """
        await self.refresh()
        if not any(held.retired_ms is None for held in self._held):
            await self.rotate("system")

    async def refresh(self) -> None:
        """Load keys that other processes made or retired.

        Raises:
            Unavailable: as `start`.
        """
        rows = await self._store.fetch(
            "signing_keys_by_purpose",
            {"purpose": PURPOSE, "after_ms": self._clock.now_ms() - OVERLAP_MS},
        )
        known = {held.key.kid: held.key for held in self._held}
        held = tuple(self._open(row, known) for row in rows)
        if held != self._held:
            self._held = held
            self._settle()

    async def rotate(self, actor: str, *, distrust_old: bool = False) -> KeyInfo:
        """A new key signs from now on (after ``lead_ms``); the old ones are served on.

        With ``distrust_old`` they are not: every token that they signed is dead at once.

        Raises:
            Unavailable: the store did not answer; the old keys go on.
        """
        now_ms = self._clock.now_ms()
        key = generate()
        public = msgspec.json.encode(key.public.jwk()).decode()
        secret = Secret(msgspec.json.encode(key.private_jwk()))
        retired_ms = now_ms - OVERLAP_MS - 1 if distrust_old else now_ms + self._lead_ms
        insert = Statement(
            "signing_key_insert",
            {
                "kid": key.kid,
                "purpose": PURPOSE,
                "public_jwk": public,
                "sealed": self._sealer.seal(secret, _context(key.kid)),
                "created_ms": now_ms,
            },
        )
        retire = Statement(
            "signing_keys_retire",
            {"kid": key.kid, "purpose": PURPOSE, "retired_ms": retired_ms},
            rows=None,
        )
        event = Event(
            timestamp_ms=now_ms,
            action="signing_key.distrusted" if distrust_old else "signing_key.rotated",
            outcome=Outcome.SUCCESS,
            decision_reasons=(f"kid {key.kid}",),
            actor_chain=(actor,),
        )
        await self._store.commit(UnitOfWork((insert, retire), (event,)))
        await self.refresh()
        return next(info for info in self.keys() if info.kid == key.kid)

    def keys(self) -> tuple[KeyInfo, ...]:
        """All keys that are served now, oldest first."""
        self._tick()
        now_ms = self._clock.now_ms()
        signer = self._signer(now_ms)
        return tuple(
            KeyInfo(h.key.kid, h.created_ms, h.retired_ms, signer is not None and h is signer)
            for h in self._held
            if h.served(now_ms)
        )

    async def sign(self, header: Mapping[str, str], payload: bytes) -> str:
        """See `TokenSigner.sign`."""
        signer = self._signer(self._clock.now_ms())
        if signer is None:
            raise Unavailable("there is no key to sign with")
        return jws.sign(signer.key, {**header, "kid": signer.key.kid}, payload)

    def public_jwks(self) -> Mapping[str, Mapping[str, str]]:
        """See `TokenKeys.public_jwks`."""
        self._tick()
        return self._jwks

    def generation(self) -> int:
        """See `TokenKeys.generation`."""
        self._tick()
        return self._generation

    def document(self) -> dict[str, object]:
        """The JWK set (RFC 7517 section 5) for ``/.well-known/jwks.json``."""
        served = self.public_jwks().values()
        return {"keys": [{**jwk, "use": "sig", "alg": "ES256"} for jwk in served]}

    def _signer(self, now_ms: int) -> _Held | None:
        # (2) Retiring keys sort before the one that is not, whatever clocks said at their birth.
        return min((h for h in self._held if h.signs(now_ms)), key=_Held.order, default=None)

    def _tick(self) -> None:
        if self._next_ms is not None and self._clock.now_ms() >= self._next_ms:
            self._settle()

    def _settle(self) -> None:
        now_ms = self._clock.now_ms()
        served = [held for held in self._held if held.served(now_ms)]  # (3)
        ends = [h.retired_ms + OVERLAP_MS for h in served if h.retired_ms is not None]
        self._next_ms = min(ends, default=None)
        self._jwks = {held.key.kid: held.key.public.jwk() for held in served}
        self._generation += 1

    def _open(self, row: Row, known: Mapping[str, SigningKey]) -> _Held:
        kid, retired = text(row, "kid"), row["retired_ms"]
        key = known.get(kid)
        if key is None:
            try:
                secret = self._sealer.open(text(row, "sealed"), _context(kid))
                key = load_private(msgspec.json.decode(secret.reveal(), type=dict[str, object]))
            except (ValueError, msgspec.MsgspecError, TokenError) as error:
                raise StoreUnavailable(
                    "a signing key cannot be opened: is this the right master key?"
                ) from error
            if key.kid != kid:
                raise StoreUnavailable("a stored signing key is not the one its name says")
        return _Held(key, number(row, "created_ms"), retired if isinstance(retired, int) else None)


def _context(kid: str) -> str:
    return f"signing-key:{PURPOSE}:{kid}"
