"""Keys as JWKs: strict in, canonical out (RFC 7517, 7518, 8037, 7638).

We only ever make ES256 keys. Of others' keys we take what the caller names: ES256 alone for
tokens and proofs, `CLIENT_ALGS` for clients that bring a key of their own. Symmetric keys do not
exist here, so no public key can be taken for an HMAC secret (T1).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from cryogate.tokens.encoding import b64, unb64
from cryogate.tokens.errors import BadSignature, MalformedToken

ES256: Final = frozenset({"ES256"})
CLIENT_ALGS: Final = frozenset({"ES256", "EdDSA", "Ed25519", "RS256", "PS256"})
# RFC 9864 names the same algorithm "Ed25519" that RFC 8037 named "EdDSA".
_ALGS: Final = {
    "EC": frozenset({"ES256"}),
    "OKP": frozenset({"EdDSA", "Ed25519"}),
    "RSA": frozenset({"RS256", "PS256"}),
}
_REQUIRED: Final = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_ABOUT: Final = frozenset({"kid", "use", "alg", "key_ops"})
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_ECDSA = ec.ECDSA(hashes.SHA256())
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)


def thumbprint(jwk: Mapping[str, object]) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url) of a public or private JWK.

    Raises:
        MalformedToken: a member that the thumbprint is made of is missing or not text.
    """
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in _REQUIRED:
        raise MalformedToken("the key type is not accepted")
    members = {"kty": kty, **{name: _text(jwk, name) for name in _REQUIRED[kty]}}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return b64(hashlib.sha256(text.encode()).digest())


class PublicKey(ABC):
    """A key that checks signatures. ``kid`` is its RFC 7638 thumbprint, ``algs`` the JOSE names
    of the algorithms that it may be used with.
    """

    __slots__ = ("_jwk", "algs", "kid")

    def __init__(self, jwk: Mapping[str, str]) -> None:
        self._jwk = dict(jwk)
        self.kid = thumbprint(jwk)
        self.algs = _ALGS[jwk["kty"]]

    def jwk(self) -> dict[str, str]:
        """Public members in canonical form, with ``kid``."""
        return {**self._jwk, "kid": self.kid}

    @abstractmethod
    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check ``signature`` over ``data``.

        Raises:
            BadSignature: it does not hold, or ``alg`` is not one of `algs`.
        """


class EcPublicKey(PublicKey):
    """A P-256 key for ES256."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        numbers = key.public_numbers()
        x, y = (b64(part.to_bytes(32)) for part in (numbers.x, numbers.y))
        super().__init__({"kty": "EC", "crv": "P-256", "x": x, "y": y})
        self._key = key

    def pem(self) -> str:
        """The key as PEM (RFC 5480), for programs that read no JWK."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check a 64-byte ``r || s`` signature (RFC 7518 section 3.4)."""
        if alg != "ES256" or len(signature) != 64:
            raise BadSignature
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            self._key.verify(encode_dss_signature(r, s), data, _ECDSA)
        except InvalidSignature:
            raise BadSignature from None


