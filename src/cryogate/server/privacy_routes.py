"""``/admin/v1/experiments/{id}/shred`` and ``/admin/v1/audit/prune``: the ends of what is kept."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.audit.pruning import Pruner
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


class PruneRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an admin sends; without ``dry_run`` it is done."""

    dry_run: bool = False


class PrivacyRoutes:
    """For admins only: neither can be undone."""

    def __init__(self, shredder: Shredder, pruner: Pruner) -> None:
        self._shredder, self._pruner = shredder, pruner

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Both."""
        return (
            ForOperators("POST", "/admin/v1/experiments/{id}/shred", (), self.shred),
            ForOperators("POST", "/admin/v1/audit/prune", (), self.prune),
        )

    async def prune(self, request: Request, operator: Operator) -> Response:
        """What goes, or with ``dry_run`` would."""
        asked = await read_json(request, PruneRequest, _MAX_BODY)
        if asked.dry_run:
            plan = await self._pruner.plan()
        else:
            plan = await self._pruner.prune(actor(operator))
        return reply(
            {
                "dry_run": asked.dry_run,
                "first": plan.first,
                "left_from": plan.past,
                "entries": plan.past - plan.first,
                "before": rfc3339(plan.cutoff_ms),
                "held_by": plan.held_by or None,
            }
        )

    async def shred(self, request: Request, operator: Operator) -> Response:
        """What is left to say of the experiment."""
        asked = await read_json(request, ShredRequest, _MAX_BODY)
        found = await self._shredder.shred(request.path_params["id"], asked.reason, actor(operator))
        answer: dict[str, Any] = {
            "experiment_id": found.experiment_id,
            "shredded_at": rfc3339(found.shredded_ms),
        }
        return reply(answer)
