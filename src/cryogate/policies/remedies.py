"""For each limit that was not kept: what would have to change, and who can change it.

A remedy edits the question as if the change had been made, so that asking again proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Question = dict[str, Any]
Data = Mapping[str, Any]
AGENT, OWNER, OPERATOR, TIME = "agent", "experiment's owner", "operator", "time"


@dataclass(frozen=True, slots=True)
class Change:
    """Set the member at ``path`` of the question to ``to``: what ``who`` does, said in ``how``."""

    path: str
    to: Any
    who: str
    how: str


def get(question: Question, path: str) -> Any:
    """The member at a dotted path; None when there is none."""
    node: Any = question
    for part in path.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def put(question: Question, path: str, value: Any) -> None:
    """Set the member at a dotted path whose parents exist."""
    *parents, last = path.split(".")
    node = question
    for part in parents:
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
    node[last] = value


def matches(patterns: Any, name: str) -> bool:
    """Whether a name is in a list of names and prefixes with a star, as in the rules."""
    listed = [patterns] if isinstance(patterns, str) else patterns or []
    return any(p == name or (p.endswith("*") and name.startswith(p[:-1])) for p in listed)


def remedies(question: Question, data: Data, limit: str, allowed: Any, actual: Any) -> list[Change]:
    """Changes that would keep ``limit``; empty when the question alone cannot be helped."""
    if limit.startswith("statement."):
        return _condition(question, data, limit.removeprefix("statement."), actual)
    found = _REMEDIES.get(limit)
    if found is not None:
        return found(question, data, allowed, actual)
    if limit.startswith("tier.max_") or limit == "tier.ttl_s":
        return figure(question, limit.removeprefix("tier."), allowed)
    return []


def figure(question: Question, name: str, most: int) -> list[Change]:
    """Keep a figure at or below ``most``: in a token's request, or in a job."""
    if question.get("action") == "token:issue":
        return [Change(f"grant.{name}", most, AGENT, f"ask for {name} up to {most}")]
    if name in ("max_qubits", "max_depth", "max_two_qubit_gates"):
        part = name.removeprefix("max_")
        how = f"use a circuit with {part.replace('_', ' ')} up to {most}"
        return [Change(f"circuit.{part}", most, AGENT, how)]
    if name == "max_shots":
        return [Change("shots", most, AGENT, f"use at most {most} shots")]
    if name == "max_jobs":
        return [Change("history.token_jobs", 0, AGENT, "get a new token: this one's jobs are used")]
    used, now, what = {
        "max_total_shots": ("history.token_shots", "shots", "shots"),
        "max_cost_cents": ("history.token_cents", "price.cents", "cents"),
    }[name]
    changes = []
    if get(question, used):
        how = f"get a new token: with what this one has used, {most} {what} are passed"
        changes.append(Change(used, 0, AGENT, how))
    if (get(question, now) or 0) > most:
        changes.append(Change(now, most, AGENT, f"stay within {most} {what}"))
    return changes


def _without(question: Question, path: str, name: Any, how: str) -> list[Change]:
    kept = [item for item in get(question, path) or [] if item != name]
    return [Change(path, kept, AGENT, how)]


