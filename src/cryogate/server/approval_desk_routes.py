"""``/admin/v1/approvals``: where logged-in people decide. No link and no token of an agent does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.approvals import ApprovalState
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approval_rows import ApprovalRecord
from cryogate.governance.outbox import told_about
from cryogate.ports.store import ReadStore
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, one_of, query, reply, whole_number
from cryogate.server.views import approval_view, page_view, vote_view

_MAX_BODY = 16 << 10
_PAGE = 50


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a decision was made."""

    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class ApprovalDeskRoutes:
    """List, show, approve, deny, take a yes back. ``decided`` is told the id of what moved."""

    def __init__(
        self, desk: ApprovalDesk, store: ReadStore, decided: Callable[[str], None]
    ) -> None:
        self._desk = desk
        self._store = store
        self._decided = decided

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Approvers decide; auditors look on."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        decide = (OperatorRole.APPROVER,)
        return (
            ForOperators("GET", "/admin/v1/approvals", look, self.list),
            ForOperators("GET", "/admin/v1/approvals/{id}", look, self.show),
            ForOperators("POST", "/admin/v1/approvals/{id}/approve", decide, self.approve),
            ForOperators("POST", "/admin/v1/approvals/{id}/deny", decide, self.deny),
            ForOperators("POST", "/admin/v1/approvals/{id}/take-back", decide, self.take_back),
            ForOperators("POST", "/admin/v1/approvals/{id}/withdraw", decide, self.withdraw),
        )

    async def list(self, request: Request, operator: Operator) -> Response:
        """Approvals, newest first; ``?state=pending`` for the open ones."""
        params = query(request, "state", "after", "limit")
        name = one_of(params, "state", ApprovalState)
        state = None if name is None else ApprovalState(name)
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        page = await self._desk.list(state, params.get("after"), limit)
        return reply(page_view(page, approval_view))

    async def show(self, request: Request, operator: Operator) -> Response:
        """One approval with its exact terms, its evidence, who has said yes, and who was told."""
        return await self._whole(await self._desk.get(request.path_params["id"]))

    async def approve(self, request: Request, operator: Operator) -> Response:
        """The approval with this yes in it; with the last one it needs, its job is queued."""
        note = await read_json(request, Note, _MAX_BODY)
        found = await self._desk.approve(request.path_params["id"], actor(operator), note.note)
        return await self._moved(found)

    async def deny(self, request: Request, operator: Operator) -> Response:
        """The approval, denied; its job is cancelled and its reservation released."""
        note = await read_json(request, Note, _MAX_BODY)
        found = await self._desk.deny(request.path_params["id"], actor(operator), note.note)
        return await self._moved(found)

    async def take_back(self, request: Request, operator: Operator) -> Response:
        """The approval without the caller's yes, as long as it is not decided."""
        found = await self._desk.take_back(request.path_params["id"], actor(operator))
        return await self._moved(found)

    async def withdraw(self, request: Request, operator: Operator) -> Response:
        """An approval that was given and not used yet, withdrawn."""
        found = await self._desk.withdraw(request.path_params["id"], actor(operator))
        return await self._moved(found)

    async def _moved(self, found: ApprovalRecord) -> Response:
        self._decided(found.approval.approval_id)
        return await self._whole(found)

    async def _whole(self, found: ApprovalRecord) -> Response:
        votes = [vote_view(vote, counts) for vote, counts in await self._desk.votes(found)]
        told = await told_about(self._store, found.approval.approval_id)
        return reply({**approval_view(found), "votes": votes, "told": told})
