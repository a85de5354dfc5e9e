"""Policy decides; everything it may look at is in a `Question`, typed and bounded.

`PolicyEngine.decide` never raises and never answers "maybe": an engine that is down, slow,
undefined, not boolean or not well-formed gives a `Deny` (A3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import msgspec

from cryogate.domain.decisions import Allow, Decision, Deny, Scalar

# Bounds keep every number exactly representable and every policy comparison meaningful (A4).
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Action = Literal[
    "token:issue", "session:open", "job:estimate", "job:submit", "result:read", "backend:list"
]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AgentFacts(_Strict, frozen=True, kw_only=True):
    """Who asks."""

    id: Name
    owner: Name
    tier: Name
    stage: Literal["simulator", "hardware"]
    roles: tuple[Name, ...]
    attributes: dict[str, Scalar] = {}


class ExperimentFacts(_Strict, frozen=True, kw_only=True):
    """What for. Budget figures are what is left, in cents and shots."""

    id: Name
    purpose: str
    classification: Literal["poc", "production", "sensitive"]
    owner: Name
    cost_center: str
    allowed_agents: tuple[Name, ...]
    allowed_backends: tuple[Name, ...]
    release: Literal["none", "aggregates", "raw"]
    closes_ms: Count
    budget_left_cents: Count
    budget_left_shots: Count


class GrantFacts(_Strict, frozen=True, kw_only=True):
    """Bounds asked for (``token:issue``) or held (everything else)."""

    allowed_backends: tuple[Name, ...]
    allowed_gate_set: tuple[Name, ...]
    max_shots: Count
    max_total_shots: Count
    max_jobs: Count
    max_cost_cents: Count
    results: Literal["none", "aggregates", "raw"]
    ttl_s: Count


class Caps(GrantFacts, frozen=True, kw_only=True):
    """The widest grant there can be, and what becomes of a request for more."""

    excess: Literal["refuse", "narrow"] = "refuse"


class CircuitFacts(_Strict, frozen=True, kw_only=True):
    """What the gateway itself found in the circuit."""

    sha256: Name
    qubits: Count
    depth: Count
    gates: Count
    two_qubit_gates: Count
    measurements: Count
    gate_set: tuple[Name, ...]
    features: tuple[Name, ...]
    # Whether this very circuit ran on a simulator for this experiment before. Looked up only when
    # the backend is hardware; None means that nobody looked, and is never a yes.
    simulated: bool | None = None


class BackendFacts(_Strict, frozen=True, kw_only=True):
    """Where it would run."""

    name: Name
    scheme: Name
    simulator: bool
    qubits: Count
    # Seconds since the device was last calibrated; None is unknown, or a simulator.
    calibration_age_s: Count | None = None


class PriceFacts(_Strict, frozen=True, kw_only=True):
    """Upper bound of the cost."""

    cents: Count
    currency: Name


class HistoryFacts(_Strict, frozen=True, kw_only=True):
    """What this token and agent did so far; ``recent_denials`` are the agent's of ten minutes."""

    token_jobs: Count = 0
    token_shots: Count = 0
    token_cents: Count = 0
    recent_denials: Count = 0


class Question(_Strict, frozen=True, kw_only=True):
    """The whole input of a decision. Nothing else may influence it."""

    action: Action
    now_ms: Count
    agent: AgentFacts
    experiment: ExperimentFacts | None = None
    grant: GrantFacts | None = None
    shots: Count | None = None
    circuit: CircuitFacts | None = None
    backend: BackendFacts | None = None
    price: PriceFacts | None = None
    history: HistoryFacts = HistoryFacts()


def no_answer(error: BaseException | None = None) -> tuple[str, ...]:
    """Why there is no decision, as far as a caller may know: late, or failed in some way."""
    late = isinstance(error, TimeoutError)
    return ("policy_unavailable", "policy_too_slow" if late else "policy_failed")


class PolicyEngine(ABC):
    """Adapters implement `_evaluate` and may raise anything; callers use `decide`."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 (hex) of the bundle in force: policy text and data."""

    @abstractmethod
    async def _evaluate(self, question: Question) -> Decision:
        """The engine's answer."""

    @abstractmethod
    async def _caps(self, question: Question) -> GrantFacts | None:
        """The engine's answer to `caps`."""

    async def caps(self, question: Question) -> GrantFacts | None:
        """The widest grant that a ``token:issue`` could be given, or None. Never raises."""
        try:
            return await self._caps(question)
        except BaseException as error:  # as in `decide`
            if isinstance(error, (KeyboardInterrupt, SystemExit)) or _is_cancel(error):
                raise
            self._report(error)
            return None

    async def decide(self, question: Question) -> Decision:
        """The answer, or a `Deny` when there is none. Never raises."""
        try:
            answer = await self._evaluate(question)
        # An engine written in another language panics as BaseException; a cancelled request is
        # no answer either, but must still be seen as cancelled.
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)) or _is_cancel(error):
                raise
            self._report(error)
            return Deny(no_answer(error), (), "")
        if isinstance(answer, (Allow, Deny)):
            return answer
        return Deny(no_answer(), (), "")  # type: ignore[unreachable]

    async def close(self) -> None:
        """Close connections; nothing is asked afterwards."""
        return

    def _report(self, error: BaseException) -> None:
        """Tell operators why there was no answer. Override to log elsewhere."""
        import logging

        logging.getLogger("cryogate.policy").error(
            # an engine in another language may append its whole native stack
            "no policy decision: %s: %.400s",
            type(error).__name__,
            error,
        )


def _is_cancel(error: BaseException) -> bool:
    import asyncio

    return isinstance(error, asyncio.CancelledError)
