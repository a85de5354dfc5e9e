"""An engine's answer, from JSON into a decision. Everything that is not exactly a yes is a no."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from cryogate.domain.decisions import (
    Allow,
    Decision,
    Deny,
    Obligation,
    ObligationKind,
    Scalar,
    Violation,
)
from cryogate.ports.policy import Caps

MAX_ANSWER_BYTES = 1 << 20
_SHORT = 2048
_Reason = Annotated[str, msgspec.Meta(max_length=512)]


class MalformedAnswer(ValueError):
    """The engine said something that is no decision."""


class _Obligation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: ObligationKind
    reason: _Reason
    quorum: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    role: Literal["approver", "admin"] = "approver"


class _Violation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: _Reason
    allowed: Scalar | tuple[Scalar, ...]
    actual: Scalar | tuple[Scalar, ...]
    hint: _Reason


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: bool
    reasons: tuple[_Reason, ...]
    obligations: tuple[_Obligation, ...]
    violations: tuple[_Violation, ...]


_answer = msgspec.json.Decoder(_Answer)
_caps = msgspec.json.Decoder(Caps)


def read_decision(text: str | bytes, digest: str) -> Decision:
    """The decision in an engine's JSON.

    Raises:
        MalformedAnswer: undefined, too large, of another shape, or at odds with itself.
    """
    if len(text) > MAX_ANSWER_BYTES:
        raise MalformedAnswer("the answer is too large")
    return _short(text, digest) if len(text) <= _SHORT else _read(text, digest)


def _read(text: str | bytes, digest: str) -> Decision:
    try:
        found = _answer.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the answer is no decision: {error}") from error
    violations = tuple(Violation(v.limit, v.allowed, v.actual, v.hint) for v in found.violations)
    if found.allow is not True:
        return Deny(found.reasons or ("denied",), violations, digest)
    if violations:
        raise MalformedAnswer("a yes with violations")
    obligations = tuple(Obligation(o.kind, o.reason, o.quorum, o.role) for o in found.obligations)
    return Allow(obligations, found.reasons, digest)


# The same words of the same bundle are the same decision, and most jobs get one of a few.
_short = lru_cache(maxsize=256)(_read)


def read_caps(text: str | bytes) -> Caps:
    """The widest grant in an engine's JSON.

    Raises:
        MalformedAnswer: undefined or of another shape.
    """
    if len(text) > MAX_ANSWER_BYTES:
        raise MalformedAnswer("the answer is too large")
    try:
        return _caps.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the answer is no grant: {error}") from error
