"""OCSF 1.8. An action's first word says which class it is; docs/sinks.md has the map.

Every field of the entry that the class has no place for stands in ``unmapped``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryogate import __version__
from cryogate.ports.sinks import Entry
from cryogate.sinks.formats.facts import compact, epoch_ms, level, outcome, text

VERSION: Final = "1.8.0"


class _Class(NamedTuple):
    uid: int
    category: int


API: Final = _Class(6003, 6)
AUTHENTICATION: Final = _Class(3002, 3)
AUTHORIZE: Final = _Class(3003, 3)
ENTITY: Final = _Class(3004, 3)
FINDING: Final = _Class(2004, 2)
CLASSES: Final[Mapping[str, _Class]] = {
    "token": AUTHENTICATION,
    "human": AUTHENTICATION,
    "lease": AUTHORIZE,
    "alert": FINDING,
    "agent": ENTITY,
    "approval": ENTITY,
    "budget": ENTITY,
    "credential": ENTITY,
    "experiment": ENTITY,
    "master_key": ENTITY,
    "operator": ENTITY,
    "policy": ENTITY,
    "revocation": ENTITY,
    "secret": ENTITY,
    "signing_key": ENTITY,
}
# by the class, then by the action's last word; 99 is OCSF's "Other"
_ACTIVITIES: Final[Mapping[int, Mapping[str, int]]] = {
    6003: {"accepted": 1, "submitted": 1, "opened": 1, "read": 2, "stop_requested": 4, "closed": 4},
    3002: {"issued": 3, "delegated": 4, "refused": 3, "sign_in": 1, "signed_out": 2},
    3003: {},
    3004: {
        "created": 1, "added": 1, "requested": 1, "replaced": 3, "changed": 3,
        "updated": 3, "rotated": 3, "activated": 10, "approved": 3, "revoked": 4, "removed": 4,
        "closed": 4, "deleted": 4, "enrolled": 6, "suspended": 12, "resumed": 13,
    },
    2004: {"raised": 1, "closed": 3},
}  # fmt: skip
_SEVERITY: Final = {3: (4, "High"), 4: (3, "Medium"), 6: (1, "Informational")}
_STATUS: Final = {"success": (1, "Success"), "intent": (99, "intent")}
_PLACED: Final = frozenset({"action", "outcome", "timestamp", "seq"})


def ocsf(entry: Entry) -> bytes:
    """One OCSF event."""
    action = text(entry, "action")
    subject, _, verb = action.partition(".")
    kind = CLASSES.get(subject, API)
    activity = _ACTIVITIES[kind.uid].get(verb.rpartition(".")[2], 1 if kind is AUTHORIZE else 99)
    severity_id, severity = _SEVERITY[level(entry)]
    status_id, status = _STATUS.get(outcome(entry), (2, "Failure"))
    found: dict[str, Any] = {
        "time": epoch_ms(entry),
        "class_uid": kind.uid,
        "category_uid": kind.category,
        "type_uid": kind.uid * 100 + activity,
        "activity_id": activity,
        "activity_name": action,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": f"{action} {outcome(entry)}",
        "metadata": {
            "version": VERSION,
            "product": {"name": "Cryogate", "vendor_name": "Cryogate", "version": __version__},
            "uid": f"{entry.origin}#{entry.seq}",
            "sequence": entry.seq,
            "log_name": entry.origin,
            "event_code": action,
        },
        "unmapped": {n: v for n, v in entry.fields.items() if n not in _PLACED},
    }
    if reasons := text(entry, "decision_reasons"):
        found["status_detail"] = reasons
    user = _user(entry)
    _PARTS[kind.uid](found, entry, user)
    return compact(found)


def _user(entry: Entry) -> dict[str, Any]:
    chain = entry.fields.get("actor_chain")
    first = chain[0] if isinstance(chain, list) and chain else ""
    uid = text(entry, "agent_id") or first or "cryogate"
    return {"uid": uid, "name": uid}


def _api(found: dict[str, Any], entry: Entry, user: dict[str, Any]) -> None:
    operation = text(entry, "action") or "unknown"
    found["actor"] = {"user": user}
    found["api"] = {"operation": operation, "service": {"name": "cryogate"}}
    found["src_endpoint"] = {"uid": user["uid"]}
    if uid := text(entry, "job_id") or text(entry, "session_id"):
        found["resources"] = [{"uid": uid, "type": operation.partition(".")[0]}]


def _authentication(found: dict[str, Any], entry: Entry, user: dict[str, Any]) -> None:
    found["user"] = user
    found["service"] = {"name": "cryogate"}
    if uid := text(entry, "token_id"):
        found["session"] = {"uid": uid}


def _authorize(found: dict[str, Any], entry: Entry, user: dict[str, Any]) -> None:
    found["user"] = user
    found["privileges"] = [text(entry, "qpu") or text(entry, "action")]


def _entity(found: dict[str, Any], entry: Entry, user: dict[str, Any]) -> None:
    subject = text(entry, "action").partition(".")[0]
    named = {"approval": "approval_id", "experiment": "experiment_id", "agent": "agent_id"}
    uid = text(entry, named.get(subject, "policy_digest")) or subject
    found["actor"] = {"user": user}
    found["entity"] = {"uid": uid, "name": uid, "type": subject}


def _finding(found: dict[str, Any], entry: Entry, user: dict[str, Any]) -> None:
    title = text(entry, "decision_reasons") or text(entry, "action")
    found["finding_info"] = {"uid": f"{entry.origin}#{entry.seq}", "title": title}


_PARTS: Final = {6003: _api, 3002: _authentication, 3003: _authorize, 3004: _entity, 2004: _finding}
