"""``/admin/v1/agents/{id}/promotion``: the evidence for a promotion, and asking for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.promotions import Promotions
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply
from cryogate.server.views import approval_view

_MAX_BODY = 16 << 10


class AskPromotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the agent should reach hardware."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class PromotionRoutes:
    """Admins and approvers ask; whoever asked does not decide."""

    def __init__(self, promotions: Promotions, desk: ApprovalDesk) -> None:
        self._promotions = promotions
        self._desk = desk

    def endpoints(self) -> tuple[Endpoint, ...]:
        """See the class."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        path = "/admin/v1/agents/{id}/promotion"
        return (
            ForOperators("GET", path, look, self.evidence),
            ForOperators("POST", path, (OperatorRole.APPROVER,), self.ask),
        )

    async def evidence(self, request: Request, operator: Operator) -> Response:
        """What a request would show, without asking."""
        query(request)
        return reply(await self._promotions.evidence(request.path_params["id"]))

    async def ask(self, request: Request, operator: Operator) -> Response:
        """201 with the request for approval."""
        asked = await read_json(request, AskPromotion, _MAX_BODY)
        approval_id = await self._promotions.request(
            request.path_params["id"], actor(operator), asked.reason
        )
        return reply(approval_view(await self._desk.get(approval_id)), 201)
