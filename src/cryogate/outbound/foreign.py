"""JWTs that others signed: read strictly by us, verified by joserfc (Ed25519 by our own code, which
takes both of its names, RFC 8037 and RFC 9864).

 (1) a compact JWS in its one spelling; header and claims name no member twice
 (2) the header names an algorithm of `ALGS`, a ``typ`` the caller expects and a ``kid``; members
     that say where to find a key, or that change the meaning of the rest, are refused (T1)
 (3) the key is one that the *issuer* published under that ``kid``, and fits the algorithm
 (4) the signature holds; only then is a claim believed

Which issuer, audience and time are right is the caller's business: it knows what it expects.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from joserfc import jwk as jose_jwk
from joserfc import jws as jose_jws

from cryogate.outbound.issuers import IssuerKeys, Jwk
from cryogate.tokens import jws
from cryogate.tokens.encoding import parse_object, unb64
from cryogate.tokens.errors import BadSignature, MalformedToken, WrongToken
from cryogate.tokens.keys import CLIENT_ALGS, load_public

ALGS: Final = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_MEMBERS: Final = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})
_MIN_RSA_BYTES: Final = 256
_registry = jose_jws.JWSRegistry(algorithms=["RS256", "PS256", "ES256", "ES384"])


@dataclass(frozen=True, slots=True)
class Unverified:
    """A JWT that was read and not believed: good for finding out whose key to ask for."""

    token: str
    alg: str
    typ: str | None
    kid: str
    claims: Mapping[str, object]

    @property
    def issuer(self) -> str:
        """``iss``, or an empty text."""
        found = self.claims.get("iss")
        return found if isinstance(found, str) else ""


def read(token: str, types: Collection[str | None] = (None, "JWT")) -> Unverified:
    """Steps (1) and (2).

    Raises:
        MalformedToken, WrongToken: they do not hold.
    """
    parts = jws.split(token)
    header = parse_object(unb64(parts.raw_header))
    if header.keys() - _MEMBERS:
        raise MalformedToken("the header has members that are not accepted")
    alg, typ, kid = header.get("alg"), header.get("typ"), header.get("kid")
    if not isinstance(alg, str) or alg not in ALGS:
        raise MalformedToken(f"alg must be one of {', '.join(ALGS)}")
    if not isinstance(kid, str) or not 0 < len(kid) <= 256:
        raise MalformedToken("the header needs a kid")
    if typ is not None and not isinstance(typ, str):
        raise MalformedToken("the header's typ is not text")
    if typ not in types:
        raise WrongToken("this kind of token is not accepted here")
    return Unverified(token, alg, typ, kid, parse_object(parts.payload))


async def verify(
    found: Unverified, keys: IssuerKeys, issuer: str, jwks_uri: str | None = None
) -> Mapping[str, object]:
    """Steps (3) and (4): the claims, now believed to be ``issuer``'s.

    Raises:
        BadSignature: the signature does not hold, or the key does not fit.
        UnknownKey: the issuer has no such key.
        Unavailable: the issuer's keys cannot be had.
    """
    check(found, await keys.key(issuer, found.kid, jwks_uri))
    return found.claims


def check(found: Unverified, key: Jwk) -> None:
    """The signature by ``key``.

    Raises:
        BadSignature: it does not hold, or the key does not fit the algorithm.
        MalformedToken: the key cannot be read.
    """
    kty, crv = ALGS[found.alg]
    if key.get("kty") != kty or (crv is not None and key.get("crv") != crv):
        raise BadSignature("the key does not fit the algorithm")
    if key.get("alg", found.alg) != found.alg:
        raise BadSignature("the key is for another algorithm")
    if kty == "RSA" and len(unb64(str(key.get("n", "")))) < _MIN_RSA_BYTES:
        raise BadSignature("the issuer's RSA key is too short")
    members = ("kty", "crv", "x", "y", "n", "e")
    public: dict[str, str | list[str]] = {n: str(key[n]) for n in members if n in key}
    if kty == "OKP":
        parts = jws.split(found.token)
        ours = load_public({name: str(value) for name, value in public.items()}, CLIENT_ALGS)
        ours.verify(found.alg, parts.signing_input, parts.signature)
        return
    try:
        loaded = jose_jwk.import_key(public)
        jose_jws.deserialize_compact(found.token.encode(), loaded, registry=_registry)
    except Exception as error:
        # whatever the library finds wrong with an issuer's key or token, it does not hold
        raise BadSignature from error
