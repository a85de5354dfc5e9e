"""Explain, replay and suggest, on the bundle in force and the recorded history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cryogate.domain.decisions import Allow, Deny
from cryogate.domain.errors import Malformed, NotFound
from cryogate.policies.activation import PolicyDesk
from cryogate.policies.bundle_files import SIGNATURES, Bundle, BundleInvalid
from cryogate.policies.explain import explain
from cryogate.policies.history import QuestionHistory
from cryogate.policies.rehearsal import Rehearsal
from cryogate.policies.replay import replay
from cryogate.policies.suggest import suggest
from cryogate.ports.clock import Clock
from cryogate.ports.policy import PolicyEngine, Question
from cryogate.ports.store import ReadStore

STATEMENTS: Final = "cryogate_data/statements/data.json"
MOST: Final = 5000
_ACTIONS: Final = {"session.opened": "session:open", "result.read": "result:read"}


class PolicyTools:
    """Each only reads and asks; nothing here puts anything in force."""

    def __init__(
        self,
        store: ReadStore,
        clock: Clock,
        policy: PolicyEngine,
        desk: PolicyDesk,
        history: QuestionHistory,
        rehearsal: Rehearsal,
    ) -> None:
        self._store, self._clock, self._policy = store, clock, policy
        self._desk, self._history, self._rehearsal = desk, history, rehearsal

    async def explain(self, question: Question) -> dict[str, Any]:
        """Why the bundle in force says what it says to a question."""
        return await explain(self._policy.decide, await self._desk.bundle(), question)

    async def explain_job(self, job_id: str) -> dict[str, Any]:
        """The same for an accepted job.

        Raises:
            NotFound: there is no such job.
        """
        asked = await self._history.of_job(job_id)
        return {"reference": asked.reference, **await self.explain(asked.question)}

    async def explain_refusal(self, agent_id: str) -> dict[str, Any]:
        """The same for the agent's newest refusal by policy.

        Raises:
            NotFound: none is kept.
        """
        asked = await self._history.newest_refusal(agent_id)
        return {"reference": asked.reference, **await self.explain(asked.question)}

    async def replay(
        self, files: Mapping[str, bytes], since_ms: int, limit: int = MOST
    ) -> dict[str, Any]:
        """What a candidate would have decided since then, as a difference.

        Raises:
            Malformed: the candidate cannot be read, or takes too long.
        """
        try:
            candidate = Bundle.of(files)
            asked = await self._history.since(since_ms, min(limit, MOST))
            return await replay(self._rehearsal, await self._desk.bundle(), candidate, asked)
        except BundleInvalid as error:
            raise Malformed("bundle_refused", str(error)[:900]) from error

    async def suggest(self, agent_id: str, since_ms: int) -> dict[str, Any]:
        """The narrowest statements for what the agent did, asked about all of it again.

        ``allows`` of ``asked`` questions of its history are allowed by these statements alone.

        Raises:
            NotFound: the agent did nothing in that time.
        """
        asked = await self._history.since(since_ms, MOST, agent_id, refused=False)
        rows = await self._store.fetch("did_read_or_open", {"agent_id": agent_id})
        did = [(_ACTIONS[str(r["action"])], str(r["experiment_id"])) for r in rows]
        statements = suggest(agent_id, asked, did)
        if not statements:
            raise NotFound("no_history", "this agent did nothing in that time")
        present = await self._desk.bundle()
        files = {name: text for name, text in present.files.items() if name != SIGNATURES}
        files[STATEMENTS] = json.dumps(statements, indent=2).encode()
        alone = Bundle.of(files)
        decisions = await self._rehearsal.ask(alone, [a.question for a in asked])
        lacking = [
            {"reference": a.reference, "reasons": list(d.reasons)}
            for a, d in zip(asked, decisions, strict=True)
            if not isinstance(d, Allow)
            and any(v.limit.startswith("statement") for v in d.violations)
        ]
        return {
            "agent": agent_id,
            "statements": statements,
            "asked": len(asked),
            "allows": len(asked) - len(lacking),
            "lacking": lacking[:20],
        }


def _for_want_of_a_statement(deny: Deny) -> bool:
    """A no of roles, tiers or budgets says nothing about statements; one without reasons does."""
    limits = [violation.limit for violation in deny.violations]
    return not limits or any(limit.startswith("statement") for limit in limits)
