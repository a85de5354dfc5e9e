"""What a message says, and how an agent's words are kept from being anything but words (H4).

(1) The title and the names of facts are ours. Values are ids of narrow alphabets and numbers.
(2) What an agent wrote stands alone, marked as such, with everything invisible removed.
(3) Addresses in it are broken up, so that no reader's program makes a link of them.
(4) The one link leads to the console, where a person logs in; opening it does nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from cryogate.domain.approvals import AnyTerms, PromotionTerms, ReleaseTerms, Terms
from cryogate.governance.approval_rows import ApprovalRecord
from cryogate.ports.audit import rfc3339

MAX_QUOTE = 600
_SCHEME = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,15}):(?=//|[^\s])")
_DOT = re.compile(r"(?<=[\w\]])\.(?=[^\W\d_]{2,})")
_TITLES: Mapping[str, str] = {
    "approval.requested": "waits for a decision",
    "approval.reminded": "still waits for a decision",
    "approval.escalated": "has waited for long and needs somebody now",
    "approval.voted": "has one more yes",
    "approval.vote_withdrawn": "has one yes less",
    "approval.approved": "is approved",
    "approval.granted": "was granted ahead",
    "approval.declined": "was declined on a device, and still waits",
    "approval.denied": "is denied",
    "approval.expired": "has expired",
    "approval.withdrawn": "was taken back",
}


def quoted(text: str) -> str:
    """(2), (3) An agent's words, fit to stand in a message."""
    kept = "".join(
        c if c == "\n" or (c.isprintable() and unicodedata.category(c) != "Cf") else "\ufffd"
        for c in unicodedata.normalize("NFC", text)
    )
    short = kept if len(kept) <= MAX_QUOTE else kept[:MAX_QUOTE] + " […]"
    short = _DOT.sub("[.]", short)
    return _SCHEME.sub(r"\1[:]", short).replace("@", "[at]").replace("://", "[:]//")


def approval_title(kind: str, found: ApprovalRecord) -> str:
    """(1) One line."""
    what = found.approval.kind.value
    terms = found.approval.terms
    told = _TITLES.get(kind, kind)
    return f"{what} approval {found.approval.approval_id} of {terms.agent_id} {told}"


def code_of(terms: AnyTerms) -> str:
    """What a person compares between two screens: the beginning of the terms' digest."""
    digest = terms.digest().upper()
    return f"{digest[:4]}-{digest[4:8]}"


def approval_facts(found: ApprovalRecord, said_yes: int) -> tuple[tuple[str, str], ...]:
    """(1) The terms, line by line."""
    approval = found.approval
    terms = approval.terms
    lines = [("Code", code_of(terms)), ("Agent", terms.agent_id)]
    if isinstance(terms, PromotionTerms):
        lines += [("Stage", f"{terms.from_stage} to {terms.to_stage}")]
    else:
        lines += [
            ("Experiment", terms.experiment_id),
            ("Backend", terms.backend),
            ("Shots", str(terms.shots)),
            ("Circuit", terms.circuit_sha256),
        ]
    if isinstance(terms, ReleaseTerms):
        lines += [("Job", terms.job_id), ("Release", "raw, read once")]
    if isinstance(terms, Terms):
        cents = terms.cost_ceiling_cents
        lines += [("Costs at most", f"{cents // 100}.{cents % 100:02d} {terms.currency}")]
    lines += [
        ("Needs", f"{said_yes} of {approval.quorum} said yes (role {approval.role})"),
        ("Open until", rfc3339(approval.expires_ms)),
    ]
    return tuple(lines)


def approval_data(kind: str, found: ApprovalRecord) -> dict[str, Any]:
    """For programs: ids, state and digest. No text of the agent's."""
    approval = found.approval
    return {
        "event": kind,
        "approval_id": approval.approval_id,
        "approval_kind": approval.kind.value,
        "agent_id": approval.terms.agent_id,
        "terms_sha256": approval.terms.digest(),
        "code": code_of(approval.terms),
        "quorum": approval.quorum,
        "approver_role": approval.role,
        "expires_at": rfc3339(approval.expires_ms),
    }


def event_facts(event: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What an event about something else says, without anything an agent could have written."""
    named = (("Agent", "agent_id"), ("Owner", "human_owner"), ("Experiment", "experiment_id"))
    lines = [(name, quoted(str(event[key]))) for name, key in named if event.get(key)]
    reasons = event.get("decision_reasons") or ()
    lines += [("Finding", quoted(str(reason))) for reason in list(reasons)[:8]]
    return (*lines, ("At", str(event.get("timestamp", ""))))
