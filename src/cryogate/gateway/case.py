"""One request on its way through the checks: what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from cryogate.circuits import Facts, Program
from cryogate.domain.agents import Agent
from cryogate.domain.decisions import Decision, Obligation
from cryogate.domain.experiments import Experiment, Release
from cryogate.gateway.caller import Caller
from cryogate.gateway.requests import EstimateRequest
from cryogate.ports.budgets import BudgetView, Payer
from cryogate.ports.policy import Action, Question
from cryogate.ports.pricing import Quote
from cryogate.ports.provider import Backend

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionView:
    """A gateway session as the checks see it."""

    session_id: str
    token_id: str
    backends: tuple[str, ...]
    expires_ms: int
    open: bool
    results: Release


class Standing(msgspec.Struct, frozen=True):
    """The database's view of the caller, with all that was acknowledged before the request."""

    agent: Agent
    experiment: Experiment
    budget: BudgetView
    used_jobs: int
    used_shots: int
    used_cents: int
    session: SessionView | None


@dataclass(slots=True)
class Case:
    """Filled in by the checks, in their order. A field that no check has filled is ``None``."""

    caller: Caller
    request: EstimateRequest
    action: Action
    now_ms: int
    standing: Standing
    devices: Mapping[str, Backend]
    backend: Backend | None = None
    program: Program | None = None
    facts: Facts | None = None
    quote: Quote | None = None
    question: Question | None = None
    obligations: list[Obligation] = field(default_factory=list)
    decision: Decision | None = field(default=None)


def known(value: T | None, what: str) -> T:
    """``value``, or a loud failure: a check ran before the one that fills what it needs."""
    if value is None:
        raise RuntimeError(f"checks are out of order: {what} is not known yet")
    return value


def payer_of(case: Case) -> Payer:
    """Who is charged for the case's job, beside its experiment, token and session."""
    standing = case.standing
    return Payer(
        standing.agent.agent_id,
        case.caller.owner,
        standing.experiment.cost_center,
        case.request.backend,
    )


def price_of(quote: Quote) -> dict[str, str]:
    """What a bill of the vendor has to be converted by; empty where it is in the same currency."""
    if quote.price is None or quote.price.currency == quote.bound.currency:
        return {"price_currency": "", "rate": ""}
    return {"price_currency": quote.price.currency, "rate": f"{quote.rate.num}/{quote.rate.den}"}
