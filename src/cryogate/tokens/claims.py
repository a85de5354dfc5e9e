"""Claims of the three kinds of JWT, as strict types.

What may never change: a claim's meaning and unit (RFC 7519 NumericDate: whole seconds), and that
``aud`` is exactly one string, so a token is never good in two places (T3).

Our own access tokens know every member they may have. Assertions and proofs are made by others,
so members that we do not know are ignored there, as RFC 7519 section 4 asks; no member that we
ignore can widen what one may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from cryogate.domain.experiments import Release
from cryogate.domain.grants import Grant
from cryogate.domain.ids import TOKEN, is_backend, is_minted, is_slug
from cryogate.tokens.encoding import parse_as
from cryogate.tokens.errors import MalformedToken

Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**41)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
Thumbprint = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]
Backends = Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)]
MAX_PARENTS: Final = 8
Parents = Annotated[tuple[Text, ...], msgspec.Meta(max_length=MAX_PARENTS)]
Gates = Annotated[tuple[Name, ...], msgspec.Meta(max_length=256)]


class ExpParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grant on the wire. Every bound is present: a missing one is not "unlimited"."""

    experiment_id: Text
    allowed_backends: Backends
    allowed_gate_set: Gates
    max_shots: Count
    max_total_shots: Count
    max_jobs: Count
    max_cost_cents: Count
    results: Release

    def grant(self) -> Grant:
        """The same bounds as a domain value.

        Raises:
            MalformedToken: a name is not well-formed.
        """
        if not is_slug(self.experiment_id) or not all(map(is_backend, self.allowed_backends)):
            raise MalformedToken("exp_params hold a malformed name")
        return Grant(
            experiment_id=self.experiment_id,
            allowed_backends=self.allowed_backends,
            allowed_gate_set=self.allowed_gate_set,
            max_shots=self.max_shots,
            max_total_shots=self.max_total_shots,
            max_jobs=self.max_jobs,
            max_cost_cents=self.max_cost_cents,
            results=self.results,
        )

    @staticmethod
    def of(grant: Grant) -> ExpParams:
        """The wire form of ``grant``."""
        return ExpParams(
            experiment_id=grant.experiment_id,
            allowed_backends=grant.allowed_backends,
            allowed_gate_set=grant.allowed_gate_set,
            max_shots=grant.max_shots,
            max_total_shots=grant.max_total_shots,
            max_jobs=grant.max_jobs,
            max_cost_cents=grant.max_cost_cents,
            results=grant.results,
        )


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``cnf`` of RFC 7800: what the holder must prove, exactly one of the two.

    ``jkt`` is a key's thumbprint (RFC 9449 section 6.1), ``x5t`` a certificate's
    (``x5t#S256``, RFC 8705 section 3.1).
    """

    jkt: Thumbprint | None = None
    x5t: Thumbprint | None = msgspec.field(default=None, name="x5t#S256")

    def __post_init__(self) -> None:
        if (self.jkt is None) == (self.x5t is None):
            raise ValueError("a token is bound to a key or to a certificate")

    @property
    def thumbprint(self) -> str:
        """The one that is there."""
        return self.jkt or self.x5t or ""


class Actor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``act`` of RFC 8693 section 4.1: who acts now, and nested in it who acted before."""

    sub: Text
    act: Actor | None = None


class StatusPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place in a status list, and where the list is (draft-ietf-oauth-status-list)."""

    idx: Count
    uri: Text


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``status``: where a verifier that is offline finds out whether the token was revoked."""

    status_list: StatusPlace


class AccessClaims(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """An access token (RFC 9068). An operator's has a scope and no ``exp_params``.

    A delegated one has ``act``, and in ``parents`` the ids of the tokens that it came from, nearest
    first: one for every agent in the chain before the one that acts.
    Without ``cnf`` it is a bearer token, which no verifier takes unless it was told to.
    """

    iss: Text
    sub: Text
    aud: Text
    exp: Seconds
    iat: Seconds
    jti: Text
    client_id: Text
    owner: Text
    scope: str
    cnf: Confirmation | None = None
    exp_params: ExpParams | None = None
    act: Actor | None = None
    parents: Parents = ()
    status: Status | None = None

    def actors(self) -> tuple[str, ...]:
        """Who is named in ``act``, the one that acts now first; nobody unless delegated."""
        found, actor = list[str](), self.act
        while actor is not None:
            found.append(actor.sub)
            actor = actor.act
        return tuple(found)

    def encode(self) -> bytes:
        """JSON bytes to be signed."""
        return _encoder.encode(self)


class AssertionClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client assertion (RFC 7523 section 3). ``exp`` and ``jti`` are not optional here."""

    iss: Text
    sub: Text
    aud: Text
    exp: Seconds
    jti: Short
    iat: Seconds | None = None
    nbf: Seconds | None = None

    def encode(self) -> bytes:
        """JSON bytes to be signed."""
        return _encoder.encode(self)


class ProofClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A DPoP proof (RFC 9449 section 4.2)."""

    jti: Short
    htm: Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{1,16}\Z")]
    htu: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    iat: Seconds
    ath: Thumbprint | None = None
    nonce: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None

    def encode(self) -> bytes:
        """JSON bytes to be signed."""
        return _encoder.encode(self)


def actor_claim(actors: Sequence[str]) -> dict[str, object]:
    """``act`` for who acts now and who did before, nearest first."""
    [first, *earlier] = actors
    return {"sub": first} if not earlier else {"sub": first, "act": actor_claim(earlier)}


def actor_of(actors: Sequence[str]) -> Actor:
    """`actor_claim` as the type it is in a token."""
    [first, *earlier] = actors
    return Actor(first, actor_of(earlier) if earlier else None)


_encoder: Final = msgspec.json.Encoder()
_access: Final = msgspec.json.Decoder(AccessClaims)
_assertion: Final = msgspec.json.Decoder(AssertionClaims)
_proof: Final = msgspec.json.Decoder(ProofClaims)


def read_access(payload: bytes) -> AccessClaims:
    """Claims of an access token.

    Raises:
        MalformedToken: not of this type.
    """
    claims = parse_as(payload, _access)
    if not is_minted(claims.jti, TOKEN):
        raise MalformedToken("jti is not a token id")
    if len(claims.actors()) != len(claims.parents):
        raise MalformedToken("act and parents are not of one length")
    if claims.act is not None and claims.act.sub != claims.client_id:
        raise MalformedToken("a delegated token is its actor's")
    return claims


def read_assertion(payload: bytes) -> AssertionClaims:
    """Claims of a client assertion.

    Raises:
        MalformedToken: not of this type.
    """
    return parse_as(payload, _assertion)


def read_proof(payload: bytes) -> ProofClaims:
    """Claims of a DPoP proof.

    Raises:
        MalformedToken: not of this type.
    """
    return parse_as(payload, _proof)
