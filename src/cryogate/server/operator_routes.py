"""``/admin/v1``: what operators call. An agent's token never gets this far (A8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.jobs import JobState
from cryogate.gateway.breaker import BreakerView
from cryogate.gateway.overview import Overview
from cryogate.governance.experiments import ExperimentAdmin, ExperimentChange, NewExperiment
from cryogate.ports.provider import Backend
from cryogate.server.agent_routes import backend_view
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.limit_views import limits_view
from cryogate.server.replies import actor, one_of, query, reply, time_cursor, whole_number
from cryogate.server.views import experiment_view, page_view

ADMIN, APPROVER, AUDITOR = OperatorRole.ADMIN, OperatorRole.APPROVER, OperatorRole.AUDITOR
_MAX_BODY = 256 << 10
_PAGE = 50


class OperatorRoutes:
    """Experiments, budgets, jobs, sessions and backends, for operators."""

    def __init__(
        self,
        *,
        experiments: ExperimentAdmin,
        overview: Overview,
        cancel: Callable[[str, str], Awaitable[None]],
        devices: Callable[[], Mapping[str, Backend]],
        providers: Callable[[], Sequence[BreakerView]],
    ) -> None:
        self._experiments = experiments
        self._overview = overview
        self._cancel = cancel
        self._devices = devices
        self._providers = providers

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint with the roles that may call it; admins may call all."""
        look = (APPROVER, AUDITOR)
        return (
            ForOperators("GET", "/admin/v1/experiments", look, self.list_experiments),
            ForOperators("POST", "/admin/v1/experiments", (), self.create_experiment),
            ForOperators("GET", "/admin/v1/experiments/{id}", look, self.show_experiment),
            ForOperators("PATCH", "/admin/v1/experiments/{id}", (), self.change_experiment),
            ForOperators("GET", "/admin/v1/jobs", look, self.list_jobs),
            ForOperators("GET", "/admin/v1/jobs/{id}", look, self.show_job),
            ForOperators("POST", "/admin/v1/jobs/{id}/cancel", (), self.cancel_job),
            ForOperators("GET", "/admin/v1/sessions", look, self.list_sessions),
            ForOperators("GET", "/admin/v1/backends", look, self.list_backends),
        )

    # -- experiments -----------------------------------------------------------

    async def list_experiments(self, request: Request, operator: Operator) -> Response:
        """Experiments by name."""
        cursor, limit = _page(request)
        page = await self._experiments.list(cursor, limit)
        return reply(page_view(page, experiment_view))

    async def create_experiment(self, request: Request, operator: Operator) -> Response:
        """201 with the experiment."""
        new = await read_json(request, NewExperiment, _MAX_BODY)
        return reply(experiment_view(await self._experiments.create(new, actor(operator))), 201)

    async def show_experiment(self, request: Request, operator: Operator) -> Response:
        """One experiment with its budget."""
        return reply(experiment_view(await self._experiments.show(request.path_params["id"])))

    async def change_experiment(self, request: Request, operator: Operator) -> Response:
        """The experiment, changed."""
        change = await read_json(request, ExperimentChange, _MAX_BODY)
        found = await self._experiments.update(request.path_params["id"], change, actor(operator))
        return reply(experiment_view(found))

    # -- jobs, sessions, backends ----------------------------------------------------------

    async def list_jobs(self, request: Request, operator: Operator) -> Response:
        """All jobs, newest first."""
        params = query(request, "agent_id", "experiment_id", "state", "limit", "before")
        return reply(
            await self._overview.jobs(
                agent_id=params.get("agent_id"),
                experiment_id=params.get("experiment_id"),
                state=one_of(params, "state", JobState),
                limit=_limit(params),
                cursor=time_cursor(params),
            )
        )

    async def show_job(self, request: Request, operator: Operator) -> Response:
        """One job."""
        return reply(await self._overview.job(request.path_params["id"]))

    async def cancel_job(self, request: Request, operator: Operator) -> Response:
        """Stop a job, whoever's it is."""
        job_id: str = request.path_params["id"]
        await self._overview.job(job_id)
        await self._cancel(job_id, actor(operator))
        return reply(await self._overview.job(job_id), 202)

    async def list_sessions(self, request: Request, operator: Operator) -> Response:
        """All sessions, newest first."""
        params = query(request, "limit", "before")
        return reply(await self._overview.sessions(_limit(params), time_cursor(params)))

    async def list_backends(self, request: Request, operator: Operator) -> Response:
        """Every backend of every provider, and which providers are sent jobs now."""
        query(request)
        items = [
            {**msgspec.to_builtins(backend_view(device)), "limits": limits_view(device)}
            for device in self._devices().values()
        ]
        return reply({"items": items, "next": None, "providers": self._providers()})


def _limit(params: dict[str, str]) -> int:
    return max(1, whole_number(params, "limit", _PAGE, 200))


def _page(request: Request) -> tuple[str | None, int]:
    params = query(request, "after", "limit")
    return params.get("after"), _limit(params)
