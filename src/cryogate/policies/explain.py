"""Which rule decided, and what would have to change for a yes; proven by asking again.

A limit that was not kept says what would keep it (`cryogate.policies.remedies`). The changes are
made in a copy of the question and the bundle is asked again, until it says yes or nothing more is
known to help. `verified` is what the bundle said in the end, never a guess.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from cryogate.domain.decisions import Allow, Decision, Violation
from cryogate.policies.bundle_files import Bundle
from cryogate.policies.remedies import Change, condition, get, matches, put, remedies
from cryogate.ports.policy import Question

_ROUNDS = 6
Ask = Callable[[Question], Awaitable[Decision]]


async def explain(ask: Ask, bundle: Bundle, question: Question) -> dict[str, Any]:
    """The decision, the rules behind it, and verified changes where it is a no."""
    data = bundle.data.get("cryogate_data", {})
    decision = await ask(question)
    found: dict[str, Any] = {
        "decision": "allow" if isinstance(decision, Allow) else "deny",
        "policy_digest": decision.policy_digest,
        "decided_by": [_rule(bundle, data, v) for v in _violations(decision)]
        or [_reason(bundle, data, reason) for reason in decision.reasons],
        "obligations": decision.obligations if isinstance(decision, Allow) else (),
    }
    if isinstance(decision, Allow):
        return found
    changes, last = await _search(ask, data, question, decision)
    return {
        **found,
        "changes": [
            {"who": c.who, "how": c.how, "path": c.path, "from": was, "to": c.to}
            for c, was in changes
        ],
        "verified": isinstance(last, Allow),
        "still_in_the_way": [] if isinstance(last, Allow) else list(last.reasons),
    }


async def _search(
    ask: Ask, data: dict[str, Any], question: Question, decision: Decision
) -> tuple[list[tuple[Change, Any]], Decision]:
    asked: dict[str, Any] = copy.deepcopy(msgspec.to_builtins(question))
    made: list[tuple[Change, Any]] = []
    for _ in range(_ROUNDS):
        new = 0
        for violation in _violations(decision):
            for change in _changes(asked, data, violation):
                was = get(asked, change.path)
                if was != change.to:
                    put(asked, change.path, change.to)
                    made.append((change, was))
                    new += 1
        if not new:
            break
        try:
            decision = await ask(msgspec.convert(asked, Question))
        except msgspec.ValidationError:
            break
        if isinstance(decision, Allow):
            break
    return made, decision


def _changes(asked: dict[str, Any], data: dict[str, Any], violation: Violation) -> list[Change]:
    if violation.limit == "statement" and violation.actual not in data.get("statements", {}):
        return _nearest(asked, data, violation.actual)
    return remedies(asked, data, violation.limit, violation.allowed, violation.actual)


def _nearest(asked: dict[str, Any], data: dict[str, Any], resource: Any) -> list[Change]:
    """Changes for the allow that speaks of this agent, action and resource, and needs fewest."""
    best: list[Change] | None = None
    for statement in data.get("statements", {}).values():
        if statement.get("effect") != "allow" or not _about(asked, statement, resource):
            continue
        changes: list[Change] = []
        for key, want in statement.get("conditions", {}).items():
            changes += [c for c in condition(asked, data, key, want) if _needed(asked, key, c)]
        if changes and (best is None or len(changes) < len(best)):
            best = changes
    return best or []


def _needed(asked: dict[str, Any], key: str, change: Change) -> bool:
    """Whether the condition does not hold as it is: its figure is beyond it, or unknown."""
    now = get(asked, change.path)
    if type(now) is int and type(change.to) is int:
        return now < change.to if key.startswith("Min") else now > change.to
    return bool(now != change.to)


def _about(asked: dict[str, Any], statement: dict[str, Any], resource: Any) -> bool:
    actions, principal = statement.get("actions", ()), statement.get("principal")
    if not matches(list(actions), str(asked.get("action"))):
        return False
    if not matches(statement.get("resources"), str(resource)):
        return False
    if not isinstance(principal, dict):
        return principal == "*"
    agent = asked.get("agent", {})
    held = {**{key: [agent.get("id" if key == "agent" else key)] for key in principal}}
    if "role" in principal:
        held["role"] = agent.get("roles", [])
    return all(any(matches(want, str(n)) for n in held[key]) for key, want in principal.items())


def _violations(decision: Decision) -> tuple[Violation, ...]:
    return () if isinstance(decision, Allow) else decision.violations


def _rule(bundle: Bundle, data: dict[str, Any], violation: Violation) -> dict[str, Any]:
    statement = violation.actual if violation.actual in data.get("statements", {}) else None
    limit = violation.limit
    where = _where(bundle, limit) if statement is None else f"statement {statement}"
    return {
        "limit": limit,
        "allowed": violation.allowed,
        "actual": violation.actual,
        "hint": violation.hint,
        "where": where,
    }


def _reason(bundle: Bundle, data: dict[str, Any], reason: str) -> dict[str, Any]:
    sid = reason.removeprefix("statement:")
    statement = data.get("statements", {}).get(sid)
    if statement is None:
        return {"reason": reason, "where": _where(bundle, reason)}
    return {"reason": reason, "where": f"statement {sid}", "statement": statement}


def _where(bundle: Bundle, limit: str) -> str | None:
    """File and line of the rule that names the limit."""
    for name, text in bundle.policies:
        for number, line in enumerate(text.splitlines(), 1):
            if f'"{limit}"' in line:
                return f"{name}:{number}"
    return None
