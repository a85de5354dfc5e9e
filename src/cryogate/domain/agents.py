"""Agents and operators: who acts, and who answers for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryogate.domain.decisions import Scalar


class Stage(StrEnum):
    """How far an agent has been let out. New agents begin on simulators."""

    SIMULATOR = "simulator"
    HARDWARE = "hardware"


class Role(StrEnum):
    """Named sets of actions; the policy bundle says what each may do."""

    SUBMIT_ONLY = "qpu.submit-only"
    READ_AGGREGATES = "qpu.read-aggregates"
    READ_RAW = "qpu.read-raw"
    ADMIN_EXPERIMENT = "qpu.admin-experiment"  # humans only: an agent is never given it


AGENT_ROLES = frozenset({Role.SUBMIT_ONLY, Role.READ_AGGREGATES, Role.READ_RAW})


@dataclass(frozen=True, slots=True)
class Agent:
    """An autonomous workload, the human who owns it, and what is known about it."""

    agent_id: str
    owner: str
    tier: str
    stage: Stage
    active: bool
    roles: frozenset[Role]
    attributes: Mapping[str, Scalar]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Operator:
    """A human, or automation acting for one, with rights on the admin API."""

    operator_id: str
    active: bool
    roles: frozenset[str]
    created_ms: int
