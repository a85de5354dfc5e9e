"""``/v1``: what agents call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.jobs import JobState
from cryogate.gateway.aggregates import MAX_TOP, Ask, Form, z_strings
from cryogate.gateway.caller import Caller
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.jobs import JobService
from cryogate.gateway.places import Places
from cryogate.gateway.release import ResultService, ResultView
from cryogate.gateway.requests import JobRequest, PreviewRequest, SessionRequest
from cryogate.gateway.sessions import SessionService
from cryogate.gateway.views import JobView
from cryogate.ports.audit import rfc3339
from cryogate.ports.provider import Backend, Noise
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForAgents
from cryogate.server.replies import one_of, query, reply, time_cursor, whole_number
from cryogate.server.streams import Seen, Streams

_LONGEST_WAIT_S = 20
_PAGE = 50
Cancel = Callable[[str, str], Awaitable[None]]
Attach = Callable[[ResultView], Awaitable[ResultView]]


class BackendView(msgspec.Struct, frozen=True):
    """A backend that the caller's token allows."""

    name: str
    simulator: bool
    status: str
    qubits: int
    max_shots: int
    gate_set: tuple[str, ...]
    features: tuple[str, ...]
    dialect: str | None
    native_gates: tuple[str, ...]
    degraded: bool
    queue: int | None
    wait_ms: int | None
    calibrated_at: str | None
    seen_at: str | None
    noise: Noise | None


def backend_view(device: Backend) -> BackendView:
    """A backend for showing."""
    return BackendView(
        device.name,
        device.simulator,
        device.status,
        device.qubits,
        device.max_shots,
        tuple(sorted(device.gate_set)),
        tuple(sorted(device.features)),
        None if device.dialect is None else device.dialect.value,
        tuple(sorted(device.native_gates)),
        device.degraded,
        device.queue,
        device.wait_ms,
        None if device.calibrated_ms is None else rfc3339(device.calibrated_ms),
        None if device.seen_ms is None else rfc3339(device.seen_ms),
        device.noise,
    )


