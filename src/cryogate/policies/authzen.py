"""AuthZEN 1.0 (OpenID Authorization API): our question and decision in its words, and back.

The agent is the subject, the experiment the resource, our action's name the action; everything
else that policy may look at is in the context, under the names of `Question`. What may never
change: the two directions are inverse, so a question means the same on both ways.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from cryogate.domain.decisions import Allow, Decision, Deny, Obligation, ObligationKind, Violation
from cryogate.domain.errors import Malformed
from cryogate.policies.answer import MAX_ANSWER_BYTES, MalformedAnswer
from cryogate.ports.policy import (
    Action,
    AgentFacts,
    BackendFacts,
    CircuitFacts,
    Count,
    ExperimentFacts,
    GrantFacts,
    HistoryFacts,
    Name,
    PriceFacts,
    Question,
)

Object = dict[str, Any]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Subject(_Strict, frozen=True, kw_only=True):
    """The agent; ``properties`` are `AgentFacts` but for the id."""

    type: Literal["agent"]
    id: Name
    properties: Object = {}


class ActionName(_Strict, frozen=True, kw_only=True):
    """What it wants to do."""

    name: Action


class Resource(_Strict, frozen=True, kw_only=True):
    """The experiment, or the catalogue of backends where there is none."""

    type: Literal["experiment", "catalogue"]
    id: Name
    properties: Object = {}


class Context(_Strict, frozen=True, kw_only=True):
    """The rest of a question."""

    now_ms: Count
    grant: GrantFacts | None = None
    shots: Count | None = None
    circuit: CircuitFacts | None = None
    backend: BackendFacts | None = None
    price: PriceFacts | None = None
    history: HistoryFacts = HistoryFacts()


class Evaluation(_Strict, frozen=True, kw_only=True):
    """The body of an access evaluation request."""

    subject: Subject
    action: ActionName
    resource: Resource
    context: Context


def to_question(asked: Evaluation) -> Question:
    """The question that an evaluation request asks.

    Raises:
        Malformed: properties that are not those of an agent or experiment.
    """
    subject, resource, context = asked.subject, asked.resource, asked.context
    if "id" in subject.properties or "id" in resource.properties:
        raise Malformed("malformed_request", "an id is not a property")
    experiment = None
    try:
        agent = msgspec.convert({"id": subject.id, **subject.properties}, AgentFacts)
        if resource.type == "experiment":
            facts = {"id": resource.id, **resource.properties}
            experiment = msgspec.convert(facts, ExperimentFacts)
        elif resource.properties or resource.id != "backends":
            raise Malformed("malformed_request", "the only catalogue is that of backends")
    except msgspec.ValidationError as error:
        raise Malformed("malformed_request", f"properties: {error}"[:300]) from error
    return Question(
        action=asked.action.name,
        now_ms=context.now_ms,
        agent=agent,
        experiment=experiment,
        grant=context.grant,
        shots=context.shots,
        circuit=context.circuit,
        backend=context.backend,
        price=context.price,
        history=context.history,
    )


def of_question(question: Question) -> Object:
    """The evaluation request that asks ``question``."""
    built: Object = msgspec.to_builtins(question)
    agent, experiment = built.pop("agent"), built.pop("experiment")
    action = built.pop("action")
    resource: Object = {"type": "catalogue", "id": "backends"}
    if experiment is not None:
        resource = {"type": "experiment", "id": experiment.pop("id"), "properties": experiment}
    return {
        "subject": {"type": "agent", "id": agent.pop("id"), "properties": agent},
        "action": {"name": action},
        "resource": resource,
        "context": {name: value for name, value in built.items() if value is not None},
    }


def of_decision(decision: Decision) -> Object:
    """A decision as the body of an access evaluation response."""
    allowed = isinstance(decision, Allow)
    context: Object = {"reasons": decision.reasons, "policy_digest": decision.policy_digest}
    if isinstance(decision, Allow):
        context["obligations"] = decision.obligations
    else:
        context["violations"] = decision.violations
    return {"decision": allowed, "context": context}


class _Duty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: ObligationKind
    reason: str = ""
    quorum: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    role: Literal["approver", "admin"] = "approver"


class _Told(msgspec.Struct, frozen=True):
    """Of a foreign context only what is ours is read; obligations must be ones that we know."""

    obligations: tuple[_Duty, ...] = ()
    reasons: tuple[str, ...] = ()
    policy_digest: str = ""
    violations: msgspec.Raw = msgspec.Raw(b"[]")


class _Answer(msgspec.Struct, frozen=True):
    decision: bool
    context: _Told = _Told()


_answer = msgspec.json.Decoder(_Answer)


def read_answer(data: bytes, digest: str) -> Decision:
    """The decision in a response; ``digest`` where it names no policy.

    Raises:
        MalformedAnswer: no boolean decision, or a duty that is unknown: a yes on a condition that
            cannot be kept is no yes.
    """
    if len(data) > MAX_ANSWER_BYTES:
        raise MalformedAnswer("the answer is too large")
    try:
        found = _answer.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"the answer is no evaluation: {error}") from error
    told = found.context
    named = told.policy_digest
    plain = len(named) == 64 and not set(named) - set("0123456789abcdef")
    reasons = tuple(reason[:512] for reason in told.reasons[:100])
    if found.decision is not True:
        return Deny(reasons or ("denied",), _violations(told), named if plain else digest)
    duties = tuple(
        Obligation(duty.kind, duty.reason[:512], duty.quorum, duty.role)
        for duty in told.obligations
    )
    return Allow(duties, reasons, named if plain else digest)


def _violations(told: _Told) -> tuple[Violation, ...]:
    """Limits in our form, which help the caller; in any other form they are left out of the no."""
    try:
        return msgspec.json.decode(told.violations, type=tuple[Violation, ...])[:100]
    except msgspec.MsgspecError:
        return ()
