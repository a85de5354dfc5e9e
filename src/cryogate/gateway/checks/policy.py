"""(5) Policy says yes to agent, experiment, token, facts, price and backend together."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Deny, Violation
from cryogate.gateway.caller import Caller
from cryogate.gateway.case import Case, Standing
from cryogate.gateway.pipeline import Check
from cryogate.gateway.simulated import SimulatedBefore
from cryogate.ports import policy as ask
from cryogate.ports.denials import Denials
from cryogate.ports.policy_facts import agent_facts, experiment_facts
from cryogate.ports.provider import Backend


class PolicyCheck(Check):
    """Asks the engine about the whole case; nothing is asked about a part of it (A2)."""

    step = "5"

    def __init__(
        self, engine: ask.PolicyEngine, denials: Denials, simulated: SimulatedBefore
    ) -> None:
        self._engine = engine
        self._denials = denials
        self._simulated = simulated

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Fill in the decision, unless the case could not be completed (then it is refused)."""
        backend, facts, program, quote = case.backend, case.facts, case.program, case.quote
        if backend is None or facts is None or program is None or quote is None:
            return ()
        agent, experiment = standing_facts(case.standing)
        case.question = ask.Question(
            action=case.action,
            now_ms=case.now_ms,
            agent=agent,
            experiment=experiment,
            grant=grant_facts(case.caller),
            shots=case.request.shots,
            circuit=ask.CircuitFacts(
                sha256=program.fingerprint,
                qubits=facts.qubits,
                depth=facts.depth,
                gates=facts.gates,
                two_qubit_gates=facts.two_qubit_gates,
                measurements=facts.measurements,
                gate_set=facts.gate_set,
                features=facts.features,
                simulated=await self._simulated(case),
            ),
            backend=ask.BackendFacts(
                name=backend.name,
                scheme=backend.scheme,
                simulator=backend.simulator,
                qubits=backend.qubits,
                calibration_age_s=calibration_age_s(backend, case.now_ms),
            ),
            price=ask.PriceFacts(cents=quote.bound.cents, currency=quote.bound.currency),
            history=ask.HistoryFacts(
                token_jobs=case.standing.used_jobs,
                token_shots=case.standing.used_shots,
                token_cents=case.standing.used_cents,
                recent_denials=self._denials.recent(case.caller.agent_id, case.now_ms),
            ),
        )
        case.decision = await self._engine.decide(case.question)
        return case.decision.violations if isinstance(case.decision, Deny) else ()


def calibration_age_s(backend: Backend, now_ms: int) -> int | None:
    """Seconds since the device was calibrated; a calibration in the future is none known."""
    if backend.calibrated_ms is None or backend.calibrated_ms > now_ms:
        return None
    return (now_ms - backend.calibrated_ms) // 1000


def standing_facts(standing: Standing) -> tuple[ask.AgentFacts, ask.ExperimentFacts]:
    """What policy may know of a caller's agent, and of its experiment and budget."""
    budget = standing.budget
    experiment = experiment_facts(
        standing.experiment, left_cents=budget.left_cents, left_shots=budget.left_shots
    )
    return agent_facts(standing.agent), experiment


def grant_facts(caller: Caller) -> ask.GrantFacts:
    """The bounds that the token holds."""
    grant = caller.grant
    return ask.GrantFacts(
        allowed_backends=grant.allowed_backends,
        allowed_gate_set=grant.allowed_gate_set,
        max_shots=grant.max_shots,
        max_total_shots=grant.max_total_shots,
        max_jobs=grant.max_jobs,
        max_cost_cents=grant.max_cost_cents,
        results=grant.results.value,
        ttl_s=max(0, caller.expires_ms - caller.issued_ms) // 1000,
    )
