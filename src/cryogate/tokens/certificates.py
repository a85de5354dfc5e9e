"""Client certificates (RFC 8705): read strictly, verified by us whoever terminated TLS.

 (1) one DER certificate of at most `MAX_DER` bytes, version 3, in its time
 (2) its issuer decides which way it can prove anything:
     (2a) self-signed: only by being the very certificate that was registered (section 2.2)
     (2b) anything else: by a path to one of the configured authorities, and a name that was
          registered (section 2.1)

TLS has shown that the peer holds the private key. It may trust more than one kind of anchor, so
the path of (2b) is built here again, from the configured authorities alone: a certificate that
an agent signed for itself never vouches for another one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification

from cryogate.tokens.encoding import b64
from cryogate.tokens.errors import BadSignature, MalformedToken

MAX_DER: Final = 16 << 10
MAX_CHAIN: Final = 4
_MIN_RSA_BITS: Final = 2048
Extension = TypeVar("Extension", bound=x509.ExtensionType)
NAME_KINDS: Final = ("san_uri", "san_dns", "san_email", "san_ip", "subject_dn")


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The certificate that a client presented, and what it sent along to build a path."""

    der: bytes = field(repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def thumbprint(self) -> str:
        """``x5t#S256`` (RFC 8705 section 3.1)."""
        return b64(hashlib.sha256(self.der).digest())


def load(der: bytes) -> x509.Certificate:
    """Step (1) without the time.

    Raises:
        MalformedToken: not such a certificate.
    """
    if len(der) > MAX_DER:
        raise MalformedToken(f"a certificate has at most {MAX_DER} bytes")
    try:
        found = x509.load_der_x509_certificate(der)
        key = found.public_key()
        # These are parsed when they are asked for, and raise then: ask here, once.
        _ = found.extensions, found.issuer, found.subject
        _ = found.not_valid_before_utc, found.not_valid_after_utc, found.signature_algorithm_oid
        _ = names(found)
    except Exception as error:
        # whatever the parser finds wrong with a stranger's bytes, it is no certificate
        raise MalformedToken("not an X.509 certificate") from error
    if found.version is not x509.Version.v3:
        raise MalformedToken("certificates are of version 3")
    strong = isinstance(key, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS
    )
    if not strong:
        raise MalformedToken("the certificate's key is of a kind or size that is not accepted")
    return found


def load_pem(text: bytes) -> bytes:
    """The DER of the one certificate in a PEM text.

    Raises:
        MalformedToken: none, several, or not readable.
    """
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError:
        raise MalformedToken("not a PEM certificate") from None
    if len(found) != 1:
        raise MalformedToken("exactly one certificate is due")
    return found[0].public_bytes(serialization.Encoding.DER)


def in_time(cert: x509.Certificate, now_ms: int) -> bool:
    """Whether the certificate is in its time."""
    now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    return cert.not_valid_before_utc <= now <= cert.not_valid_after_utc


def is_self_signed(cert: x509.Certificate) -> bool:
    """Whether its own key signed it."""
    if cert.issuer != cert.subject:
        return False
    try:
        cert.verify_directly_issued_by(cert)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def require_self_signed(der: bytes, now_ms: int) -> x509.Certificate:
    """A certificate fit for registration as an agent's own (2a).

    It must not be able to issue: TLS will trust it as an anchor.

    Raises:
        MalformedToken: it is not self-signed, is an authority, or is out of its time.
    """
    cert = load(der)
    if not is_self_signed(cert):
        raise MalformedToken("the certificate is not self-signed: register its name instead")
    if not in_time(cert, now_ms):
        raise MalformedToken("the certificate is not in its time")
    constraints = _extension(cert, x509.BasicConstraints)
    usage = _extension(cert, x509.KeyUsage)
    if constraints is None or constraints.ca or (usage is not None and usage.key_cert_sign):
        raise MalformedToken(
            "the certificate must say basicConstraints CA:FALSE and must not sign others"
        )
    return cert


def names(cert: x509.Certificate) -> Mapping[str, frozenset[str]]:
    """What a certificate calls its holder, by `NAME_KINDS`."""
    san = _extension(cert, x509.SubjectAlternativeName)
    found: dict[str, frozenset[str]] = {}
    if san is not None:
        found["san_uri"] = frozenset(san.get_values_for_type(x509.UniformResourceIdentifier))
        found["san_dns"] = frozenset(n.lower() for n in san.get_values_for_type(x509.DNSName))
        found["san_email"] = frozenset(san.get_values_for_type(x509.RFC822Name))
        found["san_ip"] = frozenset(map(str, san.get_values_for_type(x509.IPAddress)))
    found["subject_dn"] = frozenset({cert.subject.rfc4514_string()} if cert.subject else ())
    return found


class Authorities:
    """The authorities whose certificates are believed (2b)."""

    def __init__(self, pem: bytes) -> None:
        self._roots = x509.load_pem_x509_certificates(pem)
        leaf = verification.ExtensionPolicy.webpki_defaults_ee().may_be_present(
            x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
        )
        self._policy = (
            verification.PolicyBuilder()
            .store(verification.Store(self._roots))
            .max_chain_depth(MAX_CHAIN)
            .extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf
            )
        )

    def verify(self, peer: PeerCertificate, now_ms: int) -> x509.Certificate:
        """The certificate, once a path leads to one of the authorities.

        Raises:
            MalformedToken: it cannot be read.
            BadSignature: there is no such path, now.
        """
        cert = load(peer.der)
        between = [load(der) for der in peer.chain[:MAX_CHAIN]]
        now = dt.datetime.fromtimestamp(now_ms // 1000, dt.UTC)
        verifier = self._policy.time(now).build_client_verifier()
        try:
            verifier.verify(cert, between)
        except (verification.VerificationError, ValueError):
            raise BadSignature("no authority vouches for the certificate") from None
        return cert


def _extension(cert: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return cert.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
