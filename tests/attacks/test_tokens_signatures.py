"""Signatures of every class that Wycheproof's ECDSA, EdDSA and RSA sets know, made here.

The point is never that the mathematics is wrong (a library does it) but what surrounds it: lengths,
encodings, ranges, and the one spelling that each signature may have.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from cryogate.tokens.errors import BadSignature
from cryogate.tokens.keys import EcPublicKey, EdPublicKey, RsaPublicKey

DATA = b"header.payload"
#: The orders of the groups of P-256 (SEC 2) and Ed25519 (RFC 8032).
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
L = 2**252 + 27742317777372353535851937790883648493

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = EcPublicKey(PRIVATE.public_key())
R, S = decode_dss_signature(PRIVATE.sign(DATA, ec.ECDSA(hashes.SHA256())))


def raw(r: int, s: int, size: int = 32) -> bytes:
    return r.to_bytes(size) + s.to_bytes(size)


def test_the_signature_itself_holds() -> None:
    KEY.verify("ES256", DATA, raw(R, S))


@pytest.mark.attack("T1")
@pytest.mark.parametrize(
    ("r", "s"),
    [
        (0, 0), (0, S), (R, 0), (1, 1), (1, 0), (N, S), (R, N), (N, N), (N - 1, S), (R, N - 1),
        (N + 1, S), (2**256 - 1, 2**256 - 1), (S, R), (R, S ^ 1), (R ^ 1, S), (R, R), (S, S),
    ],
)  # fmt: skip
def test_no_special_pair_of_numbers_is_a_signature(r: int, s: int) -> None:
    with pytest.raises(BadSignature):
        KEY.verify("ES256", DATA, raw(r, s))


@pytest.mark.attack("T1")
@pytest.mark.parametrize(
    "signature",
    [
        b"", b"\0", bytes(63), bytes(64), bytes(65), raw(R, S)[:-1], raw(R, S) + b"\0",
        b"\0" + raw(R, S), raw(R, S, 33), raw(R, S) * 2, raw(R, S)[:32],
        encode_dss_signature(R, S), encode_dss_signature(R, S)[:64].ljust(64, b"\0"),
    ],
)  # fmt: skip
def test_a_signature_has_one_encoding(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        KEY.verify("ES256", DATA, signature)


def test_the_mirrored_signature_changes_nothing_that_is_remembered() -> None:
    # (r, n - s) holds as well: ECDSA is so, and RFC 7518 does not forbid it. It is why nothing
    # here is remembered under a signature: a proof is spent by key and jti, a token cached whole.
    KEY.verify("ES256", DATA, raw(R, N - S))


@pytest.mark.attack("T1")
@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()])
def test_another_curve_is_no_key_here(curve: ec.EllipticCurve) -> None:
    other = ec.generate_private_key(curve)
    signature = raw(*(v % 2**256 for v in decode_dss_signature(
        other.sign(DATA, ec.ECDSA(hashes.SHA256())))))  # fmt: skip
    with pytest.raises(BadSignature):
        KEY.verify("ES256", DATA, signature)


@pytest.mark.attack("T1")
@pytest.mark.parametrize(
    "bend",
    [
        lambda s: s[:32] + (int.from_bytes(s[32:], "little") + L).to_bytes(32, "little"),
        lambda s: s[:32] + bytes(32),
        lambda s: bytes(32) + s[32:],
        lambda s: bytes(64),
        lambda s: s[:63],
        lambda s: s + b"\0",
        lambda s: s[32:] + s[:32],
        lambda s: s[:32] + s[32:-1] + bytes([s[-1] | 0x80]),
    ],
)
def test_an_ed25519_signature_has_one_spelling(bend: Callable[[bytes], bytes]) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    key, signature = EdPublicKey(private.public_key()), private.sign(DATA)
    key.verify("Ed25519", DATA, signature)
    with pytest.raises(BadSignature):
        key.verify("Ed25519", DATA, bend(signature))


RSA = rsa.generate_private_key(65537, 2048)
RSA_KEY = RsaPublicKey(RSA.public_key())
MODULUS = RSA.public_key().public_numbers().n


def _pkcs1(algorithm: hashes.HashAlgorithm) -> bytes:
    return RSA.sign(DATA, padding.PKCS1v15(), algorithm)


def _pss(salt: int) -> bytes:
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    return RSA.sign(DATA, scheme, hashes.SHA256())


@pytest.mark.attack("T1")
@pytest.mark.parametrize(
    ("alg", "make"),
    [
        ("RS256", lambda: _pkcs1(hashes.SHA512())),
        ("RS256", lambda: _pkcs1(hashes.SHA384())),
        ("RS256", lambda: _pss(32)),
        ("PS256", lambda: _pkcs1(hashes.SHA256())),
        ("PS256", lambda: _pss(0)),
        ("PS256", lambda: _pss(20)),
        ("RS512", lambda: _pkcs1(hashes.SHA512())),
        ("RS256", lambda: bytes(256)),
        ("RS256", lambda: (1).to_bytes(256)),
        ("RS256", lambda: MODULUS.to_bytes(256)),
        ("RS256", lambda: (MODULUS - 1).to_bytes(256)),
        ("RS256", lambda: _pkcs1(hashes.SHA256())[:-1]),
        ("RS256", lambda: b"\0" + _pkcs1(hashes.SHA256())),
        ("RS256", lambda: _pkcs1(hashes.SHA256()) + b"\0"),
        ("RS256", lambda: (int.from_bytes(_pkcs1(hashes.SHA256())) + MODULUS).to_bytes(257)),
    ],
)
def test_an_rsa_signature_is_of_its_own_scheme(alg: str, make: Callable[[], bytes]) -> None:
    RSA_KEY.verify("RS256", DATA, _pkcs1(hashes.SHA256()))
    RSA_KEY.verify("PS256", DATA, _pss(32))
    with pytest.raises(BadSignature):
        RSA_KEY.verify(alg, DATA, make())
