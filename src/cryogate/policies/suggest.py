"""Least privilege: the narrowest statements that would have allowed what an agent really did.

A statement for each experiment and kind of action: the very backends, the gates that were used, and
the highest figures. Nothing is rounded up, so what the agent never did is not in them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from cryogate.policies.history import Asked
from cryogate.ports.policy import Question

Statements = dict[str, dict[str, Any]]


def suggest(agent_id: str, asked: Sequence[Asked], did: Iterable[tuple[str, str]]) -> Statements:
    """Statements by sid. ``did`` are (action, experiment) of sessions and results."""
    tokens: dict[str, list[Question]] = defaultdict(list)
    jobs: dict[str, list[Question]] = defaultdict(list)
    for a in asked:
        experiment = a.question.experiment
        if not a.allowed or experiment is None or a.question.agent.id != agent_id:
            continue
        if a.question.action == "token:issue":
            tokens[experiment.id].append(a.question)
        elif a.question.action == "job:submit":
            jobs[experiment.id].append(a.question)
    found: Statements = {}
    for name, questions in sorted(tokens.items()):
        found[_sid(agent_id, name, "token")] = _tokens(agent_id, name, questions)
    for name, questions in sorted(jobs.items()):
        found[_sid(agent_id, name, "jobs")] = _jobs(agent_id, name, questions)
    others: dict[str, set[str]] = defaultdict(set)
    for action, experiment_id in did:
        others[experiment_id].add(action)
    for name, actions in sorted(others.items()):
        found[_sid(agent_id, name, "more")] = _statement(
            agent_id, sorted(actions), [f"experiment:{name}"], {}
        )
    return found


def _tokens(agent_id: str, experiment: str, questions: Sequence[Question]) -> dict[str, Any]:
    grants = [q.grant for q in questions if q.grant is not None]
    backends = sorted({name for grant in grants for name in grant.allowed_backends})
    conditions = {
        "MaxShots": max(g.max_shots for g in grants),
        "MaxTotalShots": max(g.max_total_shots for g in grants),
        "MaxJobs": max(g.max_jobs for g in grants),
        "MaxCostCents": max(g.max_cost_cents for g in grants),
        "MaxTtlS": max(g.ttl_s for g in grants),
        "AllowedGates": sorted({gate for g in grants for gate in g.allowed_gate_set}),
    }
    return _statement(agent_id, ["token:issue"], _resources(experiment, backends), conditions)


def _jobs(agent_id: str, experiment: str, questions: Sequence[Question]) -> dict[str, Any]:
    circuits = [q.circuit for q in questions if q.circuit is not None]
    shots = [q.shots or 0 for q in questions]
    backends = sorted({q.backend.name for q in questions if q.backend is not None})
    conditions = {
        "MaxShots": max(shots),
        "MaxTotalShots": max(
            q.history.token_shots + n for q, n in zip(questions, shots, strict=True)
        ),
        "MaxJobs": max(q.history.token_jobs + 1 for q in questions),
        "MaxCostCents": max(
            q.history.token_cents + (q.price.cents if q.price is not None else 0) for q in questions
        ),
        "MaxQubits": max(c.qubits for c in circuits),
        "MaxDepth": max(c.depth for c in circuits),
        "MaxTwoQubitGates": max(c.two_qubit_gates for c in circuits),
        "AllowedGates": sorted({gate for c in circuits for gate in c.gate_set}),
    }
    actions = ["job:estimate", "job:submit"]
    return _statement(agent_id, actions, _resources(experiment, backends), conditions)


def _resources(experiment: str, backends: Sequence[str]) -> list[str]:
    return [*(f"backend:{name}" for name in backends), f"experiment:{experiment}"]


def _statement(
    agent_id: str, actions: list[str], resources: list[str], conditions: dict[str, Any]
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "principal": {"agent": agent_id},
        "effect": "allow",
        "actions": actions,
        "resources": resources,
    }
    return {**made, "conditions": conditions} if conditions else made


def _sid(agent_id: str, experiment: str, what: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", f"{agent_id}-{experiment}-{what}")
