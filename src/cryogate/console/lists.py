"""What there is and what happened: agents, experiments, jobs, events. They only show."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from cryogate.audit.log import AuditLog
from cryogate.broker.registry import Registry
from cryogate.console.refusals import Explainer
from cryogate.console.rendering import Renderer
from cryogate.domain.approvals import ApprovalState
from cryogate.domain.jobs import JobState
from cryogate.gateway.overview import Overview
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.experiments import ExperimentAdmin
from cryogate.ports.privacy import EventReader
from cryogate.server.endpoints import Endpoint, ForPeople, OperatorRole
from cryogate.server.registry_routes import agent_view
from cryogate.server.replies import one_of, query, time_cursor, whole_number
from cryogate.server.session_auth import Person
from cryogate.server.views import experiment_view

_EVERY = tuple(OperatorRole)
_LOOK = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
_AUDITORS = (OperatorRole.AUDITOR,)
_PAGE, _FEW = 50, 10


class ListPages:
    """See the module."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        explain: Explainer,
        registry: Registry,
        experiments: ExperimentAdmin,
        overview: Overview,
        desk: ApprovalDesk,
        log: AuditLog,
        reader: EventReader,
    ) -> None:
        self._renderer, self._explain = renderer, explain
        self._registry, self._experiments = registry, experiments
        self._overview, self._desk = overview, desk
        self._log, self._reader = log, reader

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The same roles as on the API."""
        explain = self._explain
        return (
            ForPeople("GET", "/console", _EVERY, self.home, explain),
            ForPeople("GET", "/console/agents", _LOOK, self.agents, explain),
            ForPeople("GET", "/console/experiments", _LOOK, self.list_experiments, explain),
            ForPeople("GET", "/console/jobs", _LOOK, self.jobs, explain),
            ForPeople("GET", "/console/events", _AUDITORS, self.events, explain),
        )

    async def home(self, request: Request, person: Person) -> Response:
        """What waits for a person, and what ran last."""
        waiting = await self._desk.list(ApprovalState.PENDING, None, _FEW)
        jobs = await self._overview.jobs(
            agent_id=None, experiment_id=None, state=None, limit=_FEW, cursor=None
        )
        return self._renderer.page(
            "home.html",
            person,
            here="home",
            waiting=[
                {"id": r.approval.approval_id, "kind": r.approval.kind.value,
                 "agent": r.approval.terms.agent_id, "reason": r.approval.reason}
                for r in waiting.items
            ],
            more=waiting.next is not None,
            jobs=jobs.items,
        )  # fmt: skip

    async def agents(self, request: Request, person: Person) -> Response:
        """Agents by name."""
        params = query(request, "after")
        found = await self._registry.agents(params.get("after", ""), _PAGE + 1)
        more = found[_PAGE - 1].agent_id if len(found) > _PAGE else None
        items = [agent_view(agent) for agent in found[:_PAGE]]
        return self._renderer.page("agents.html", person, here="agents", items=items, next=more)

    async def list_experiments(self, request: Request, person: Person) -> Response:
        """Experiments by name, with what their budgets have left."""
        page = await self._experiments.list(query(request, "after").get("after"), _PAGE)
        items = [experiment_view(item) for item in page.items]
        return self._renderer.page(
            "experiments.html", person, here="experiments", items=items, next=page.next
        )

    async def jobs(self, request: Request, person: Person) -> Response:
        """Jobs of everybody, newest first."""
        params = query(request, "state", "before")
        state = one_of(params, "state", JobState)
        page = await self._overview.jobs(
            agent_id=None, experiment_id=None, state=state, limit=_PAGE, cursor=time_cursor(params)
        )
        return self._renderer.page(
            "jobs.html", person, here="jobs", items=page.items, state=state,
            states=[s.value for s in JobState], next=page.next,
        )  # fmt: skip

    async def events(self, request: Request, person: Person) -> Response:
        """The log backwards: the newest events, or those before ``?before=``."""
        params = query(request, "before")
        size = self._log.published_size
        before = min(size, whole_number(params, "before", size, 2**53))
        first = max(0, before - _PAGE)
        entries = await self._log.events(first - 1, before - first) if before > first else ()
        items = await self._reader.clear([json.loads(entry.data) for entry in reversed(entries)])
        return self._renderer.page(
            "events.html", person, here="events", items=items, next=first or None, size=size
        )
