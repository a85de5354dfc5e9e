"""Workload federation (RFC 7523 section 2.1): another issuer's token says who the agent is.

GitHub Actions, Kubernetes service accounts, Entra workloads, or any OpenID issuer:

 (1) ``client_id`` names an agent, and the token's ``iss`` is one that this agent entrusts. Only
     then is anything fetched, so strangers cannot make us call addresses of their choice
 (2) the signature is by a key that the issuer publishes (`cryogate.outbound.foreign`)
 (3) ``aud`` is exactly the rule's audience and no other: a token that is good elsewhere too could
     have been taken there (T3)
 (4) it is in its time, and has less than `MAX_LIFE_S` left
 (5) every condition of the rule holds: the claim is there, is text, and is one of the values
 (6) the token may be used again, as a Kubernetes workload must, but with ``max_keys`` keys at most,
     one unless the rule says otherwise: a use binds it to its key, in the unit of work of whatever
     is then done. So a token that was seen by somebody else is of no use once it was used

Conditions compare whole values. There are no patterns: ``repo:us/*`` has been the hole in too many
federations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from cryogate.domain.errors import Malformed
from cryogate.outbound import foreign
from cryogate.outbound.errors import UnsafeUrl
from cryogate.outbound.fetcher import check_url
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.clock import Clock
from cryogate.ports.store import Statement
from cryogate.tokens.encoding import b64
from cryogate.tokens.errors import ExpiredToken, WrongToken

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_LIFE_S: Final = 86_400
MAX_SKEW_S: Final = 30

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Values = Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=32)]
_Claims = Annotated[dict[_Text, _Values], msgspec.Meta(min_length=1, max_length=16)]
_ABOUT: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})


class Federated(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="federated",
):
    """Whose tokens, for whom, under which conditions.

    ``claims`` maps a claim to the values it may have; a name that begins with ``/`` is a JSON
    Pointer (RFC 6901) into the token, as Kubernetes needs. ``jwks_uri`` is for issuers whose
    metadata cannot be reached. ``max_keys`` is for workloads that start anew with the same token.
    """

    issuer: _Text
    audience: _Text
    claims: _Claims
    jwks_uri: _Text | None = None
    max_keys: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1


def check_rule(rule: Federated) -> None:
    """Refuse a rule that could never hold, or would hold for anybody.

    Raises:
        Malformed: says what to change.
    """
    try:
        check_url(rule.issuer)
        if rule.jwks_uri is not None:
            check_url(rule.jwks_uri)
    except UnsafeUrl as error:
        raise Malformed("malformed_rule", f"issuer and jwks_uri: {error.detail}") from None
    if "?" in rule.issuer:
        raise Malformed("malformed_rule", "an issuer has no query")
    if not rule.claims.keys() - _ABOUT:
        raise Malformed(
            "malformed_rule", "name the workload: a condition on sub or another claim about it"
        )
    for values in rule.claims.values():
        if any("*" in value for value in values):
            raise Malformed("malformed_rule", "values are compared whole: there is no wildcard")


class Federation:
    """Steps (2) to (6) for a rule."""

    def __init__(self, keys: IssuerKeys, clock: Clock) -> None:
        self._keys, self._clock = keys, clock

    async def verify(self, found: foreign.Unverified, rule: Federated) -> None:
        """Whether the token satisfies the rule.

        Raises:
            TokenError: what does not hold; for our log, not for the caller.
            UnknownKey: the issuer has no such key.
            Unavailable: its keys cannot be had.
        """
        claims = await foreign.verify(found, self._keys, rule.issuer, rule.jwks_uri)  # (2)
        audience = claims.get("aud")
        if audience not in (rule.audience, [rule.audience]):  # (3)
            raise WrongToken(f"aud must be {rule.audience} alone")
        self._timely(claims)  # (4)
        for name, values in rule.claims.items():  # (5)
            value = lookup(claims, name)
            if not isinstance(value, str) or value not in values:
                raise WrongToken(f"claim {name} does not hold")

    def _timely(self, claims: Mapping[str, object]) -> None:
        now_s = self._clock.now_ms() // 1000
        exp = _second(claims, "exp")
        if exp is None:
            raise ExpiredToken("exp is missing")
        if exp <= now_s:
            raise ExpiredToken("the token has expired")
        if exp > now_s + MAX_LIFE_S:
            raise ExpiredToken("the token lives too long")
        for name in ("nbf", "iat"):
            if (_second(claims, name) or 0) > now_s + MAX_SKEW_S:
                raise ExpiredToken("the token is from the future")


def bind(client_id: str, token: str, binding: str, expires_ms: int, max_keys: int) -> Statement:
    """Step (6): fails its guard when the token was used with as many other keys before."""
    digest = b64(hashlib.sha256(token.encode()).digest())
    return Statement(
        "federated_use",
        {
            "client_id": client_id,
            "digest": digest,
            "confirmation": binding,
            "expires_ms": expires_ms,
            "max_keys": max_keys,
        },
        guard="assertion",
    )


def expiry_ms(found: foreign.Unverified) -> int:
    """``exp`` of a token that was verified."""
    return (_second(found.claims, "exp") or 0) * 1000


def lookup(claims: Mapping[str, object], name: str) -> object:
    """The claim ``name``, or where a JSON Pointer leads; None where there is nothing."""
    if not name.startswith("/"):
        return claims.get(name)
    value: object = claims
    for part in name[1:].split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value


def _second(claims: Mapping[str, object], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    # RFC 7519 allows fractions in a NumericDate, and some issuers send them.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**41:
        raise WrongToken(f"{name} is not a time")
    return int(value)
