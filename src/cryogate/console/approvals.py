"""Approvals: what waits, the exact terms, and the decision.

The form carries the digest of the terms that were shown. What is decided is compared with it: a
person never decides about terms that they have not seen (H1). Nothing but a posted form decides;
links only show (H4).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cryogate.console.refusals import Explainer
from cryogate.console.rendering import Renderer
from cryogate.domain.approvals import ApprovalState
from cryogate.domain.errors import Conflict, Malformed
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approvals import ApprovalRecord
from cryogate.server.endpoints import Endpoint, ForPeople, OperatorRole
from cryogate.server.replies import actor, one_of, query
from cryogate.server.session_auth import Person
from cryogate.server.views import approval_view

_LOOK = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
_DONE = {"approve": "You approved this request.", "deny": "You denied this request."}


class ApprovalPages:
    """List, look, decide."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        explain: Explainer,
        desk: ApprovalDesk,
        wake: Callable[[], None],
    ) -> None:
        self._renderer, self._explain = renderer, explain
        self._desk, self._wake = desk, wake

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The same roles as on the API."""
        explain, one = self._explain, "/console/approvals/{id}"
        return (
            ForPeople("GET", "/console/approvals", _LOOK, self.list, explain),
            ForPeople("GET", one, _LOOK, self.show, explain),
            ForPeople("POST", one, (OperatorRole.APPROVER,), self.decide, explain),
        )

    async def list(self, request: Request, person: Person) -> Response:
        """Approvals, newest first; the open ones unless asked otherwise."""
        params = query(request, "state", "after")
        state = one_of(params, "state", ApprovalState) or ApprovalState.PENDING.value
        page = await self._desk.list(ApprovalState(state), params.get("after"))
        return self._renderer.page(
            "approvals.html",
            person,
            here="approvals",
            items=[_shown(item) for item in page.items],
            state=state,
            states=[s.value for s in ApprovalState],
            next=page.next,
        )

    async def show(self, request: Request, person: Person) -> Response:
        """One approval with its exact terms."""
        found = await self._desk.get(request.path_params["id"])
        votes = await self._desk.votes(found)
        mine = {OperatorRole.ADMIN.value, OperatorRole.APPROVER.value} & person.operator.roles
        return self._renderer.page(
            "approval.html",
            person,
            here="approvals",
            item=_shown(found),
            votes=[(v.voter.operator_id, v.note, counts) for v, counts in votes],
            may_decide=bool(mine) and found.approval.state is ApprovalState.PENDING,
            message=_DONE.get(request.query_params.get("done", "")),
        )

    async def decide(self, request: Request, person: Person) -> Response:
        """Yes or no to the terms that were shown."""
        approval_id: str = request.path_params["id"]
        decision, form = person.form.get("decision", ""), person.form
        if decision not in _DONE:
            raise Malformed("malformed_form", "decide by one of the two buttons")
        found = await self._desk.get(approval_id)
        if form.get("terms_sha256") != found.approval.terms.digest():
            raise Conflict("terms_changed", "these are not the terms that you were shown")
        say = self._desk.approve if decision == "approve" else self._desk.deny
        note = form.get("note", "").replace("\r\n", "\n")
        await say(approval_id, actor(person.operator), note)
        self._wake()
        return self._renderer.redirect(f"/console/approvals/{found.approval.approval_id}"
                                       f"?done={decision}")  # fmt: skip


def _shown(item: ApprovalRecord) -> dict[str, Any]:
    view = approval_view(item)
    evidence = json.loads(item.evidence)
    view["evidence"] = json.dumps(evidence, indent=2) if evidence else None
    return view