class AgentRoutes:
    """Handlers of the agent API."""

    def __init__(
        self,
        *,
        jobs: JobService,
        sessions: SessionService,
        results: ResultService,
        cancel: Cancel,
        changes: JobChanges,
        streams: Streams,
        places: Places,
        devices: Callable[[], Mapping[str, Backend]],
        max_body: int,
    ) -> None:
        self._jobs = jobs
        self._sessions = sessions
        self._results = results
        self._cancel = cancel
        self._changes = changes
        self._streams = streams
        self._places = places
        self._devices = devices
        self._max_body = max_body
        self._attach: Attach | None = None

    def attach(self, proofs: Attach) -> None:
        """Results come with their proofs from now on."""
        self._attach = proofs

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The hot ones stand first: the router tries them in this order."""
        return (
            ForAgents("GET", "/v1/jobs/{job_id}", self.job),
            ForAgents("POST", "/v1/jobs", self.submit),
            ForAgents("GET", "/v1/jobs", self.jobs),
            ForAgents("GET", "/v1/jobs/{job_id}/result", self.result),
            ForAgents("GET", "/v1/jobs/{job_id}/events", self.events),
            ForAgents("POST", "/v1/jobs/{job_id}/cancel", self.cancel),
            ForAgents("POST", "/v1/estimates", self.estimate),
            ForAgents("GET", "/v1/backends", self.backends),
            ForAgents("POST", "/v1/sessions", self.open_session),
            ForAgents("GET", "/v1/sessions/{session_id}", self.session),
            ForAgents("DELETE", "/v1/sessions/{session_id}", self.close_session),
        )

    async def submit(self, request: Request, caller: Caller) -> Response:
        """202 with the job; 200 when this idempotency key has made it before."""
        job, new = await self._jobs.submit(
            caller, await read_json(request, JobRequest, self._max_body)
        )
        return reply(job, 202 if new else 200, {"location": f"/v1/jobs/{job.job_id}"})

    async def job(self, request: Request, caller: Caller) -> Response:
        """A job; with ``?wait_s=N`` once its state changes, or after N seconds."""
        job_id: str = request.path_params["job_id"]
        wait_s = 0
        if request.scope["query_string"]:
            wait_s = whole_number(query(request, "wait_s"), "wait_s", 0, _LONGEST_WAIT_S)
        if not wait_s:
            return reply(self._told(await self._jobs.job(caller, job_id)))
        return reply(await self._moved(caller, job_id, wait_s))

    async def _moved(self, caller: Caller, job_id: str, wait_s: int) -> JobView:
        # the hub knows this replica's moves only, so the row is read again now and then
        with self._changes.watch(job_id) as watch:
            first = view = await self._jobs.job(caller, job_id)
            for _ in range(wait_s):
                if view.state != first.state or JobState(view.state).final:
                    break
                await watch.changed(1.0)
                view = await self._jobs.job(caller, job_id)
            return self._told(view)

    def _told(self, view: JobView) -> JobView:
        if view.state != JobState.QUEUED or (waits := self._places.waits(view.job_id)) is None:
            return view
        return msgspec.structs.replace(view, waiting_for=waits)

    async def jobs(self, request: Request, caller: Caller) -> Response:
        """The caller's jobs, newest first."""
        params = query(request, "limit", "before")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        return reply(await self._jobs.jobs(caller, limit, time_cursor(params)))

    async def result(self, request: Request, caller: Caller) -> Response:
        """The result, as much of it as the caller's rights allow, in the form asked for."""
        params = query(request, "form", "top", "z")
        ask = Ask(
            Form(one_of(params, "form", Form) or Form.COUNTS),
            whole_number(params, "top", 0, MAX_TOP),
            z_strings(params["z"]) if "z" in params else (),
        )
        view = await self._results.result(caller, request.path_params["job_id"], ask)
        return reply(view if self._attach is None else await self._attach(view))

    async def events(self, request: Request, caller: Caller) -> Response:
        """Server-sent events: the job when its state changes, its place in the vendor's queue."""
        query(request)
        job_id: str = request.path_params["job_id"]

        async def look() -> Seen:
            view = await self._jobs.job(caller, job_id)
            events: list[tuple[str, object, object]] = [("job", view.state, view)]
            place = self._places.get(job_id)
            if place is not None and view.state == JobState.RUNNING:
                events.append(("place", place, place))
            return Seen(events, JobState(view.state).final)

        return self._streams.follow(caller, job_id, await look(), look)

    async def cancel(self, request: Request, caller: Caller) -> Response:
        """Ask for the job to stop; the answer shows where it is now."""
        job_id: str = request.path_params["job_id"]
        await self._jobs.job(caller, job_id)
        await self._cancel(job_id, caller.agent_id)
        return reply(await self._jobs.job(caller, job_id), 202)

    async def estimate(self, request: Request, caller: Caller) -> Response:
        """Facts, price, decision and every violation; nothing is spent."""
        wanted = await read_json(request, PreviewRequest, self._max_body)
        return reply(await self._jobs.estimate(caller, wanted))

    async def backends(self, request: Request, caller: Caller) -> Response:
        """The backends that the caller's token allows."""
        query(request)
        allowed = caller.grant.allowed_backends
        devices = self._devices()
        return reply({"items": [backend_view(devices[n]) for n in allowed if n in devices],
                      "next": None})  # fmt: skip

    async def open_session(self, request: Request, caller: Caller) -> Response:
        """201 with the session."""
        wanted = await read_json(request, SessionRequest, self._max_body)
        session = await self._sessions.open(caller, wanted)
        return reply(session, 201, {"location": f"/v1/sessions/{session.session_id}"})

    async def session(self, request: Request, caller: Caller) -> Response:
        """One session."""
        return reply(await self._sessions.session(caller, request.path_params["session_id"]))

    async def close_session(self, request: Request, caller: Caller) -> Response:
        """The session, closed."""
        return reply(await self._sessions.close(caller, request.path_params["session_id"]))
