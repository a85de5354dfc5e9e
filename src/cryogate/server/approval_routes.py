"""``/v1/approvals``: where agents ask, look, follow and take back. Nothing here decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cryogate.gateway.asking import Asking, JobAsk, ReleaseAsk
from cryogate.gateway.caller import Caller
from cryogate.gateway.changes import JobChanges
from cryogate.governance.approval_inbox import ApprovalInbox
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForAgents
from cryogate.server.replies import query, reply, whole_number
from cryogate.server.streams import Seen, Streams

_PAGE = 50
_SETTLED = frozenset({"used", "denied", "expired", "withdrawn"})
Cancel = Callable[[str, str], Awaitable[None]]


class ApprovalRoutes:
    """Handlers of an agent's requests for approval."""

    def __init__(
        self,
        *,
        inbox: ApprovalInbox,
        asking: Asking,
        cancel: Cancel,
        changes: JobChanges,
        streams: Streams,
        max_body: int,
    ) -> None:
        self._inbox = inbox
        self._asking = asking
        self._cancel = cancel
        self._changes = changes
        self._streams = streams
        self._max_body = max_body

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What an agent may do about approvals."""
        return (
            ForAgents("GET", "/v1/approvals", self.list),
            ForAgents("POST", "/v1/approvals", self.ask),
            ForAgents("GET", "/v1/approvals/{id}", self.show),
            ForAgents("GET", "/v1/approvals/{id}/events", self.follow),
            ForAgents("POST", "/v1/approvals/{id}/withdraw", self.withdraw),
        )

    async def list(self, request: Request, caller: Caller) -> Response:
        """The caller's requests, newest first."""
        params = query(request, "after", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        page = await self._inbox.list(*_whose(caller), params.get("after"), limit)
        return reply({"items": page.items, "next": page.next})

    async def ask(self, request: Request, caller: Caller) -> Response:
        """201 with the request; 200 when one for the same terms waits, or is approved, already."""
        kinds: Any = JobAsk | ReleaseAsk
        ask = await read_json(request, kinds, self._max_body)
        if isinstance(ask, JobAsk):
            approval_id, new = await self._asking.job(caller, ask)
        else:
            approval_id, new = await self._asking.release(caller, ask)
        view = await self._inbox.get(*_whose(caller), approval_id)
        where = {"location": f"/v1/approvals/{approval_id}"}
        return reply(view, 201 if new else 200, where)

    async def show(self, request: Request, caller: Caller) -> Response:
        """One request, with what to do next."""
        query(request)
        return reply(await self._inbox.get(*_whose(caller), request.path_params["id"]))

    async def withdraw(self, request: Request, caller: Caller) -> Response:
        """The request, taken back; a parked job is cancelled and its reservation released."""
        approval_id: str = request.path_params["id"]
        view, job_id = await self._inbox.withdraw(*_whose(caller), approval_id)
        if job_id is not None:
            await self._cancel(job_id, caller.agent_id)
            view = await self._inbox.get(*_whose(caller), approval_id)
        self._changes.tell(approval_id)
        return reply(view)

    async def follow(self, request: Request, caller: Caller) -> Response:
        """Server-sent events: the request now, and again whenever its state changes."""
        query(request)
        approval_id: str = request.path_params["id"]

        async def look() -> Seen:
            view = await self._inbox.get(*_whose(caller), approval_id)
            return Seen((("approval", view.state, view),), view.state in _SETTLED)

        return self._streams.follow(caller, approval_id, await look(), look)


def _whose(caller: Caller) -> tuple[str, str]:
    return caller.agent_id, caller.grant.experiment_id
