"""(2) The circuit becomes a program: from here on the agent's own text is never used again."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.circuits import CircuitError, GuardedPool, ParseLimits, Program, load
from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Malformed
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check
from cryogate.gateway.requests import ProgramText


class CircuitCheck(Check):
    """Parses within limits; rich notations go through the guarded workers."""

    step = "2"

    def __init__(self, limits: ParseLimits, pool: GuardedPool | None) -> None:
        self._limits = limits
        self._pool = pool

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Fill in program and facts.

        Raises:
            Malformed: it is no circuit that we read; says where and what to change.
        """
        case.program = await parsed(case.request.program, self._limits, self._pool)
        case.facts = case.program.facts
        return ()


async def parsed(text: ProgramText, limits: ParseLimits, pool: GuardedPool | None) -> Program:
    """The program of a text.

    Raises:
        Malformed: it is no circuit that we read; says where and what to change.
    """
    try:
        # surrogates cannot be encoded; they are refused like any other byte we do not read
        source = text.source.encode("utf-8", "surrogatepass")
        return await load(
            source, text.parsed_format(), limits, pool, parameters=text.parameters or None
        )
    except CircuitError as error:
        where = f"line {error.line}: " if error.line is not None else ""
        hint = f" {error.hint}" if error.hint else ""
        raise Malformed(f"circuit_{error.code}", f"{where}{error.detail}.{hint}") from error
