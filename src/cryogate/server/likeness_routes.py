"""``/admin/v1/…/similar``: which authorised experiment a circuit comes from."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.circuits import GuardedPool, ParseLimits
from cryogate.domain.agents import Operator
from cryogate.gateway.checks.circuit import parsed
from cryogate.gateway.likeness import Likenesses
from cryogate.gateway.requests import ProgramText
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import query, reply, whole_number

_MOST = 50
_DEFAULT = 10


class LikenessRoutes:
    """Of a job, or of a circuit that somebody holds in their hands."""

    def __init__(
        self,
        likenesses: Likenesses,
        limits: ParseLimits,
        parsers: GuardedPool | None,
        max_body: int,
    ) -> None:
        self._likenesses = likenesses
        self._limits = limits
        self._parsers = parsers
        self._max_body = max_body

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everybody with a role may look."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        return (
            ForOperators("GET", "/admin/v1/jobs/{id}/similar", look, self.of_job),
            ForOperators("POST", "/admin/v1/circuits/similar", look, self.of_circuit),
        )

    async def of_job(self, request: Request, operator: Operator) -> Response:
        """Experiments whose programs are most like this job's."""
        job_id: str = request.path_params["id"]
        return reply(await self._likenesses.of_job(job_id, _limit(request)))

    async def of_circuit(self, request: Request, operator: Operator) -> Response:
        """Experiments whose programs are most like this circuit."""
        limit = _limit(request)
        given = await read_json(request, ProgramText, self._max_body)
        program = await parsed(given, self._limits, self._parsers)
        return reply(await self._likenesses.of_program(program, limit))


def _limit(request: Request) -> int:
    return max(1, whole_number(query(request, "limit"), "limit", _DEFAULT, _MOST))
