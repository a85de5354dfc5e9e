"""What may stand in clear in the audit log, field by field and action by action: data, no code.

The log is kept for years and copied to other systems, and nothing can be taken out of it again. So
what names a person, what people or vendors wrote, and what tells which circuit ran goes in as a
commitment only (`cryogate.audit.seals`); what the program itself says stays readable.

What is not listed is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryogate.domain.ids import is_slug


class FieldClass(StrEnum):
    """How a field of an event goes into the log."""

    OPEN = "open"  # ids that the program made, numbers, names of machines and gates
    PERSONAL = "personal"  # names a person
    CIRCUIT = "circuit"  # tells, by comparison with known circuits, which one ran
    TEXT = "text"  # written by people or programs that are not ours
    ACTORS = "actors"  # a list: agents' ids are open, people are not
    REASONS = "reasons"  # a list: `REASONS` says what is open in it


FIELDS: Final[Mapping[str, FieldClass]] = MappingProxyType(
    {
        "timestamp_ms": FieldClass.OPEN,
        "action": FieldClass.OPEN,
        "outcome": FieldClass.OPEN,
        "agent_id": FieldClass.OPEN,
        "human_owner": FieldClass.PERSONAL,
        "experiment_id": FieldClass.OPEN,
        "purpose": FieldClass.TEXT,
        "circuit_sha256": FieldClass.CIRCUIT,
        "gate_set": FieldClass.OPEN,
        "qpu": FieldClass.OPEN,
        "shots": FieldClass.OPEN,
        "token_id": FieldClass.OPEN,
        "token_ttl_s": FieldClass.OPEN,
        "session_id": FieldClass.OPEN,
        "job_id": FieldClass.OPEN,
        "cost_estimate_cents": FieldClass.OPEN,
        "cost_actual_cents": FieldClass.OPEN,
        "currency": FieldClass.OPEN,
        "runtime_ms": FieldClass.OPEN,
        "policy_digest": FieldClass.OPEN,
        "decision_reasons": FieldClass.REASONS,
        "approval_id": FieldClass.OPEN,
        "actor_chain": FieldClass.ACTORS,
    }
)
SEALED_FIELDS: Final = tuple(name for name, kind in FIELDS.items() if kind is not FieldClass.OPEN)

# How many of an action's reasons may be open, from the first on. Those that may are if they are a
# code of the program's (`_CODE`), or begin with a word of `WORDS`; everything behind them was
# written by a person. NONE: all of them are a person's, or name one.
ALL: Final = 1 << 30
NONE: Final = 0
REASONS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "agent.created": ALL,
        "agent.enrolled": ALL,
        "agent.invited": ALL,
        "agent.updated": ALL,
        "alert.acknowledged": 3,
        "alert.closed": 3,
        "alert.raised": ALL,
        "approval.declined": NONE,
        "approval.denied": NONE,
        "approval.escalated": NONE,
        "approval.expired": NONE,
        "approval.granted": NONE,
        "approval.reminded": NONE,
        "approval.requested": NONE,
        "approval.vote_withdrawn": NONE,
        "approval.voted": NONE,
        "approval.withdrawn": NONE,
        "audit.key_create": ALL,
        "audit.pruned": ALL,
        "budget.bound_charged": ALL,
        "budget.changed": ALL,
        "budget.corrected": 2,
        "budget.inconsistent": ALL,
        "budget.limit_removed": NONE,
        "budget.limit_set": NONE,
        "budget.overrun": ALL,
        "budget.soft_limit": ALL,
        "budget.unblocked": NONE,
        "credential.added": ALL,
        "device.approved": ALL,
        "device.denied": ALL,
        "estimate.refused": ALL,
        "experiment.closed": ALL,
        "experiment.created": ALL,
        "experiment.shredded": NONE,
        "experiment.updated": ALL,
        "human.one_time_password": ALL,
        "human.password_chosen": ALL,
        "human.sessions_ended": NONE,
        "human.sign_in": ALL,
        "human.signed_out": NONE,
        "job.accepted": ALL,
        "job.cancelled": ALL,
        "job.checked_by_vendor": ALL,
        "job.dispatching": ALL,
        "job.done": ALL,
        "job.expired": ALL,
        "job.failed": ALL,
        "job.parked": ALL,
        "job.program_mismatch": ALL,
        "job.readers_disagree": ALL,
        "job.refused": ALL,
        "job.requeued": ALL,
        "job.revoked": ALL,
        "job.stop_requested": ALL,
        "job.submitted": ALL,
        "job.unconfirmed": ALL,
        "job.vendor_lost": ALL,
        "job.waiting": ALL,
        "key.added": ALL,
        "key.removed": ALL,
        "key.rotated": ALL,
        "lease.expired": ALL,
        "lease.failed": ALL,
        "lease.issued": ALL,
        "lease.not_revoked": ALL,
        "lease.renewed": ALL,
        "lease.revoked": ALL,
        "ledger.closed": ALL,
        "master_key.replaced": ALL,
        "message.undeliverable": ALL,
        "operator.created": ALL,
        "operator.updated": ALL,
        "policy.activated": 1,
        "policy.refused": NONE,
        "policy.rolled_back": 1,
        "provenance.signed": ALL,
        "result.read": ALL,
        "revocation.created": NONE,
        "secret.added": ALL,
        "secret.removed": ALL,
        "secret.rotated": ALL,
        "security_event.received": ALL,
        "session.closed": ALL,
        "session.opened": ALL,
        "session.refused": ALL,
        "signing_key.distrusted": ALL,
        "signing_key.rotated": ALL,
        "sink.letters_dropped": 1,
        "sink.redelivered": ALL,
        "sink.refused_again": ALL,
        "sink.retry_asked": ALL,
        "token.delegated": ALL,
        "token.issued": ALL,
        "token.refused": ALL,
        "webhook.undeliverable": ALL,
    }
)
# First words of reasons that the program writes, followed by nothing but its own values.
WORDS: Final = frozenset(
    {
        "active", "allowed_agents", "allowed_backends", "cents", "classification", "closed",
        "closes_ms", "code", "count", "cut", "entry", "jti", "jwk", "key", "kid", "lease", "limit",
        "limit_cents", "limit_shots", "method", "min_count", "new", "old", "opens_ms", "parent",
        "period", "policy", "release", "released", "retention", "roles", "scheme", "scope", "shots",
        "soft_percent", "stage", "statement", "tier", "top_k", "transit", "version",
    }
)  # fmt: skip
# A code of the program's or of a policy's, or an id that the program made. No colon, because people
# are ``operator:NAME``, and too short for a digest.
_CODE: Final = re.compile(r"[a-z][a-z0-9_.-]{0,47}")
_WORD: Final = re.compile(r"([a-z][a-z0-9_]{0,31})[ :=]")


@lru_cache(maxsize=1024)
def open_reason(action: str, place: int, reason: str) -> bool:
    """Whether the reason at ``place`` of an ``action`` may stand in the log as it is."""
    if place >= REASONS.get(action, NONE):
        return False
    if _CODE.fullmatch(reason):
        return True
    word = _WORD.match(reason)
    return word is not None and word[1] in WORDS


@lru_cache(maxsize=1024)
def open_actor(actor: str) -> bool:
    """Whether who acted may stand in the log as it is: agents and the program's own parts."""
    return is_slug(actor)
