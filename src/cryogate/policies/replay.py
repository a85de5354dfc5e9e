"""What a candidate bundle would have decided on recorded history, as a difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cryogate.domain.decisions import Allow, Decision
from cryogate.policies.bundle_files import Bundle
from cryogate.policies.history import Asked
from cryogate.policies.rehearsal import Rehearsal
from cryogate.ports.audit import rfc3339

_SHOWN = 500


def outcome(decision: Decision) -> str:
    """A decision in one word, and what it obliges to."""
    if not isinstance(decision, Allow):
        return "deny"
    duties = sorted({o.kind.value for o in decision.obligations})
    return f"allow ({', '.join(duties)})" if duties else "allow"


async def replay(
    rehearsal: Rehearsal, now: Bundle, candidate: Bundle, asked: Sequence[Asked]
) -> dict[str, Any]:
    """Ask both bundles every question, in a process that can be killed, and compare.

    Both are asked, so that what history no longer knows is the same for both. ``faithful`` counts
    the questions on which the bundle in force still says what was said then.

    Raises:
        BundleInvalid: a bundle cannot be read, or takes too long.
    """
    questions = [a.question for a in asked]
    before = await rehearsal.ask(now, questions)
    after = await rehearsal.ask(candidate, questions)
    kinds: Counter[tuple[str, str]] = Counter()
    agents: Counter[str] = Counter()
    changes = []
    faithful = 0
    for a, old, new in zip(asked, before, after, strict=True):
        faithful += isinstance(old, Allow) is a.allowed
        was, would = outcome(old), outcome(new)
        if was == would:
            continue
        kinds[was, would] += 1
        agents[a.question.agent.id] += 1
        changes.append(_change(a, was, would, new))
    return {
        "asked": len(asked),
        "changed": len(changes),
        "faithful": faithful,
        "kinds": [{"was": w, "would": n, "times": c} for (w, n), c in kinds.most_common()],
        "agents": dict(agents.most_common(50)),
        "changes": changes[-_SHOWN:],
        "in_force": now.digest,
        "candidate": candidate.digest,
    }


def _change(asked: Asked, was: str, would: str, decision: Decision) -> dict[str, Any]:
    question = asked.question
    return {
        "reference": asked.reference,
        "at": rfc3339(asked.at_ms),
        "agent": question.agent.id,
        "experiment": question.experiment.id if question.experiment is not None else None,
        "action": question.action,
        "backend": question.backend.name if question.backend is not None else None,
        "shots": question.shots,
        "was": was,
        "would": would,
        "reasons": decision.reasons[:10],
    }
