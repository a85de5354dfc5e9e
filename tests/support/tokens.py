"""Tokens and proofs to be bent, for tests of the wire formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryogate.domain.ids import new_id
from cryogate.testing.clock import FakeClock
from cryogate.tokens.access import AccessTokenVerifier
from cryogate.tokens.dpop import ProofVerifier
from cryogate.tokens.encoding import b64
from cryogate.tokens.keys import SigningKey, generate
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow

ISSUER = "https://broker.example"
URL = "https://gate.example/v1/jobs"


def compact(header: Mapping[str, Any] | bytes, payload: Any, key: SigningKey | None) -> str:
    """A JWS of anything at all; unsigned without a key."""
    head, body = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload))
    text = f"{b64(head)}.{b64(body)}"
    return f"{text}.{b64(key.sign(text.encode())) if key else ''}"


class Wire:
    """An issuer's key, a client's key, and verifiers that trust them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.issuer_key, self.client_key = generate(), generate()
        self.keys = {self.issuer_key.kid: self.issuer_key.public.jwk()}
        self.generation = 1
        self.reads = 0
        self.tokens = self.verifier()
        self.replay = ReplayWindow(not_before_s=0)
        self.nonces = NonceSource()
        self.proofs = self.proof_verifier()

    def verifier(self, **changes: Any) -> AccessTokenVerifier:
        values: dict[str, Any] = {
            "issuer": ISSUER, "audience": "qpu-gateway", "public_jwks": self._jwks,
            "generation": lambda: self.generation, "clock_ms": self.clock.now_ms, **changes,
        }  # fmt: skip
        return AccessTokenVerifier(**values)

    def proof_verifier(self, **changes: Any) -> ProofVerifier:
        values: dict[str, Any] = {
            "clock_ms": self.clock.now_ms, "replay": self.replay, "nonces": self.nonces, **changes,
        }  # fmt: skip
        return ProofVerifier(**values)

    def _jwks(self) -> Mapping[str, Mapping[str, str]]:
        self.reads += 1
        return self.keys

    @property
    def now(self) -> int:
        return self.clock.now_ms() // 1000

    def claims(self, **changes: Any) -> dict[str, Any]:
        values = {
            "iss": ISSUER, "sub": "a1", "aud": "qpu-gateway", "exp": self.now + 300,
            "iat": self.now, "jti": new_id("tok"), "client_id": "a1", "owner": "o",
            "scope": "qpu.submit-only", "cnf": {"jkt": self.client_key.kid},
            "exp_params": {
                "experiment_id": "e1", "allowed_backends": ["local:aer"],
                "allowed_gate_set": ["h", "cx"], "max_shots": 10, "max_total_shots": 100,
                "max_jobs": 5, "max_cost_cents": 0, "results": "aggregates",
            },
            **changes,
        }  # fmt: skip
        return {name: value for name, value in values.items() if value is not ...}

    def header(self, **changes: Any) -> dict[str, Any]:
        values = {"typ": "at+jwt", "alg": "ES256", "kid": self.issuer_key.kid, **changes}
        return {name: value for name, value in values.items() if value is not ...}

    def token(self, **changes: Any) -> str:
        return compact(self.header(), self.claims(**changes), self.issuer_key)

    def proof_header(self, **changes: Any) -> dict[str, Any]:
        jwk = self.client_key.public.jwk()
        del jwk["kid"]
        values = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk, **changes}
        return {name: value for name, value in values.items() if value is not ...}

    def proof_claims(self, **changes: Any) -> dict[str, Any]:
        values = {"jti": new_id("tok"), "htm": "POST", "htu": URL, "iat": self.now, **changes}
        return {name: value for name, value in values.items() if value is not ...}

    def proof(self, **changes: Any) -> str:
        return compact(self.proof_header(), self.proof_claims(**changes), self.client_key)
