"""A policy engine that answers what it was told to."""

from __future__ import annotations

from collections.abc import Callable

from cryogate.domain.decisions import Allow, Decision, Deny, Obligation, Violation
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question

Script = Decision | BaseException | Callable[[Question], Decision]

WIDE = GrantFacts(
    allowed_backends=("local:aer", "local:null"),
    allowed_gate_set=("cx", "h", "rz", "x"),
    max_shots=1_000,
    max_total_shots=10_000,
    max_jobs=20,
    max_cost_cents=500,
    results="raw",
    ttl_s=900,
)


class FakePolicy(PolicyEngine):
    """Answers with ``script``: a decision, an exception to raise, or a function of the question.

    ``asked`` keeps every question of `decide`. `caps` answers ``bounds``.
    """

    def __init__(self, script: Script | None = None, bounds: GrantFacts | None = WIDE) -> None:
        self.script: Script = allow() if script is None else script
        self.bounds = bounds
        self.asked: list[Question] = []

    @property
    def digest(self) -> str:
        """A fixed digest."""
        return "f" * 64

    async def _evaluate(self, question: Question) -> Decision:
        self.asked.append(question)
        if isinstance(self.script, BaseException):
            raise self.script
        return self.script(question) if callable(self.script) else self.script

    async def _caps(self, question: Question) -> GrantFacts | None:
        return self.bounds


def allow(*obligations: Obligation, reasons: tuple[str, ...] = ("scripted",)) -> Allow:
    """A yes under ``obligations``."""
    return Allow(obligations, reasons, "f" * 64)


def deny(*violations: Violation, reasons: tuple[str, ...] = ("scripted",)) -> Deny:
    """A no with ``violations``."""
    return Deny(reasons, violations, "f" * 64)
