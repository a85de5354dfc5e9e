"""HTTP Message Signatures (RFC 9421) of requests that we send, by Ed25519.

(1) Covered are the method, the whole target, the digest of the body (RFC 9530), its type and the
    message's id: a request cannot be altered, nor replayed to another receiver. ``created`` lets
    a receiver refuse what is old; ``tag`` says what the signature is for.
(2) The target is signed exactly as it is sent: `Hooks` lets in URLs of one spelling only.
(3) ``keyid`` is the JWK thumbprint (RFC 7638) under which the key is published.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TAG: Final = "cryogate-webhook"
_COVERED: Final = ("@method", "@target-uri", "content-digest", "content-type", "webhook-id")


class MessageSigner:
    """One key; see the module."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes_raw()
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": _url64(public)}
        text = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
        self.kid = _url64(hashlib.sha256(text).digest())  # (3)
        self.jwk: Mapping[str, str] = {**jwk, "kid": self.kid, "use": "sig", "alg": "Ed25519"}

    def signed(
        self, method: str, url: str, message_id: str, body: bytes, now_ms: int
    ) -> dict[str, str]:
        """The headers of a JSON request, signature included."""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers = {
            "content-type": "application/json",
            "content-digest": f"sha-256=:{digest}:",
            "webhook-id": message_id,
        }
        values = {"@method": method, "@target-uri": url, **headers}
        names = " ".join(f'"{name}"' for name in _COVERED)
        parameters = (
            f'({names});created={now_ms // 1000};keyid="{self.kid}";alg="ed25519";tag="{TAG}"'
        )
        lines = [f'"{name}": {values[name]}' for name in _COVERED]  # (1)
        base = "\n".join([*lines, f'"@signature-params": {parameters}'])
        signature = base64.b64encode(self._key.sign(base.encode("ascii"))).decode()
        return {
            **headers, "signature-input": f"sig={parameters}", "signature": f"sig=:{signature}:",
        }  # fmt: skip


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
