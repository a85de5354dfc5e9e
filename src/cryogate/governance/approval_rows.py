"""Approvals as rows and as audit events: how terms are stored, read back and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cryogate.domain.approvals import (
    AnyTerms,
    ApprovalKind,
    ApprovalState,
    PromotionTerms,
    ReleaseTerms,
    Terms,
    evidence_digest,
)
from cryogate.domain.events import Event, Outcome
from cryogate.governance.rows import maybe_number, maybe_text, number, text
from cryogate.ports.approvals import Approval
from cryogate.ports.store import Row, SqlValue, StoreUnavailable

DAY_MS = 24 * 60 * 60 * 1000
MAX_REASON = 1000
MAX_EVIDENCE = 16_384
_TERMS: Mapping[str, msgspec.json.Decoder[Any]] = {
    ApprovalKind.JOB: msgspec.json.Decoder(Terms),
    ApprovalKind.RELEASE: msgspec.json.Decoder(ReleaseTerms),
    ApprovalKind.PROMOTION: msgspec.json.Decoder(PromotionTerms),
}


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """An approval as operators see it: with the agent's owner and the decision's note.

    ``version`` is that of the row: whoever votes names the version that it has judged.
    """

    approval: Approval
    owner: str
    note: str | None
    evidence: str = "{}"
    version: int = 0


def record(row: Row) -> ApprovalRecord:
    """An approval out of its columns.

    Raises:
        StoreUnavailable: terms, evidence and digest do not belong together: the row was altered.
    """
    kind = text(row, "kind")
    try:
        terms: AnyTerms = _TERMS[kind].decode(text(row, "terms"))
    except (KeyError, msgspec.MsgspecError) as error:
        raise StoreUnavailable("stored terms cannot be read") from error
    if terms.digest() != row["terms_digest"]:
        raise StoreUnavailable("stored terms do not match their digest")
    evidence = text(row, "evidence")
    if isinstance(terms, PromotionTerms) and terms.evidence_sha256 != evidence_digest(evidence):
        raise StoreUnavailable("stored evidence is not what was asked to be approved")
    approval = Approval(
        approval_id=text(row, "approval_id"),
        state=ApprovalState(text(row, "state")),
        terms=terms,
        job_id=maybe_text(row, "job_id"),
        reason=text(row, "reason"),
        requested_ms=number(row, "requested_ms"),
        expires_ms=number(row, "expires_ms"),
        decided_by=maybe_text(row, "decided_by"),
        decided_ms=maybe_number(row, "decided_ms"),
        quorum=number(row, "quorum"),
        role=text(row, "approver_role"),
        requested_by=maybe_text(row, "requested_by"),
    )
    return ApprovalRecord(
        approval,
        text(row, "owner"),
        maybe_text(row, "decision_note"),
        evidence,
        number(row, "version"),
    )


def approval_columns(
    approval: Approval, owner: str, evidence: str, prompt_ms: int
) -> dict[str, SqlValue]:
    """Columns that every new approval has. ``prompt_ms`` is when its first reminder is due."""
    terms = approval.terms
    return {
        "approval_id": approval.approval_id,
        "terms": msgspec.json.encode(terms).decode(),
        "terms_digest": terms.digest(),
        "agent_id": terms.agent_id,
        "owner": owner,
        "experiment_id": "" if isinstance(terms, PromotionTerms) else terms.experiment_id,
        "reason": approval.reason,
        "requested_ms": approval.requested_ms,
        "expires_ms": approval.expires_ms,
        "kind": approval.kind.value,
        "quorum": approval.quorum,
        "approver_role": approval.role,
        "requested_by": approval.requested_by,
        "evidence": evidence,
        "prompt_ms": prompt_ms,
    }


def approval_event(
    action: str, approval: Approval, owner: str, now_ms: int, *, actor: str | None = None
) -> Event:
    """An audit event about an approval, with its terms and, once decided, who decided."""
    terms = approval.terms
    told: dict[str, Any] = {}
    if not isinstance(terms, PromotionTerms):
        told = {
            "experiment_id": terms.experiment_id,
            "circuit_sha256": terms.circuit_sha256,
            "qpu": terms.backend,
            "shots": terms.shots,
        }
    if isinstance(terms, Terms):
        told |= {"cost_estimate_cents": terms.cost_ceiling_cents, "currency": terms.currency}
    reasons = (approval.reason,) if approval.reason else ()
    if approval.kind is not ApprovalKind.JOB:
        reasons = (f"kind:{approval.kind.value}", f"terms:{terms.digest()}", *reasons)
    return Event(
        timestamp_ms=now_ms,
        action=action,
        outcome=Outcome.REFUSED if action == "approval.denied" else Outcome.SUCCESS,
        agent_id=terms.agent_id,
        human_owner=owner,
        job_id=terms.job_id if isinstance(terms, ReleaseTerms) else approval.job_id,
        approval_id=approval.approval_id,
        decision_reasons=reasons or None,
        actor_chain=(actor,) if actor else None,
        **told,
    )
