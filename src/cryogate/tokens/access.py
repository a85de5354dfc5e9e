"""Access tokens (RFC 9068), checked on every use.

 (1) the whole token was verified before under the present key set, or
     (1a) compact JWS, known header members, ``typ`` is ``at+jwt``, ``alg`` is ES256
     (1b) ``kid`` names one of our keys: looked up, never fetched, so unknown ones cost nothing
     (1c) the signature holds, the claims are of their strict type
     (1d) ``iss`` and ``aud`` are ours, each exactly one string
 (2) it is inside its time *now*

Step (1) does not change while the keys do not, so its outcome is kept under the SHA-256 of the
whole token; step (2) is done every time. ``cnf`` is not checked here but with the proof, on every
request too (`cryogate.tokens.guard`), as is revocation by the caller. Only verified tokens enter
the cache, so strangers cannot push anybody out of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryogate.domain.grants import Grant
from cryogate.tokens import jws
from cryogate.tokens.claims import AccessClaims, Confirmation, read_access
from cryogate.tokens.encoding import b64
from cryogate.tokens.errors import BadSignature, ExpiredToken, MalformedToken, WrongToken
from cryogate.tokens.keys import ES256, PublicKey, SigningKey, load_public

TYPE: Final = "at+jwt"
GATEWAY_AUDIENCE: Final = "qpu-gateway"
ADMIN_AUDIENCE: Final = "cryogate-admin"
ADMIN_SCOPE: Final = "admin"
MAX_AHEAD_S: Final = 5

PublicJwks = Callable[[], Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token that is genuine and was in its time when it was returned.

    ``jkt`` is the thumbprint of the key whose possession the caller must still prove, or ``x5t``
    that of the certificate it must present; both are empty for a bearer token. ``ath`` is the hash
    of this token that a proof must carry. Times are epoch milliseconds.

    ``subject`` is on whose behalf it is, ``client_id`` who acts: two agents when it was delegated.
    ``actors`` then names who acts now and who did before, ``ancestors`` the tokens it came from.
    """

    token_id: str
    subject: str
    client_id: str
    owner: str
    audience: str
    scope: frozenset[str]
    issued_ms: int
    expires_ms: int
    jkt: str
    x5t: str
    ath: str
    grant: Grant | None
    actors: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()

    @property
    def bound_to(self) -> Confirmation | None:
        """What its holder must prove."""
        if not self.jkt and not self.x5t:
            return None
        return Confirmation(jkt=self.jkt or None, x5t=self.x5t or None)

    @property
    def chain(self) -> tuple[str, ...]:
        """Everybody in the delegation, its root first; empty when nothing was delegated."""
        return (self.subject, *reversed(self.actors)) if self.actors else ()


class AccessTokenVerifier:
    """Verifies tokens of one issuer for one audience.

    ``public_jwks`` and ``generation`` are the methods of `cryogate.ports.keys.TokenKeys`,
    ``clock_ms`` gives UTC milliseconds. ``cache_size`` bounds the tokens remembered; 0 turns
    the cache off. ``insecure_bearer`` takes tokens that are bound to nothing.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        public_jwks: PublicJwks,
        generation: Callable[[], int],
        clock_ms: Callable[[], int],
        cache_size: int = 4096,
        insecure_bearer: bool = False,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("an issuer and an audience are needed to verify anything")
        self._issuer, self._audience = issuer, audience
        self._public_jwks, self._generation, self._clock_ms = public_jwks, generation, clock_ms
        self._cache_size = cache_size
        self._insecure_bearer = insecure_bearer
        self._cache: dict[bytes, VerifiedToken] = {}
        self._keys: dict[str, PublicKey] = {}
        self._known: int | None = None

    def verify(self, token: str) -> VerifiedToken:
        """The token, if it is genuine and in its time. Possession is *not* proven by this.

        Raises:
            TokenError: whatever is wrong with it.
        """
        generation = self._generation()
        if generation != self._known:
            self._reload(generation)
        if len(token) > jws.MAX_BYTES:
            raise MalformedToken(f"longer than {jws.MAX_BYTES} bytes")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        verified = self._cache.pop(digest, None)
        if verified is None:
            verified = self._first(token, digest)
        now_ms = self._clock_ms()
        if verified.expires_ms <= now_ms:
            raise ExpiredToken("the token has expired: request a new one")
        if verified.issued_ms > now_ms + MAX_AHEAD_S * 1000:
            raise ExpiredToken("the token was issued in the future: check the clocks")
        self._remember(digest, verified)
        return verified

    def _first(self, token: str, digest: bytes) -> VerifiedToken:
        header, parts = jws.parse(token)  # (1a)
        if header.typ != TYPE:
            raise WrongToken("this is not an access token")
        key = self._keys.get(header.kid or "")  # (1b)
        if key is None:
            raise BadSignature("the token is signed by a key that is not known here")
        claims = read_access(parts.verify(header, key, ES256))  # (1c)
        if claims.iss != self._issuer:  # (1d)
            raise WrongToken("the token is of another issuer")
        if claims.aud != self._audience:
            raise WrongToken("the token is for another audience")
        if claims.cnf is None and not self._insecure_bearer:
            raise WrongToken("the token is bound to nothing")
        return VerifiedToken(
            token_id=claims.jti,
            subject=claims.sub,
            client_id=claims.client_id,
            owner=claims.owner,
            audience=claims.aud,
            scope=frozenset(claims.scope.split()),
            issued_ms=claims.iat * 1000,
            expires_ms=claims.exp * 1000,
            jkt=(claims.cnf.jkt if claims.cnf else None) or "",
            x5t=(claims.cnf.x5t if claims.cnf else None) or "",
            ath=b64(digest),
            grant=None if claims.exp_params is None else claims.exp_params.grant(),
            actors=claims.actors(),
            ancestors=claims.parents,
        )

    def _remember(self, digest: bytes, verified: VerifiedToken) -> None:
        # The dict is in order of last use: `verify` takes an entry out before it comes back here.
        if self._cache_size <= 0:
            return
        if len(self._cache) >= self._cache_size:
            del self._cache[next(iter(self._cache))]
        self._cache[digest] = verified

    def _reload(self, generation: int) -> None:
        self._cache.clear()
        self._keys = {kid: load_public(jwk) for kid, jwk in self._public_jwks().items()}
        self._known = generation


def header(kid: str) -> dict[str, str]:
    """The protected header of an access token, without ``alg``."""
    return {"typ": TYPE, "kid": kid}


def sign(key: SigningKey, claims: AccessClaims) -> str:
    """A signed access token."""
    return jws.sign(key, header(key.kid), claims.encode())
