"""Compact JWS (RFC 7515), as strictly as RFC 8725 asks.

 (1) at most `MAX_BYTES`, three parts, each base64url in its one spelling
 (2) the header is a JSON object of known members only, each once
 (3) the algorithm is one the caller named *and* one the key is for; never ``none`` or HMAC
 (4) the signature holds over the very bytes that were received
 (5) only then is the payload looked at

`parse` does (1) and (2), `Parsed.verify` does (3) and (4). Header members that would tell us
where to find a key (``jku``, ``x5u``, ``x5c``, ``jwk``) or that change the meaning of the rest
(``crit``, ``b64``) are not known members, so they are refused and never looked at (T1).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.tokens.encoding import b64, parse_object, unb64
from cryogate.tokens.errors import BadSignature, MalformedToken
from cryogate.tokens.keys import PublicKey, SigningKey

MAX_BYTES: Final = 8192
PLAIN: Final = frozenset({"alg", "typ", "kid"})
WITH_KEY: Final = frozenset({"alg", "typ", "jwk"})
_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Header:
    """A header that passed (1) and (2). ``jwk`` is there only where the caller allows it."""

    alg: str
    typ: str
    kid: str | None
    jwk: Mapping[str, object] | None


class Parsed(msgspec.Struct, frozen=True):
    """The parts of a JWS whose signature has not been checked yet."""

    raw_header: str
    payload: bytes
    signature: bytes
    signing_input: bytes

    def verify(self, header: Header, key: PublicKey, accept: Collection[str]) -> bytes:
        """The payload, once the signature holds.

        Raises:
            BadSignature: the algorithm is not accepted or not the key's, or the signature does
                not hold.
        """
        if header.alg not in accept or header.alg not in key.algs:
            raise BadSignature("the algorithm is not accepted")
        key.verify(header.alg, self.signing_input, self.signature)
        return self.payload


def split(token: str) -> Parsed:
    """Step (1).

    Raises:
        MalformedToken: too long, not three parts, or not base64url in its one spelling.
    """
    if len(token) > MAX_BYTES:
        raise MalformedToken(f"longer than {MAX_BYTES} bytes")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise MalformedToken("not a compact JWS: three parts are due")
    raw_header, raw_payload, raw_signature = parts
    payload, signature = unb64(raw_payload), unb64(raw_signature)
    return Parsed(raw_header, payload, signature, f"{raw_header}.{raw_payload}".encode("ascii"))


def read_header(raw_header: str, members: Collection[str]) -> Header:
    """Step (2), for the allowed ``members``.

    Raises:
        MalformedToken: not a JSON object, or members that are unknown, twice or of another type.
    """
    fields = parse_object(unb64(raw_header))
    if fields.keys() - frozenset(members):
        raise MalformedToken("the header has members that are not accepted")
    alg, typ = fields.get("alg"), fields.get("typ", "JWT")
    kid, jwk = fields.get("kid"), fields.get("jwk")
    if not isinstance(alg, str) or not isinstance(typ, str):
        raise MalformedToken("the header needs alg and typ as text")
    if kid is not None and not isinstance(kid, str):
        raise MalformedToken("the header's kid is not text")
    if jwk is not None and not isinstance(jwk, dict):
        raise MalformedToken("the header's jwk is not an object")
    return Header(alg, typ, kid, jwk)


def parse(token: str, members: Collection[str] = PLAIN) -> tuple[Header, Parsed]:
    """Steps (1) and (2) for a whole token.

    Raises:
        MalformedToken: as `split` and `read_header`.
    """
    parts = split(token)
    return read_header(parts.raw_header, members), parts


def sign(key: SigningKey, header: Mapping[str, object], payload: bytes) -> str:
    """Compact JWS of ``payload``; ``alg`` is added to ``header``."""
    text = signing_input(header, payload)
    return f"{text}.{b64(key.sign(text.encode('ascii')))}"


def signing_input(header: Mapping[str, object], payload: bytes) -> str:
    """What is signed of a compact JWS with ES256, for signers that are not here."""
    return f"{b64(_json.encode({**header, 'alg': 'ES256'}))}.{b64(payload)}"
