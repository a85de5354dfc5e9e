"""``/admin/v1/alerts``: what somebody should look at."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.governance.alerts import Alert, AlertDesk
from cryogate.ports.audit import rfc3339
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply, whole_number

_PAGE = 50
_MAX_BODY = 8 << 10


class Handling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found or done."""

    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class AlertRoutes:
    """List, show, acknowledge and close alerts."""

    def __init__(self, desk: AlertDesk) -> None:
        self._desk = desk

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everybody with a role may look; admins deal with them."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        return (
            ForOperators("GET", "/admin/v1/alerts", look, self.list),
            ForOperators("GET", "/admin/v1/alerts/{id}", look, self.show),
            ForOperators("POST", "/admin/v1/alerts/{id}/ack", (), self.acknowledge),
            ForOperators("POST", "/admin/v1/alerts/{id}/close", (), self.close),
        )

    async def list(self, request: Request, operator: Operator) -> Response:
        """Alerts that are not closed, or those of one state; latest occurrence first."""
        params = query(request, "state", "after", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        page = await self._desk.list(params.get("state"), params.get("after"), limit)
        return reply({"items": [alert_view(alert) for alert in page.items], "next": page.next})

    async def show(self, request: Request, operator: Operator) -> Response:
        """One alert with its evidence."""
        query(request)
        return reply(alert_view(await self._desk.show(request.path_params["id"])))

    async def acknowledge(self, request: Request, operator: Operator) -> Response:
        """The alert, which somebody looks into."""
        note = (await read_json(request, Handling, _MAX_BODY)).note
        found = await self._desk.acknowledge(request.path_params["id"], actor(operator), note)
        return reply(alert_view(found))

    async def close(self, request: Request, operator: Operator) -> Response:
        """The alert, which is dealt with."""
        note = (await read_json(request, Handling, _MAX_BODY)).note
        found = await self._desk.close(request.path_params["id"], actor(operator), note)
        return reply(alert_view(found))


def alert_view(alert: Alert) -> dict[str, Any]:
    """An alert for showing."""
    return {
        "alert_id": alert.alert_id,
        "kind": alert.kind,
        "subject": alert.subject,
        "severity": alert.severity,
        "state": alert.state,
        "count": alert.count,
        "first_at": rfc3339(alert.first_ms),
        "last_at": rfc3339(alert.last_ms),
        "evidence": msgspec.Raw(alert.evidence.encode()),
        "handled_by": alert.handled_by,
        "handled_at": None if alert.handled_ms is None else rfc3339(alert.handled_ms),
        "note": alert.note,
    }
