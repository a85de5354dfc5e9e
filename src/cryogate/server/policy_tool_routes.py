"""``/admin/v1/policies``: explain a decision, replay history, suggest least privilege."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed
from cryogate.domain.ids import require_slug
from cryogate.policies.bundle_files import MAX_BUNDLE_BYTES
from cryogate.policies.tools import MOST, PolicyTools
from cryogate.ports.policy import Question
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.policy_routes import Files
from cryogate.server.replies import query, reply, whole_number

_MAX_QUESTION = 256 << 10
_Moment = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Explain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of them: a question, an accepted job, or an agent whose last refusal is meant."""

    question: Question | None = None
    job_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    agent_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate bundle (it needs no signature: it is put in force nowhere) and how far back."""

    files: Files
    since_ms: _Moment
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = MOST


class PolicyToolRoutes:
    """For every operator: these only look."""

    def __init__(self, tools: PolicyTools) -> None:
        self._tools = tools

    def endpoints(self) -> tuple[Endpoint, ...]:
        """See the class."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        base = "/admin/v1/policies"
        return (
            ForOperators("POST", f"{base}/explain", look, self.explain),
            ForOperators("POST", f"{base}/replay", look, self.replay),
            ForOperators("GET", f"{base}/suggest/{{agent}}", look, self.suggest),
        )

    async def explain(self, request: Request, operator: Operator) -> Response:
        """Which rule decided, and what would have to change for a yes."""
        wanted = await read_json(request, Explain, _MAX_QUESTION)
        given = (wanted.question, wanted.job_id, wanted.agent_id)
        if sum(one is not None for one in given) != 1:
            raise Malformed("malformed_request", "give one of question, job_id and agent_id")
        if wanted.question is not None:
            return reply(await self._tools.explain(wanted.question))
        if wanted.job_id is not None:
            return reply(await self._tools.explain_job(wanted.job_id))
        return reply(await self._tools.explain_refusal(wanted.agent_id or ""))

    async def replay(self, request: Request, operator: Operator) -> Response:
        """What a candidate bundle would have decided since then, as a difference."""
        wanted = await read_json(request, Replay, 2 * MAX_BUNDLE_BYTES)
        files = {name: text.encode() for name, text in wanted.files.items()}
        return reply(await self._tools.replay(files, wanted.since_ms, wanted.limit))

    async def suggest(self, request: Request, operator: Operator) -> Response:
        """The narrowest statements that would have allowed what the agent did since then."""
        since_ms = whole_number(query(request, "since_ms"), "since_ms", 0, 2**53 - 1)
        agent = require_slug(request.path_params["agent"], "agent")
        return reply(await self._tools.suggest(agent, since_ms))
