"""Many executions behind one request, each of them counted (C6).

A sweep, a list of circuits, a randomisation: whatever multiplies shots ends as one `Batch`, whose
``total_shots`` is what limits, budgets and approvals see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.loading import load
from cryogate.circuits.model import Format, ParseLimits
from cryogate.circuits.pool import GuardedPool
from cryogate.circuits.program import Program

MAX_EXECUTIONS = 1000


@dataclass(frozen=True, slots=True)
class Execution:
    """One program and how often it runs, randomisations multiplied in."""

    program: Program
    shots: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Executions of one request. Never empty."""

    executions: tuple[Execution, ...]

    @property
    def total_shots(self) -> int:
        """Shots over all executions."""
        return sum(execution.shots for execution in self.executions)


def batch_of(
    programs: Sequence[Program], shots: int | Sequence[int], *, randomizations: int = 1
) -> Batch:
    """Every program with its shots, times ``randomizations``.

    ``shots`` is one number for each program, or one for all. Raises `CircuitError` for an empty or
    too large batch, and for numbers that are not positive.
    """
    each = [shots] * len(programs) if isinstance(shots, int) else list(shots)
    if not programs or len(programs) > MAX_EXECUTIONS:
        raise CircuitError("too_large", f"a batch holds 1 to {MAX_EXECUTIONS} circuits")
    if len(each) != len(programs):
        raise CircuitError("syntax", "a batch needs shots for each of its circuits")
    if any(type(x) is not int or x < 1 for x in (*each, randomizations)):
        raise CircuitError("syntax", "shots and randomizations are positive whole numbers")
    pairs = zip(programs, each, strict=True)
    return Batch(tuple([Execution(program, n * randomizations) for program, n in pairs]))


async def load_sweep(
    source: bytes,
    format: Format,  # noqa: A002
    limits: ParseLimits,
    pool: GuardedPool,
    points: Sequence[Mapping[str, float]],
) -> tuple[Program, ...]:
    """The program at each point of a parameter sweep; ``max_operations`` holds for all together.

    Raises `CircuitError`.
    """
    if not points or len(points) > MAX_EXECUTIONS:
        raise CircuitError("too_large", f"a sweep has 1 to {MAX_EXECUTIONS} points")
    programs: list[Program] = []
    operations = 0
    for point in points:
        program = await load(source, format, limits, pool, parameters=point)
        operations += program.facts.gates + program.facts.measurements
        if operations > limits.max_operations:
            raise CircuitError("too_large", f"more than {limits.max_operations} operations")
        programs.append(program)
    return tuple(programs)
