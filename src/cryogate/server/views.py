"""Domain values as operators see them in JSON: times as RFC 3339, money with its currency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from cryogate.domain.periods import show
from cryogate.governance.approvals import ApprovalRecord
from cryogate.governance.books import Closing, Posting
from cryogate.governance.budget_admin import ExperimentBudget
from cryogate.governance.budget_records import Change
from cryogate.governance.chargeback import Usage
from cryogate.governance.experiments import ExperimentWithBudget
from cryogate.governance.messages import code_of
from cryogate.governance.paging import Page
from cryogate.governance.scoped_budgets import LimitView
from cryogate.governance.voters import Vote
from cryogate.ports.audit import rfc3339
from cryogate.ports.budgets import BudgetView

T = TypeVar("T")


def page_view(page: Page[T], view: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page of a list; ``next`` is the value of ``after`` for the following one."""
    return {"items": [view(item) for item in page.items], "next": page.next}


def _figures(budget: BudgetView) -> dict[str, Any]:
    shown = msgspec.structs.asdict(budget)
    del shown["epoch"]
    return {**shown, "left_cents": budget.left_cents, "left_shots": budget.left_shots}


def budget_view(item: ExperimentBudget) -> dict[str, Any]:
    """A budget and whose it is."""
    return {"experiment_id": item.experiment_id, **_figures(item.budget)}


def limit_view(item: LimitView) -> dict[str, Any]:
    """A limit in force with its newest windows."""
    budget = item.budget
    return {
        "scope": budget.scope.value,
        "subject": budget.subject,
        "span": budget.span.value,
        "currency": budget.currency,
        "limit_cents": budget.limit_cents,
        "limit_shots": budget.limit_shots,
        "soft_percent": budget.soft_percent,
        "blocked": budget.blocked,
        "created_at": rfc3339(budget.created_ms),
        "windows": [{**asdict(w), "period": show(w.period)} for w in item.windows],
    }


def change_view(item: Change) -> dict[str, Any]:
    """One change of a limit."""
    return {
        "at": rfc3339(item.at_ms),
        "actor": item.actor,
        "scope": item.scope,
        "subject": item.subject,
        "span": item.span,
        "action": item.action,
        "detail": item.detail,
    }


def closing_view(item: Closing) -> dict[str, Any]:
    """A closed month in one currency."""
    shown = asdict(item)
    return {**shown, "closed_at": rfc3339(shown.pop("closed_ms"))}


def posting_view(item: Posting) -> dict[str, Any]:
    """One entry of a job."""
    shown = asdict(item)
    return {**shown, "posted_at": rfc3339(shown.pop("posted_ms"))}


def usage_view(item: Usage) -> dict[str, Any]:
    """A month's lines."""
    lines = []
    for line in item.lines:
        shown = asdict(line)
        lines.append({"day": rfc3339(shown.pop("day_ms"))[:10], **shown})
    return {"month": show(item.month), "items": lines, "next": None}


def experiment_view(item: ExperimentWithBudget) -> dict[str, Any]:
    """An experiment with its budget."""
    experiment = item.experiment
    return {
        "experiment_id": experiment.experiment_id,
        "purpose": experiment.purpose,
        "classification": experiment.classification.value,
        "owner": experiment.owner,
        "cost_center": experiment.cost_center,
        "opens_at": rfc3339(experiment.opens_ms),
        "closes_at": rfc3339(experiment.closes_ms),
        "closed": experiment.closed,
        "allowed_agents": sorted(experiment.allowed_agents),
        "allowed_backends": sorted(experiment.allowed_backends),
        "release": experiment.release.value,
        "min_count": experiment.min_count,
        "top_k": experiment.top_k,
        "webhook": experiment.webhook,
        "created_at": rfc3339(experiment.created_ms),
        "budget": _figures(item.budget),
    }


def vote_view(vote: Vote, counts: bool) -> dict[str, Any]:
    """One person's yes; ``counts`` is false when its account may not approve any more."""
    return {
        "operator": f"operator:{vote.voter.operator_id}",
        "counts": counts,
        "note": vote.note,
        "voted_at": rfc3339(vote.voted_ms),
    }


def approval_view(item: ApprovalRecord) -> dict[str, Any]:
    """An approval with the exact terms it is for."""
    approval = item.approval
    decided = approval.decided_ms
    return {
        "approval_id": approval.approval_id,
        "kind": approval.kind.value,
        "state": approval.state.value,
        "quorum": approval.quorum,
        "approver_role": approval.role,
        "requested_by": approval.requested_by,
        "evidence": msgspec.Raw(item.evidence.encode()),
        "job_id": approval.job_id,
        "owner": item.owner,
        "reason": approval.reason,
        "terms": asdict(approval.terms),
        "terms_sha256": approval.terms.digest(),
        "code": code_of(approval.terms),
        "requested_at": rfc3339(approval.requested_ms),
        "expires_at": rfc3339(approval.expires_ms),
        "decided_by": approval.decided_by,
        "decided_at": None if decided is None else rfc3339(decided),
        "note": item.note,
    }
