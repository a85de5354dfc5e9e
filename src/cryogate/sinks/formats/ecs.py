"""JSON with the field names of the Elastic Common Schema; what it has no name for is ours.

Every field of the entry is kept whole under ``cryogate``.
"""

from __future__ import annotations

from typing import Final

from cryogate.ports.sinks import Entry
from cryogate.sinks.formats.facts import compact, level, outcome, text

VERSION: Final = "9.1.0"
_OUTCOMES: Final = {"success": "success", "intent": "unknown"}
_LEVELS: Final = {3: "error", 4: "warning", 6: "info"}
_KIND: Final = {True: "alert", False: "event"}


def ecs(entry: Entry) -> bytes:
    """One ECS document."""
    action = text(entry, "action")
    name = text(entry, "agent_id")
    found: dict[str, object] = {
        "@timestamp": text(entry, "timestamp"),
        "ecs": {"version": VERSION},
        "event": {
            "id": f"{entry.origin}#{entry.seq}",
            "sequence": entry.seq,
            "kind": _KIND[action.startswith("alert.")],
            "category": [_category(action)],
            "type": [_type(entry)],
            "action": action,
            "outcome": _OUTCOMES.get(outcome(entry), "failure"),
            "reason": text(entry, "decision_reasons"),
            "dataset": "cryogate.audit",
            "provider": "cryogate",
        },
        "log": {"level": _LEVELS[level(entry)]},
        "service": {"type": "cryogate", "name": entry.origin},
        "message": f"{action} {outcome(entry)}",
        "cryogate": dict(entry.fields),
    }
    if name:
        found["user"] = {"id": name, "name": name}
    return compact(found)


def _category(action: str) -> str:
    subject = action.partition(".")[0]
    if subject in ("token", "human", "revocation"):
        return "authentication"
    if subject in ("agent", "operator", "credential", "experiment"):
        return "iam"
    return (
        "configuration" if subject in ("policy", "signing_key", "secret", "budget") else "process"
    )


def _type(entry: Entry) -> str:
    return {"refused": "denied", "failure": "error", "intent": "start"}.get(
        outcome(entry), "allowed" if text(entry, "action").startswith("token.") else "info"
    )
