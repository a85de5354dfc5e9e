"""Keys: strict in, canonical out."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwk as jose
from joserfc import jws

from cryogate.tokens.errors import BadSignature, MalformedToken
from cryogate.tokens.jws import split
from cryogate.tokens.keys import CLIENT_ALGS, generate, load_private, load_public, thumbprint

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_JWK: dict[str, Any] = dict(jose.RSAKey.import_key(RSA.public_key()).as_dict())
ED_JWK: dict[str, Any] = dict(
    jose.OKPKey.import_key(ed25519.Ed25519PrivateKey.generate().public_key()).as_dict()
)


def test_thumbprint_is_that_of_rfc_7638() -> None:
    # RFC 7638 section 3.1
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPe"
        "bWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY36"
        "8QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4l"
        "Fd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    assert thumbprint({"kty": "RSA", "n": n, "e": "AQAB"}) == (
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )


def test_another_library_agrees_on_key_and_thumbprint() -> None:
    key = generate()
    theirs = jose.ECKey.import_key({**key.private_jwk()})
    assert theirs.thumbprint() == key.kid
    assert load_private(dict(theirs.as_dict(private=True))).kid == key.kid
    for jwk in (RSA_JWK, ED_JWK):
        assert load_public(jwk, CLIENT_ALGS).kid == jose.import_key(jwk).thumbprint()


@pytest.mark.parametrize("jwk", [RSA_JWK, ED_JWK])
def test_only_p256_unless_the_caller_says_otherwise(jwk: dict[str, Any]) -> None:
    with pytest.raises(MalformedToken, match="not accepted"):
        load_public(jwk)


def _changed(**changes: Any) -> dict[str, Any]:
    return {**generate().public.jwk(), **changes}


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "AAAA"},
        _changed(kty="oct"),
        _changed(d="AAAA"),
        _changed(k="AAAA"),
        _changed(crv="P-384"),
        _changed(crv="secp256k1"),
        _changed(x="AAAA"),
        _changed(x=1),
        _changed(x=None),
        _changed(y=generate().public.jwk()["x"]),
        _changed(x="A" * 42 + "B"),
        _changed(x=generate().public.jwk()["x"] + "="),
        _changed(alg="HS256"),
        _changed(use="enc"),
        _changed(x5c=["MII"]),
        _changed(jku="https://evil.example/"),
        {**RSA_JWK, "n": "AQAB"},
        {**RSA_JWK, "n": "AA" + RSA_JWK["n"]},
        {**RSA_JWK, "e": "Ag"},
        {**RSA_JWK, "e": ""},
        {**ED_JWK, "crv": "X25519"},
        {**ED_JWK, "x": ED_JWK["x"][:-4]},
        dict(jose.ECKey.import_key(ec.generate_private_key(ec.SECP384R1()).public_key()).as_dict()),
    ],
)  # fmt: skip
def test_hostile_public_keys_are_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(MalformedToken):
        load_public(jwk, CLIENT_ALGS)


def test_a_private_key_must_be_whole() -> None:
    one, other = generate().private_jwk(), generate().private_jwk()
    for jwk in (generate().public.jwk(), {**one, "d": other["d"]}, {**one, "d": "A" * 43}):
        with pytest.raises(MalformedToken):
            load_private(jwk)


def test_a_private_key_is_never_shown() -> None:
    key = generate()
    assert key.private_jwk()["d"] not in repr(key) + str(key) + f"{key}"


def test_signatures_hold_only_for_their_bytes_and_algorithm() -> None:
    key = generate()
    signature = key.sign(b"data")
    key.public.verify("ES256", b"data", signature)
    der_like = b"\x30" + signature[1:]
    for alg, data, value in (
        ("ES256", b"Data", signature),
        ("ES256", b"data", signature[:63]),
        ("ES256", b"data", signature + b"\0"),
        ("ES256", b"data", der_like),
        ("ES256", b"data", bytes(64)),
        ("ES384", b"data", signature),
        ("HS256", b"data", signature),
        ("none", b"data", b""),
    ):
        with pytest.raises(BadSignature):
            key.public.verify(alg, data, value)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("alg", ["RS256", "PS256", "EdDSA", "Ed25519"])
def test_client_algorithms_of_another_library_verify(alg: str) -> None:
    private: Any
    if alg.endswith("256"):
        private = jose.RSAKey.import_key(RSA)
    else:
        private = jose.OKPKey.generate_key("Ed25519")
    token = jws.serialize_compact({"alg": alg}, b"payload", private, algorithms=[alg])
    parts = split(token)
    key = load_public(dict(private.as_dict(private=False)), CLIENT_ALGS)
    key.verify(alg, parts.signing_input, parts.signature)
    with pytest.raises(BadSignature):
        key.verify(alg, parts.signing_input + b"x", parts.signature)
    with pytest.raises(BadSignature):
        key.verify("ES256", parts.signing_input, parts.signature)
