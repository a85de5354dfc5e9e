"""What follows from a judged case: the terms for a human, or the refusal for the caller."""

from __future__ import annotations

from cryogate.domain.approvals import Terms
from cryogate.domain.decisions import Allow, Decision, Deny, ObligationKind
from cryogate.domain.errors import Forbidden
from cryogate.gateway.case import Case, known
from cryogate.ports.approvals import ONE, Demand


def terms_of(case: Case) -> Terms:
    """What a human would have to agree to."""
    quote = known(case.quote, "price")
    return Terms(
        agent_id=case.caller.agent_id,
        experiment_id=case.caller.grant.experiment_id,
        circuit_sha256=known(case.program, "program").fingerprint,
        backend=case.request.backend,
        shots=case.request.shots,
        cost_ceiling_cents=quote.bound.cents,
        currency=quote.bound.currency,
    )


def refusal_of(decision: Decision) -> Forbidden:
    """A no, as its caller reads it."""
    violations = decision.violations if isinstance(decision, Deny) else ()
    reasons = decision.reasons if isinstance(decision, Deny) else ()
    if violations:
        detail = f"{len(violations)} limit(s) not kept; see violations"
    else:
        detail = "policy does not allow this: " + (", ".join(reasons) or "no reason given")
    return Forbidden("not_allowed", detail, violations)


def demand_of(decision: Allow) -> Demand:
    """Who must agree, as far as policy says: all its approval obligations at once."""
    demand = ONE
    for duty in decision.obligations:
        if duty.kind is ObligationKind.APPROVAL:
            demand = demand.and_(Demand(duty.quorum, duty.role))
    return demand
