"""Client assertions, ``private_key_jwt`` (RFC 7523 section 2.2): made by clients.

The broker checks them (`cryogate.broker.authn`): only it knows the clients' keys.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryogate.tokens import jws
from cryogate.tokens.claims import AssertionClaims
from cryogate.tokens.keys import SigningKey

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYPE: Final = "client-authentication+jwt"
# An agent's consent to act for another (RFC 8693). Another type than an assertion, so that whoever
# is handed it cannot authenticate by it.
ACTOR_TYPE: Final = "actor+jwt"
MAX_LIFE_S: Final = 300


def make_assertion(
    key: SigningKey,
    client_id: str,
    audience: str,
    *,
    now: int,
    life_s: int = 60,
    jti: str | None = None,
    typ: str = TYPE,
) -> str:
    """An assertion for one token request, or with ``typ`` `ACTOR_TYPE` an actor token.

    ``now`` is in epoch seconds, ``audience`` the issuer or its token endpoint, ``life_s`` at most
    `MAX_LIFE_S`. ``jti`` is fresh and random unless given; each is good once.
    """
    claims = AssertionClaims(
        iss=client_id,
        sub=client_id,
        aud=audience,
        exp=now + life_s,
        iat=now,
        jti=jti or secrets.token_urlsafe(16),
    )
    return jws.sign(key, {"typ": typ, "kid": key.kid}, claims.encode())
