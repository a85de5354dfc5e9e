"""A case as its estimate shows it: facts, bound, formula, age of the price, decision."""

from __future__ import annotations

from dataclasses import asdict

from cryogate.domain.decisions import Allow, Decision, Deny, ObligationKind
from cryogate.gateway.case import Case, known
from cryogate.gateway.views import EstimateView, FactsView, ViolationView


def facts_view(case: Case) -> FactsView:
    """The facts of the case's circuit, for storing and showing."""
    facts = known(case.facts, "facts")
    return FactsView(
        qubits=facts.qubits,
        used_qubits=facts.used_qubits,
        clbits=facts.clbits,
        gates=facts.gates,
        gate_counts=dict(facts.gate_counts),
        one_qubit_gates=facts.one_qubit_gates,
        two_qubit_gates=facts.two_qubit_gates,
        multi_qubit_gates=facts.multi_qubit_gates,
        measurements=facts.measurements,
        resets=facts.resets,
        depth=facts.depth,
        two_qubit_depth=facts.two_qubit_depth,
        features=facts.features,
    )


def estimate_view(case: Case, decision: Decision) -> EstimateView:
    """What a job would cost and whether it would be let through."""
    quote = case.quote
    if isinstance(decision, Allow):
        parked = decision.obliges(ObligationKind.APPROVAL)
        verdict, reasons = ("needs_approval" if parked else "allow"), decision.reasons
    else:
        verdict, reasons = "deny", decision.reasons
    violations = decision.violations if isinstance(decision, Deny) else ()
    return EstimateView(
        backend=case.request.backend,
        shots=case.request.shots,
        circuit_sha256=known(case.program, "program").fingerprint,
        facts=facts_view(case),
        cost_bound_cents=quote.bound.cents if quote else None,
        currency=quote.bound.currency if quote else None,
        formula=quote.formula if quote else None,
        price_source=quote.source if quote else None,
        price_as_of=quote.as_of if quote else None,
        price_age_days=quote.age_days if quote else None,
        price_stale=quote.stale if quote else None,
        price_cents=quote.price.cents if quote and quote.price else None,
        price_currency=quote.price.currency if quote and quote.price else None,
        conversion=(quote.conversion or None) if quote else None,
        decision=verdict,
        reasons=reasons,
        violations=tuple(ViolationView(**asdict(v)) for v in violations),
    )
