"""A question as bytes for an engine, or a refusal before any rule sees it (A4).

1. Structs do not check themselves when they are made, so what was encoded is decoded again to the
   strict type: a boolean or ``"1e9"`` where a count belongs ends here. NaN encodes as null, which
   is either refused here or a missing fact, and so a no.
2. Names that rules compare are printable ASCII, so that no two different names look alike.
3. The whole is bounded, because an embedded engine cannot be interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cryogate.ports.policy import Question

MAX_QUESTION_BYTES = 256 << 10

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Question)


class MalformedQuestion(ValueError):
    """The question is not what its type says."""


def encode_question(question: Question) -> bytes:
    """The question in JSON.

    Raises:
        MalformedQuestion: wrong types or ranges, a name that is not printable ASCII, or too large.
    """
    try:
        encoded = _encoder.encode(question)
        checked = _decoder.decode(encoded)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedQuestion(f"the question does not fit its type: {error}") from error
    if len(encoded) > MAX_QUESTION_BYTES:
        raise MalformedQuestion("the question is too large")
    # JSON escapes control characters with a backslash, so plain ASCII without one is printable.
    if not encoded.isascii() or b"\\" in encoded:
        for name in _names(checked):
            if not (name.isascii() and name.isprintable()):
                raise MalformedQuestion("a name in the question is not printable ASCII")
    return encoded


def _names(question: Question) -> Iterator[str]:
    agent, experiment, grant = question.agent, question.experiment, question.grant
    yield agent.id
    yield agent.tier
    yield from agent.roles
    yield from agent.attributes
    if experiment is not None:
        yield experiment.id
        yield from experiment.allowed_agents
        yield from experiment.allowed_backends
    if grant is not None:
        yield from grant.allowed_backends
        yield from grant.allowed_gate_set
    if question.circuit is not None:
        yield from question.circuit.gate_set
        yield from question.circuit.features
    if question.backend is not None:
        yield question.backend.name
        yield question.backend.scheme
    if question.price is not None:
        yield question.price.currency
