"""IBM Quantum's REST API and IBM Cloud's IAM on one port, as far as the sampler needs them.

`lies` are taken by the next answers: ``job``, ``circuit``, ``register``, ``state``, ``time``.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.circuits import CircuitError, Format, Program, load
from cryogate.dev.faults import Faults, FaultyApp
from cryogate.dev.simulate import sampled

CRN: Final = "crn:v1:bluemix:public:quantum-computing:us-east:a/test:instance::"
_BASIS: Final = ["cz", "id", "rz", "sx", "x", "rx", "rzz"]
_DEVICES: Final = {"ibm_torino": 133, "ibm_fez": 156}


class IbmFake:
    """``key`` is the one API key that there is. ``polls``: how often a job is seen unfinished."""

    def __init__(self, key: str = "ibm-test-key-0123456789", *, polls: int = 0) -> None:
        self.key, self.polls = key, polls
        self.faults = Faults()
        self.lies: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        api = "/api/v1"
        routes = [
            Route("/identity/token", self._token, methods=["POST"]),
            Route(api + "/backends", self._backends),
            Route(api + "/backends/{name}/configuration", self._configuration),
            Route(api + "/backends/{name}/properties", self._properties),
            Route(api + "/backends/{name}/status", self._status),
            Route(api + "/jobs", self._create, methods=["POST"]),
            Route(api + "/jobs", self._list),
            Route(api + "/jobs/{id}", self._job),
            Route(api + "/jobs/{id}/metrics", self._metrics),
            Route(api + "/jobs/{id}/results", self._results),
            Route(api + "/jobs/{id}/cancel", self._cancel, methods=["POST"]),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def ran(self, tag: str) -> list[str]:
        """The jobs that carry our tag."""
        return [j["id"] for j in self.jobs.values() if f"cryogate-job:{tag}" in j["tags"]]

    def mint(self) -> str:
        """A token that is good here."""
        token = secrets.token_urlsafe(48)
        self.tokens.add(token)
        return token

    async def _token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        if form.get("apikey") != self.key:
            body = {
                "errorCode": "BXNIM0415E",
                "errorMessage": "Provided API key could not be found.",
            }
            return JSONResponse(body, 400)
        token = self.mint()
        until = int(datetime.now(UTC).timestamp()) + 3600
        return JSONResponse({
            "access_token": token, "refresh_token": "not_supported", "token_type": "Bearer",
            "expires_in": 3600, "expiration": until, "scope": "ibm openid",
        })  # fmt: skip

    def _refused(self, request: Request) -> JSONResponse | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return _error(401, "authentication failed")
        return (
            None if request.headers.get("service-crn") == CRN else _error(403, "another instance")
        )

    # -- devices -----------------------------------------------------------------------------

    async def _backends(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"devices": [
            {"name": name, "status": {"name": "online", "reason": "available"}, "qubits": qubits,
             "is_simulator": False, "queue_length": 4,
             "processor_type": {"family": "Heron", "revision": 2}}
            for name, qubits in _DEVICES.items()
        ]})  # fmt: skip

    async def _configuration(self, request: Request) -> Response:
        qubits = _DEVICES.get(request.path_params["name"])
        if qubits is None:
            return _error(404, "not found")
        return self._refused(request) or JSONResponse({
            "backend_name": request.path_params["name"], "backend_version": "1.0",
            "n_qubits": qubits, "basis_gates": _BASIS, "max_shots": 100_000, "simulator": False,
            "coupling_map": [[q, q + 1] for q in range(qubits - 1)], "local": False,
            "conditional": False, "open_pulse": False, "memory": True, "gates": [],
        })  # fmt: skip

    async def _properties(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(
            {"backend_name": request.path_params["name"],
             "last_update_date": "2026-11-01T00:00:00+00:00", "qubits": [], "gates": []}
        )  # fmt: skip

    async def _status(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(
            {"state": True, "status": "active", "message": "available", "length_queue": 4,
             "backend_version": "1.0"}
        )  # fmt: skip

    # -- jobs --------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        try:
            asked = await request.json()
            [[source, _, shots]] = asked["params"]["pubs"]
            program = await load(source.encode(), Format.OPENQASM3)
            qubits = _DEVICES[asked["backend"]]
        except (CircuitError, ValueError, KeyError, TypeError) as error:
            return _error(400, f"invalid: {error}")
        if program.qubits > qubits or set(program.facts.gate_set) - set(_BASIS):
            return _error(400, "the circuit is not in the gates of the backend")
        job_id = uuid.uuid4().hex[:20]
        self.jobs[job_id] = {
            "id": job_id, "backend": asked["backend"], "state": {"status": "Queued"},
            "status": "Queued", "tags": list(asked.get("tags") or []), "cost": asked["cost"],
            "program": {"id": "sampler"}, "created": datetime.now(UTC).isoformat(),
            "_program": program, "_shots": shots, "_polls": 0,
        }  # fmt: skip
        return JSONResponse({"id": job_id, "backend": asked["backend"]})

    async def _list(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        tags = set(request.query_params.getlist("tags"))
        found = [_shown(j) for j in reversed(self.jobs.values()) if tags <= set(j["tags"])]
        limit = int(request.query_params.get("limit") or 10)
        page = found[:limit]
        return JSONResponse({"jobs": page, "count": len(found), "limit": limit, "offset": 0})

    def _known(self, request: Request) -> dict[str, Any] | JSONResponse:
        refused = self._refused(request)
        if refused is not None:
            return refused
        return self.jobs.get(request.path_params["id"]) or _error(404, "Job not found")

    async def _job(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] in ("Queued", "Running"):
            job["_polls"] += 1
            done = job["_polls"] > self.polls
            job["status"] = "Completed" if done else "Running"
            job["state"] = {"status": job["status"]}
        return JSONResponse(self._told(_shown(job)))

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        lie = self._take("job", "circuit", "state")
        if lie == "job":
            job["id"] = uuid.uuid4().hex[:20]
        elif lie == "circuit":
            kept = [tag for tag in job["tags"] if not tag.startswith("cryogate-program:")]
            job["tags"] = [*kept, "cryogate-program:" + "0" * 64]
        elif lie == "state":
            job["state"] = {"status": "Astray"}
        return job

    def _take(self, *kinds: str) -> str:
        found = next((lie for lie in self.lies if lie in kinds), "")
        if found:
            self.lies.remove(found)
        return found

    async def _metrics(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        usage: dict[str, Any] = {"status": "pending"}
        if job["status"] == "Completed":
            seconds = 1_000_000.0 if self._take("time") else 1.5
            usage = {"status": "completed", "qpu_charge_time_seconds": seconds}
        return JSONResponse({"usage": usage, "position_in_queue": 3, "timestamps": {}})

    async def _results(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] != "Completed":
            return _error(404, "no results yet")
        return JSONResponse({"results": [{"data": self._data(job), "metadata": {}}],
                             "metadata": {"version": 2}})  # fmt: skip

    def _data(self, job: dict[str, Any]) -> dict[str, Any]:
        program: Program = job["_program"]
        rows = []
        for text, count in sampled(program, job["_shots"], 7).items():
            rows += [text[::-1]] * count  # bit 0 first
        data, start = {}, 0
        for number, size in enumerate(program.registers):
            values = [int(row[start : start + size][::-1], 2) for row in rows]
            name = "astray" if self._take("register") else f"c{number}"
            data[name] = {"samples": [hex(v) for v in values], "num_bits": size}
            start += size
        return data

    async def _cancel(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] in ("Completed", "Cancelled"):
            return _error(409, "the job is in a final state")
        job["status"] = "Cancelled"
        job["state"] = {"status": "Cancelled"}
        return Response(status_code=204)


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if not name.startswith("_")}


def _error(status: int, message: str) -> JSONResponse:
    body = {"errors": [{"code": status, "message": message, "solution": "", "more_info": ""}],
            "trace": "t"}  # fmt: skip
    return JSONResponse(body, status)
