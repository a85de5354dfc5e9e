"""Step (2) of issuing: what policy allows, made into a grant no wider than the request.

(2a) what was left out is filled from `PolicyEngine.caps`, within what the experiment has left
(2b) policy decides on the filled request; only an `Allow` is a yes
(2c) obligations narrow the grant; one that a token cannot carry is a no
(2d) the outcome is compared with the request once more, whatever (2a) to (2c) did
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from msgspec import structs

from cryogate.broker.details import Asked, facts
from cryogate.broker.oauth import OAuthError
from cryogate.broker.rows import experiment_of, number
from cryogate.domain.agents import Agent
from cryogate.domain.decisions import Allow, Deny, ObligationKind, Violation
from cryogate.domain.errors import Unavailable
from cryogate.domain.experiments import Experiment, Release
from cryogate.domain.grants import Grant
from cryogate.ports.policy import (
    Caps,
    GrantFacts,
    HistoryFacts,
    PolicyEngine,
    Question,
)
from cryogate.ports.policy_facts import agent_facts, experiment_facts
from cryogate.ports.store import ReadStore

_NARROWS: Final[Mapping[ObligationKind, Callable[[Grant], Grant]]] = MappingProxyType(
    {
        ObligationKind.AGGREGATES_ONLY: lambda grant: replace(
            grant, results=grant.results.narrowed(Release.AGGREGATES)
        ),
        ObligationKind.NO_RESULTS: lambda grant: replace(grant, results=Release.NONE),
    }
)


@dataclass(frozen=True, slots=True)
class Purse:
    """What the experiment has left, in cents and shots."""

    cents: int
    shots: int


@dataclass(frozen=True, slots=True)
class Granted:
    """A yes: the bounds, the life in seconds, and what decided.

    ``narrowed`` is every bound that was asked for and came out narrower.
    """

    grant: Grant
    ttl_s: int
    policy_digest: str
    reasons: tuple[str, ...]
    narrowed: tuple[Violation, ...] = ()

    def told(self) -> tuple[str, ...]:
        """Why, as an event tells it."""
        less = (f"narrowed {violation.limit}" for violation in self.narrowed[:20])
        return (*(reason[:256] for reason in self.reasons[:20]), *less)


class Denied(OAuthError):
    """Policy said no, or gave no answer."""

    def __init__(self, deny: Deny) -> None:
        reasons = "; ".join(deny.reasons) or "no reason given"
        # RFC 9396 section 5 where there is something to ask differently, else RFC 6749 5.2.
        code = "invalid_authorization_details" if deny.violations else "unauthorized_client"
        super().__init__(code, f"policy does not allow this: {reasons}"[:1024], 400,
                         deny.violations)  # fmt: skip
        self.policy_digest = deny.policy_digest


async def experiment_of_agent(
    store: ReadStore, experiment_id: str, agent: Agent
) -> tuple[Experiment, Purse]:
    """The experiment, and what it has left.

    Raises:
        OAuthError: there is none, or none for this agent.
    """
    row = await store.fetch_one("experiment_for_token", {"experiment_id": experiment_id})
    experiment = None if row is None else experiment_of(row)
    # Absent and not the agent's look the same (A1).
    if row is None or experiment is None or agent.agent_id not in experiment.allowed_agents:
        raise OAuthError(
            "invalid_authorization_details", "there is no such experiment for this agent"
        )
    purse = Purse(max(0, number(row, "left_cents")), max(0, number(row, "left_shots")))
    return experiment, purse


async def decide_grant(
    policy: PolicyEngine,
    asked: Asked,
    agent: Agent,
    experiment: Experiment,
    purse: Purse,
    *,
    now_ms: int,
    default_ttl_s: int,
    longest_s: int,
    recent_denials: int = 0,
    ceiling: Grant | None = None,
) -> Granted:
    """Steps (2a) to (2d). ``longest_s`` is the longest life that may be given at all, ``ceiling``
    what the one who delegates has.

    Raises:
        OAuthError: the refusal to be sent; `Denied` where policy refused.
        Unavailable: policy says yes to bounds that it does not know.
    """
    question = Question(
        action="token:issue",
        now_ms=now_ms,
        agent=agent_facts(agent),
        experiment=experiment_facts(experiment, left_cents=purse.cents, left_shots=purse.shots),
        grant=asked.wish(default_ttl_s),
        history=HistoryFacts(recent_denials=recent_denials),
    )
    caps = await policy.caps(_timeless(question))  # (2a)
    if caps is None:
        # Without bounds to fill in there is nothing to grant; `decide` knows the reasons.
        decision = await policy.decide(question)
        if isinstance(decision, Deny):
            raise Denied(decision)
        raise Unavailable("policy allows a token but gives no bounds for it")
    request = asked.filled(caps, experiment, purse.cents, purse.shots)
    if ceiling is not None:
        request = request.met(ceiling)
    ttl_s = min(asked.ttl(min(default_ttl_s, caps.ttl_s)), longest_s)
    if isinstance(caps, Caps) and caps.excess == "narrow":
        request = request.met(_widest(caps, request.experiment_id))
        ttl_s = min(ttl_s, caps.ttl_s)
    decision = await policy.decide(
        Question(
            action="token:issue",
            now_ms=now_ms,
            agent=question.agent,
            experiment=question.experiment,
            grant=facts(request, ttl_s),
            history=question.history,
        )
    )
    if not isinstance(decision, Allow):  # (2b)
        raise Denied(decision)
    grant = request
    for obligation in decision.obligations:  # (2c)
        narrow = _NARROWS.get(obligation.kind)
        if narrow is None:
            raise OAuthError(
                "unauthorized_client", f"a token cannot carry this condition: {obligation.reason}"
            )
        grant = narrow(grant)
    if grant.within(request) or ttl_s < 1:  # (2d)
        raise Unavailable("a grant came out wider than its request")
    narrowed = asked.wider_than(grant)
    if asked.ttl(ttl_s) > ttl_s:
        narrowed += (Violation("ttl_s", ttl_s, asked.ttl(ttl_s), f"ask for at most {ttl_s}"),)
    return Granted(grant, ttl_s, decision.policy_digest, decision.reasons, narrowed)


def _widest(caps: GrantFacts, experiment_id: str) -> Grant:
    return Grant(
        experiment_id=experiment_id,
        allowed_backends=caps.allowed_backends,
        allowed_gate_set=caps.allowed_gate_set,
        max_shots=caps.max_shots,
        max_total_shots=caps.max_total_shots,
        max_jobs=caps.max_jobs,
        max_cost_cents=caps.max_cost_cents,
        results=Release(caps.results),
    )


def _timeless(question: Question) -> Question:
    """The question that `PolicyEngine.caps` may see: who and what for, and nothing that moves.

    Bounds to fill in are the same from one minute to the next, so an engine may remember them under
    this whole question (A2). What moves is judged by the decision that follows.
    """
    experiment = question.experiment
    if experiment is not None:
        experiment = structs.replace(experiment, budget_left_cents=0, budget_left_shots=0)
    return Question(action=question.action, now_ms=0, agent=question.agent, experiment=experiment)
