"""``/admin/v1/experiments/{id}/shred``: the end of what the log only commits to."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.audit.shredding import MAX_REASON, Shredder
from cryogate.domain.agents import Operator
from cryogate.ports.audit import rfc3339
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators
from cryogate.server.replies import actor, reply

_MAX_BODY = 4096


class ShredRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an admin sends."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON)]


class PrivacyRoutes:
    """For admins only: it cannot be undone."""

    def __init__(self, shredder: Shredder) -> None:
        self._shredder = shredder

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one there is."""
        return (ForOperators("POST", "/admin/v1/experiments/{id}/shred", (), self.shred),)

    async def shred(self, request: Request, operator: Operator) -> Response:
        """What is left to say of the experiment."""
        asked = await read_json(request, ShredRequest, _MAX_BODY)
        found = await self._shredder.shred(request.path_params["id"], asked.reason, actor(operator))
        answer: dict[str, Any] = {
            "experiment_id": found.experiment_id,
            "shredded_at": rfc3339(found.shredded_ms),
        }
        return reply(answer)
