"""Proof of possession (RFC 9449): made by clients, checked on every request.

 (1) compact JWS with exactly ``typ`` ``dpop+jwt``, ``alg`` ES256 and a public P-256 ``jwk``
 (2) that key is the one the token is bound to (``jkt``), where there is a token
 (3) the signature by that key holds
 (4) ``htm`` and ``htu`` are this request's
 (5) ``ath`` is this token's, where there is a token, and absent where there is none
 (6) ``iat`` is in the window; where the window cannot tell, the proof carries our nonce
 (7) this ``jti`` was not used before by this key
 (8) nor at another process, where the nonce is one that all processes take: `settle` asks the
     shared store, and a proof is not accepted before that has said so

The replay window is written last, so only proofs that are right in everything take up memory.
A key is parsed once and then found by the raw header it came in. Who is pushed out of that bounded
cache pays for one more parse, no more.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from cryogate.tokens import jws
from cryogate.tokens.claims import ProofClaims, read_proof
from cryogate.tokens.encoding import b64
from cryogate.tokens.errors import (
    BadSignature,
    InvalidProof,
    MalformedToken,
    NonceRequired,
    ReplayedProof,
)
from cryogate.tokens.keys import ES256, PublicKey, SigningKey, load_public
from cryogate.tokens.nonces import NonceSource, Place
from cryogate.tokens.replay import ReplayWindow, SharedReplay

TYPE: Final = "dpop+jwt"
MAX_AGE_S: Final = 60
MAX_AHEAD_S: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PLAIN_URL: Final = re.compile(r"[!-~]+", re.ASCII)
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Proof(msgspec.Struct, frozen=True):
    """A proof that held: the key, and what was signed.

    ``shared``: step (8) is still due.
    """

    key: PublicKey
    claims: ProofClaims
    shared: bool = False

    @property
    def jkt(self) -> str:
        """The key's thumbprint."""
        return self.key.kid


def make_proof(
    key: SigningKey,
    htm: str,
    htu: str,
    *,
    now: int,
    ath: str | None = None,
    nonce: str | None = None,
    jti: str | None = None,
) -> str:
    """A DPoP proof for one request.

    ``now`` is in epoch seconds. ``htu`` is the request's URL; query and fragment are cut off.
    ``ath`` is `token_hash` of the access token sent along, ``nonce`` the server's last
    ``DPoP-Nonce``, ``jti`` fresh and random unless given.
    """
    claims = ProofClaims(
        jti=jti or secrets.token_urlsafe(16),
        htm=htm,
        htu=re.split(r"[?#]", htu, maxsplit=1)[0],
        iat=now,
        ath=ath,
        nonce=nonce,
    )
    public = {name: value for name, value in key.public.jwk().items() if name != "kid"}
    return jws.sign(key, {"typ": TYPE, "jwk": public}, claims.encode())


