"""(2) The circuit becomes a program: from here on the agent's own text is never used again."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.circuits import CircuitError, GuardedPool, ParseLimits, load
from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Malformed
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check


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
        text = case.request.program
        try:
            # surrogates cannot be encoded; they are refused like any other byte we do not read
            source = text.source.encode("utf-8", "surrogatepass")
            case.program = await load(source, text.parsed_format(), self._limits, self._pool)
            case.facts = case.program.facts
        except CircuitError as error:
            where = f"line {error.line}: " if error.line is not None else ""
            hint = f" {error.hint}" if error.hint else ""
            raise Malformed(f"circuit_{error.code}", f"{where}{error.detail}.{hint}") from error
        return ()