class EdPublicKey(PublicKey):
    """An Ed25519 key."""

    __slots__ = ("_key",)

    def __init__(self, key: ed25519.Ed25519PublicKey) -> None:
        super().__init__({"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_bytes_raw())})
        self._key = key

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check a signature of RFC 8032."""
        if alg not in self.algs:
            raise BadSignature
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            raise BadSignature from None


class RsaPublicKey(PublicKey):
    """An RSA key of 2048 to 8192 bits for RS256 or PS256."""

    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        numbers = key.public_numbers()
        n, e = (b64(v.to_bytes((v.bit_length() + 7) // 8)) for v in (numbers.n, numbers.e))
        super().__init__({"kty": "RSA", "n": n, "e": e})
        self._key = key

    def verify(self, alg: str, data: bytes, signature: bytes) -> None:
        """Check a signature of RFC 8017; PSS salt is as long as the hash (RFC 7518 3.5)."""
        if alg not in self.algs:
            raise BadSignature
        pad = padding.PKCS1v15() if alg == "RS256" else _PSS
        try:
            self._key.verify(signature, data, pad, hashes.SHA256())
        except InvalidSignature:
            raise BadSignature from None


class SigningKey:
    """A P-256 private key that signs ES256. Its ``repr`` never shows it."""

    __slots__ = ("_private", "public")

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(private.curve, ec.SECP256R1):
            raise MalformedToken("signing keys are on P-256")
        self._private = private
        self.public = EcPublicKey(private.public_key())

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint."""
        return self.public.kid

    def sign(self, data: bytes) -> bytes:
        """64-byte ES256 signature of ``data``."""
        r, s = decode_dss_signature(self._private.sign(data, _ECDSA))
        return r.to_bytes(32) + s.to_bytes(32)

    def private_jwk(self) -> dict[str, str]:
        """All members, the secret one included: seal it or write it 0600."""
        secret = self._private.private_numbers().private_value
        return {**self.public.jwk(), "d": b64(secret.to_bytes(32))}

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"


def generate() -> SigningKey:
    """A fresh ES256 key."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()))


def load_private(jwk: Mapping[str, object]) -> SigningKey:
    """The ES256 private key in ``jwk``.

    Raises:
        MalformedToken: not a P-256 private JWK, or public and private half do not belong together.
    """
    if jwk.get("kty") != "EC" or "d" not in jwk:
        raise MalformedToken("not an EC private key")
    public = {name: value for name, value in jwk.items() if name != "d"}
    expected = load_public(public, ES256)
    secret = int.from_bytes(_fixed(jwk, "d", 32))
    try:
        key = SigningKey(ec.derive_private_key(secret, ec.SECP256R1()))
    except ValueError:
        raise MalformedToken("not a P-256 private key") from None
    if key.kid != expected.kid:
        raise MalformedToken("the private key does not belong to the public one")
    return key


def load_public(jwk: Mapping[str, object], accept: Collection[str] = ES256) -> PublicKey:
    """The public key in ``jwk``, if it can be used with an algorithm in ``accept``.

    Raises:
        MalformedToken: private members, unknown members, another kind or size of key, a point
            that is not on the curve, or a ``kid`` or ``alg`` that contradicts the key.
    """
    if _PRIVATE & jwk.keys():
        raise MalformedToken(
            "this is a private key where a public one is due: replace it, "
            "for it is no longer secret"
        )
    kty = jwk.get("kty")
    if not isinstance(kty, str) or not _ALGS.get(kty, frozenset()) & frozenset(accept):
        raise MalformedToken("the key type is not accepted")
    surplus = jwk.keys() - {"kty", *_REQUIRED[kty]} - _ABOUT
    if surplus:
        raise MalformedToken("the key has members that are not accepted")
    try:
        key = _LOADERS[kty](jwk)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedToken("not a valid public key") from None
    if jwk.get("alg") is not None and jwk["alg"] not in key.algs:
        raise MalformedToken("alg contradicts the key")
    if jwk.get("use") not in (None, "sig"):
        raise MalformedToken("the key is not for signatures")
    return key


def _load_ec(jwk: Mapping[str, object]) -> EcPublicKey:
    if jwk.get("crv") != "P-256":
        raise MalformedToken("the curve is not accepted: use P-256")
    x, y = (int.from_bytes(_fixed(jwk, name, 32)) for name in ("x", "y"))
    # Raises ValueError when the point is not on the curve.
    return EcPublicKey(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())


def _load_ed(jwk: Mapping[str, object]) -> EdPublicKey:
    if jwk.get("crv") != "Ed25519":
        raise MalformedToken("the curve is not accepted: use Ed25519")
    return EdPublicKey(ed25519.Ed25519PublicKey.from_public_bytes(_fixed(jwk, "x", 32)))


def _load_rsa(jwk: Mapping[str, object]) -> RsaPublicKey:
    n, e = (unb64(_text(jwk, name)) for name in ("n", "e"))
    # A leading zero byte would be a second spelling, and so a second thumbprint, of one key.
    if n[:1] in (b"", b"\0") or e[:1] in (b"", b"\0") or len(e) > 4:
        raise MalformedToken("not a valid RSA key")
    if not _MIN_RSA_BITS <= int.from_bytes(n).bit_length() <= _MAX_RSA_BITS:
        raise MalformedToken("RSA keys have 2048 to 8192 bits")
    return RsaPublicKey(rsa.RSAPublicNumbers(int.from_bytes(e), int.from_bytes(n)).public_key())


_LOADERS: Final[Mapping[str, Callable[[Mapping[str, object]], PublicKey]]] = {
    "EC": _load_ec,
    "OKP": _load_ed,
    "RSA": _load_rsa,
}


def _text(jwk: Mapping[str, object], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str) or len(value) > 2048:
        raise MalformedToken(f"the key's {name} is missing or not text")
    return value


def _fixed(jwk: Mapping[str, object], name: str, size: int) -> bytes:
    value = unb64(_text(jwk, name))
    if len(value) != size:
        raise MalformedToken(f"the key's {name} must have {size} bytes")
    return value