class ProofVerifier:
    """Checks proofs for one process.

    ``max_age_s`` and ``max_ahead_s`` are how far ``iat`` may lie behind and ahead of our clock
    without a nonce. With ``require_nonce`` no proof passes without one: set it where several
    processes share an address. Such a nonce is for this process; with ``shared`` also, when a
    client comes with another process's, and with ``prefer_shared`` always, it is one for all.
    """

    def __init__(
        self,
        *,
        clock_ms: Callable[[], int],
        replay: ReplayWindow,
        nonces: NonceSource,
        max_age_s: int = MAX_AGE_S,
        max_ahead_s: int = MAX_AHEAD_S,
        require_nonce: bool = False,
        shared: SharedReplay | None = None,
        prefer_shared: bool = False,
        cache_size: int = 4096,
    ) -> None:
        self._clock_ms, self._replay, self._nonces = clock_ms, replay, nonces
        self._max_age_s, self._max_ahead_s = max_age_s, max_ahead_s
        self._require_nonce = require_nonce
        self._shared, self._prefer_shared = shared, prefer_shared
        self._cache_size = cache_size
        self._keys: dict[str, PublicKey] = {}
        self._latest_s = 0

    def verify(
        self, proof: str, *, method: str, url: str, ath: str | None = None, jkt: str | None = None
    ) -> Proof:
        """The proof, if it holds for this very request.

        ``url`` is the address under which this server is known (never taken from ``Host``), with
        the request's path. ``ath`` and ``jkt`` come from the verified token; both are None at
        the token endpoint, where there is none yet.

        Raises:
            InvalidProof: it does not hold. `NonceRequired` carries the nonce to try again with.
            Unavailable: the replay window is full.
        """
        try:
            key, claims = self._read(proof, jkt)  # (1), (2), (3)
        except (MalformedToken, BadSignature) as error:
            raise InvalidProof(error.detail) from None
        if claims.htm != method:  # (4)
            raise InvalidProof("htm is not this request's method")
        if claims.htu != url and _normal(claims.htu) != _normal(url):
            raise InvalidProof("htu is not this request's URL")
        if claims.ath != ath:  # (5)
            raise InvalidProof("ath is not the hash of the access token sent along")
        shared = self._timely(claims)  # (6)
        if not self._replay.use(key.kid, claims.jti, claims.iat):  # (7)
            raise ReplayedProof
        return Proof(key, claims, shared)

    async def settle(self, proof: Proof) -> None:
        """Step (8), for a proof that `verify` gave.

        Raises:
            InvalidProof: it was used at another process, or the store needs a new nonce.
            Unavailable: the store did not answer.
        """
        if not proof.shared:
            return
        new = None if self._shared is None else await self._shared.use(proof.jkt, proof.claims.jti)
        if new is None:
            raise NonceRequired(self._nonces.fresh(self._latest_s, shared=True))
        if not new:
            raise ReplayedProof

    def _read(self, proof: str, jkt: str | None) -> tuple[PublicKey, ProofClaims]:
        parts = jws.split(proof)
        key = self._keys.pop(parts.raw_header, None)
        if key is None:
            key = _header_key(parts.raw_header)
        else:
            self._keys[parts.raw_header] = key
        if jkt is not None and key.kid != jkt:
            raise InvalidProof("the proof is by another key than the token is bound to")
        key.verify("ES256", parts.signing_input, parts.signature)
        if self._cache_size > 0:
            if len(self._keys) >= self._cache_size and parts.raw_header not in self._keys:
                del self._keys[next(iter(self._keys))]
            self._keys[parts.raw_header] = key
        return key, read_proof(parts.payload)

    def _timely(self, claims: ProofClaims) -> bool:
        """Whether the shared store must be asked."""
        # A clock that steps back must not bring a forgotten proof back to life (T12).
        now_s = self._latest_s = max(self._latest_s, self._clock_ms() // 1000)
        oldest_s = now_s - self._max_age_s
        self._replay.forget_before(oldest_s)
        if claims.iat < oldest_s:
            raise InvalidProof("the proof is too old: make a new one for every request")
        place = Place.UNKNOWN
        if claims.nonce is not None:
            place = self._nonces.place(claims.nonce, now_s)
        if place is Place.HERE or (place is Place.SHARED and self._shared is not None):
            # Fresh by our own hand, so a clock that is ahead is forgiven, within reason.
            if claims.iat > now_s + self._max_age_s:
                raise InvalidProof("iat lies in the future: check the clock")
            return place is Place.SHARED
        if place is Place.ELSEWHERE and self._shared is not None:
            # this client is not always sent to the same process
            raise NonceRequired(self._nonces.fresh(now_s, shared=True))
        unsure = claims.iat <= self._replay.not_before_s + self._max_ahead_s
        if self._require_nonce or unsure or claims.iat > now_s + self._max_ahead_s:
            raise NonceRequired(self._nonces.fresh(now_s, shared=self._prefer_shared))
        return False


def token_hash(token: str) -> str:
    """``ath`` of an access token: base64url of its SHA-256 (RFC 9449 section 4.2)."""
    return b64(hashlib.sha256(token.encode("ascii")).digest())


def _header_key(raw_header: str) -> PublicKey:
    header = jws.read_header(raw_header, jws.WITH_KEY)
    if header.typ != TYPE:
        raise MalformedToken("this is not a DPoP proof")
    if header.alg not in ES256 or header.jwk is None:
        raise MalformedToken("proofs are signed with ES256 and carry their public key")
    return load_public(header.jwk)


def _normal(url: str) -> str:
    """RFC 3986 sections 6.2.2 and 6.2.3, save that dot segments are refused, not removed.

    A router that does not remove them would send two spellings to two places.
    """
    if not _PLAIN_URL.fullmatch(url) or "?" in url or "#" in url:
        raise InvalidProof("htu is a URL without query and fragment")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise InvalidProof("htu is not a URL") from None
    if scheme not in _PORTS or not host or "@" in parts.netloc:
        raise InvalidProof("htu is not an http or https URL")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise InvalidProof("htu has dot segments")
    literal = f"[{host}]" if ":" in host else host
    suffix = "" if port in (None, _PORTS[scheme]) else f":{port}"
    return f"{scheme}://{literal}{suffix}{_ESCAPE.sub(_unescape, parts.path) or '/'}"


def _unescape(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in _UNRESERVED else found[0].upper()
