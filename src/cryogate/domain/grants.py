"""A grant: what policy allowed one agent for one experiment, carried by a token.

What may never change: every bound is an upper bound, and a missing bound is not "unlimited" but
a malformed grant. `Grant.within` is the one place that says what "no wider than" means.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.domain.decisions import Violation
from cryogate.domain.experiments import Release


@dataclass(frozen=True, slots=True)
class Grant:
    """The ``exp_params`` of a token. Shots are per job unless the name says total."""

    experiment_id: str
    allowed_backends: tuple[str, ...]
    allowed_gate_set: tuple[str, ...]
    max_shots: int
    max_total_shots: int
    max_jobs: int
    max_cost_cents: int
    results: Release

    def met(self, other: Grant) -> Grant:
        """What both allow: the lesser of every bound. The experiment is this grant's."""
        return Grant(
            experiment_id=self.experiment_id,
            allowed_backends=_both(self.allowed_backends, other.allowed_backends),
            allowed_gate_set=_both(self.allowed_gate_set, other.allowed_gate_set),
            max_shots=min(self.max_shots, other.max_shots),
            max_total_shots=min(self.max_total_shots, other.max_total_shots),
            max_jobs=min(self.max_jobs, other.max_jobs),
            max_cost_cents=min(self.max_cost_cents, other.max_cost_cents),
            results=self.results.narrowed(other.results),
        )

    def within(self, wider: Grant) -> tuple[Violation, ...]:
        """Every way in which this grant is wider than ``wider``; empty when it is not."""
        found: list[Violation] = []
        if self.experiment_id != wider.experiment_id:
            found.append(
                Violation(
                    "experiment_id",
                    wider.experiment_id,
                    self.experiment_id,
                    "a grant never moves between experiments",
                )
            )
        for limit in ("allowed_backends", "allowed_gate_set"):
            extra = sorted(set(getattr(self, limit)) - set(getattr(wider, limit)))
            if extra:
                found.append(
                    Violation(limit, getattr(wider, limit), tuple(extra), f"remove {extra[0]}")
                )
        for limit in ("max_shots", "max_total_shots", "max_jobs", "max_cost_cents"):
            mine, theirs = getattr(self, limit), getattr(wider, limit)
            if mine > theirs:
                found.append(Violation(limit, theirs, mine, f"ask for at most {theirs}"))
        if self.results.rank > wider.results.rank:
            found.append(
                Violation(
                    "results",
                    wider.results.value,
                    self.results.value,
                    f"ask for {wider.results.value}",
                )
            )
        return tuple(found)


def _both(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in mine if name in theirs)