def _backend(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    """Another backend: one that experiment, tier and stage have in common."""
    if question.get("action") == "token:issue" and actual:
        return _without(question, "grant.allowed_backends", actual, f"do not ask for {actual}")
    settings, tier = data.get("settings", {}), _tier(question, data)
    simulators = settings.get("simulators", [])
    offered = [
        name
        for name in get(question, "experiment.allowed_backends") or []
        if matches(tier.get("backends"), name) and matches(simulators, name)
    ]
    if not offered:
        return []
    if question.get("action") == "token:issue":
        return [Change("grant.allowed_backends", offered[:1], AGENT, f"ask for {offered[0]}")]
    other = {**(question.get("backend") or {}), "name": offered[0], "simulator": True}
    other |= {"scheme": offered[0].partition(":")[0], "calibration_age_s": None}
    return [Change("backend", other, AGENT, f"use {offered[0]}")]


def _stage(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    found = _backend(question, data, allowed, actual)
    if found and found[0].to:
        return found
    how = "promote the agent: cryogate agent promote"
    return [Change("agent.stage", "hardware", OPERATOR, how)]


def _role(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    roles, held = data.get("roles", {}), get(question, "agent.roles") or []
    if actual in held:
        kept = [role for role in held if role != actual]
        return [Change("agent.roles", kept, OPERATOR, f"take role {actual} from the agent")]
    for name, role in sorted(roles.items()):
        if actual in role.get("actions", ()) and role.get("humans_only") is False:
            return [Change("agent.roles", [*held, name], OPERATOR, f"give the agent role {name}")]
    return []


def _tier(question: Question, data: Data) -> dict[str, Any]:
    found: dict[str, Any] = data.get("tiers", {}).get(get(question, "agent.tier"), {})
    return found


def _known_tier(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    tiers = sorted(data.get("tiers", {}))
    how = f"move the agent to a known tier: {', '.join(tiers)}"
    return [Change("agent.tier", tiers[0], OPERATOR, how)] if tiers else []


def _member(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    agents = [*(get(question, "experiment.allowed_agents") or []), get(question, "agent.id")]
    return [Change("experiment.allowed_agents", agents, OWNER, "add the agent to the experiment")]


def _closes(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    later = (question.get("now_ms") or 0) + 86_400_000
    return [Change("experiment.closes_ms", later, OWNER, "extend the experiment")]


def _gate(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    issue = question.get("action") == "token:issue"
    path = "grant.allowed_gate_set" if issue else "circuit.gate_set"
    return _without(question, path, actual, f"do without gate {actual}")


def _results(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    return [Change("grant.results", allowed, AGENT, f"ask for results: {allowed}")]


def _currency(question: Question, data: Data, allowed: Any, actual: Any) -> list[Change]:
    how = f"price this backend in {allowed}: limits are kept in one currency"
    return [Change("price.currency", allowed, OPERATOR, how)]


_REMEDIES: Final[Mapping[str, Callable[[Question, Data, Any, Any], list[Change]]]] = {
    "role": _role,
    "tier": _known_tier,
    "stage": _stage,
    "tier.backends": _backend,
    "tier.simulators_only": _backend,
    "experiment.allowed_backends": _backend,
    "allowed_backends": _backend,
    "experiment.allowed_agents": _member,
    "experiment.closes": _closes,
    "tier.gates": _gate,
    "results": _results,
    "currency": _currency,
}

_FIGURES: Final = {
    "MaxShots": "max_shots",
    "MaxTotalShots": "max_total_shots",
    "MaxJobs": "max_jobs",
    "MaxCostCents": "max_cost_cents",
    "MaxTtlS": "ttl_s",
    "MaxQubits": "max_qubits",
    "MaxDepth": "max_depth",
    "MaxTwoQubitGates": "max_two_qubit_gates",
}
# condition → (member of the question, who, how); the member is set to what is wanted.
_SET: Final = {
    "MinModelConfidence": ("agent.attributes.model_confidence", OPERATOR, "raise the confidence"),
    "RequireSandbox": ("agent.attributes.sandboxed", OPERATOR, "run the agent in a sandbox"),
    "MaxRecentDenials": ("history.recent_denials", TIME, "wait ten minutes without a refusal"),
    "MinBudgetLeftCents": ("experiment.budget_left_cents", OWNER, "raise the budget"),
    "MinBudgetLeftShots": ("experiment.budget_left_shots", OWNER, "raise the shot budget"),
    "MaxCalibrationAgeS": ("backend.calibration_age_s", TIME, "wait for the next calibration"),
    "RequireSimulatedFirst": ("circuit.simulated", AGENT, "run the circuit on a simulator first"),
    "Stage": ("agent.stage", OPERATOR, "promote the agent: cryogate agent promote"),
}


def condition(question: Question, data: Data, key: str, want: Any) -> list[Change]:
    """Changes that would keep one condition of a statement."""
    if key in _FIGURES:
        return figure(question, _FIGURES[key], want)
    if key == "RequireSimulator":
        return _backend(question, data, None, _hardware(question, data))
    if key in ("AllowedGates", "AllowedBackends"):
        return _narrowed(question, data, key, want)
    if key in _SET:
        path, who, how = _SET[key]
        value = want[0] if isinstance(want, list) else want
        return [Change(path, value, who, f"{how} ({key})")]
    return []


def _condition(question: Question, data: Data, key: str, sid: Any) -> list[Change]:
    statement = data.get("statements", {}).get(sid, {})
    wanted = statement.get("conditions", {})
    return condition(question, data, key, wanted[key]) if key in wanted else []


def _hardware(question: Question, data: Data) -> str | None:
    simulators = data.get("settings", {}).get("simulators", [])
    asked = get(question, "grant.allowed_backends") or []
    return next((name for name in asked if not matches(simulators, name)), None)


def _narrowed(question: Question, data: Data, key: str, want: Any) -> list[Change]:
    issue = question.get("action") == "token:issue"
    if key == "AllowedBackends" and not issue:
        return _backend(question, data, None, None)
    gates = "grant.allowed_gate_set" if issue else "circuit.gate_set"
    path = gates if key == "AllowedGates" else "grant.allowed_backends"
    asked = get(question, path) or []
    kept = [name for name in asked if matches(want, name)]
    others = ", ".join(sorted(set(asked) - set(kept)))
    return [Change(path, kept, AGENT, f"do without {others}")] if others else []
