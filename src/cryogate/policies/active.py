"""The engine in force, exchanged whole while requests are being decided."""

from __future__ import annotations

from cryogate.domain.decisions import Decision, Deny
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question, no_answer


class ActivePolicy(PolicyEngine):
    """Asks whichever engine is in force at the moment of the question.

    Exchanging it is one assignment, so a decision is wholly of one bundle, whose digest it
    carries. Before the first bundle is in force everything is denied. Nothing is remembered
    between questions (A2).
    """

    def __init__(self, engine: PolicyEngine | None = None) -> None:
        self._engine = engine
        self._retired: PolicyEngine | None = None

    @property
    def digest(self) -> str:
        """The digest of the bundle in force; empty when there is none."""
        engine = self._engine
        return "" if engine is None else engine.digest

    async def put(self, engine: PolicyEngine) -> None:
        """Put ``engine`` in force.

        The one before may still be asked by requests that began with it, so it is closed when the
        next one takes its place, or at the end.
        """
        retired, self._retired, self._engine = self._retired, self._engine, engine
        if retired is not None:
            await retired.close()

    async def close(self) -> None:
        """See `PolicyEngine.close`."""
        for engine in (self._retired, self._engine):
            if engine is not None:
                await engine.close()

    async def decide(self, question: Question) -> Decision:
        """See `PolicyEngine.decide`."""
        engine = self._engine
        if engine is None:
            return Deny(no_answer(), (), "")
        return await engine.decide(question)

    async def caps(self, question: Question) -> GrantFacts | None:
        """See `PolicyEngine.caps`."""
        engine = self._engine
        return None if engine is None else await engine.caps(question)

    async def _evaluate(self, question: Question) -> Decision:
        return await self.decide(question)

    async def _caps(self, question: Question) -> GrantFacts | None:
        return await self.caps(question)
