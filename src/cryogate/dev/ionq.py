"""IonQ's API, version 0.4, as its own clients know it. Jobs run on `cryogate.dev.simulate`.

A job that costs more than its session's limit, or than is left of the project's `budget`, fails.
`lies` change the next answers about jobs, to see what becomes of a vendor that does not tell the
truth: ``job``, ``circuit``, ``device``, ``sum``, ``negative_cost``, ``no_cost``, ``state``,
``shots``.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cryogate.circuits import CircuitError, parse_ionq
from cryogate.dev.faults import Faults, FaultyApp
from cryogate.dev.simulate import probabilities

_GATES: Final = [
    "x", "y", "z", "h", "s", "si", "t", "ti", "v", "vi", "rx", "ry", "rz", "cnot", "swap", "xx",
    "yy", "zz", "not",
]  # fmt: skip
_PROJECT: Final = "1333d459-cf47-4a5e-acc1-8d4eb4f7b025"
_DEVICES: Final = {
    "simulator": (29, None),
    "qpu.forte-1": (36, ["gpi", "gpi2", "zz"]),
    "qpu.forte-enterprise-1": (36, ["gpi", "gpi2", "zz"]),
}
_CENTS: Final = {"1q": 0.01, "2q": 0.1}  # of a dollar, for each gate and shot
_MAX_BODY: Final = 10 << 20


class IonqFake:
    """``key`` is the one API key there is. ``polls`` is how often a job is seen unfinished."""

    def __init__(self, key: str = "ionq-test-key", *, polls: int = 0) -> None:
        self.key, self.polls = key, polls
        self.faults = Faults()
        self.lies: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.offline: set[str] = set()
        self.budget: float | None = None
        self.sessions: dict[str, dict[str, Any]] = {}
        prefix = "/v0.4"
        routes = [
            Route(prefix + "/backends", self._backends),
            Route(prefix + "/backends/{name}", self._backend),
            Route(prefix + "/backends/{name}/characterizations", self._calibrations),
            Route(prefix + "/whoami", self._whoami),
            Route(prefix + "/sessions", self._open_session, methods=["POST"]),
            Route(prefix + "/sessions/{id}/end", self._end_session, methods=["POST"]),
            Route(prefix + "/jobs", self._create, methods=["POST"]),
            Route(prefix + "/jobs", self._list),
            Route(prefix + "/jobs/estimate", self._estimate),
            Route(prefix + "/jobs/{id}", self._job),
            Route(prefix + "/jobs/{id}", self._delete, methods=["DELETE"]),
            Route(prefix + "/jobs/{id}/cost", self._cost),
            Route(prefix + "/jobs/{id}/status/cancel", self._cancel, methods=["PUT"]),
            Route(prefix + "/jobs/{id}/results/probabilities", self._probabilities),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def ran(self, tag: str) -> list[str]:
        """The ids of the jobs that carry our tag and are no dry run."""
        return [
            j["id"] for j in self.jobs.values()
            if not j["dry_run"] and (j["metadata"] or {}).get("cryogate_job") == tag
        ]  # fmt: skip

    def expire(self, vendor_id: str) -> None:
        """The vendor gives a job up while it waits."""
        job = self.jobs[vendor_id]
        job["status"] = "failed"
        job["failure"] = {"code": "SystemCancel", "error": "expired", "message": "expired"}

    # -- devices -----------------------------------------------------------------------------

    def _device(self, name: str) -> dict[str, Any]:
        qubits, native = _DEVICES[name]
        found: dict[str, Any] = {
            "backend": name, "qubits": qubits, "degraded": False, "average_queue_time": 181_000,
            "status": "unavailable" if name in self.offline else "available",
            "last_updated": _now(), "location": "here",
        }  # fmt: skip
        if native:
            found |= {
                "supported_gates": _GATES, "supported_native_gates": native,
                "supported_error_mitigations": ["debiasing"],
                "characterization_id": "617a1f8b-59d4-435d-aa33-695433d7155e",
            }  # fmt: skip
        return found

    async def _backends(self, request: Request) -> JSONResponse:
        return JSONResponse([self._device(name) for name in _DEVICES])

    async def _backend(self, request: Request) -> JSONResponse:
        name = request.path_params["name"]
        if name not in _DEVICES:
            return _error(404, "Not Found")
        return JSONResponse(self._device(name))

    async def _calibrations(self, request: Request) -> JSONResponse:
        name = request.path_params["name"]
        qubits, _ = _DEVICES.get(name, (1, None))
        return JSONResponse({"characterizations": [{
            "id": "617a1f8b-59d4-435d-aa33-695433d7155e", "backend": name, "qubits": qubits,
            "date": "2026-11-01T00:00:00Z", "connectivity": [[0, 1]],
            "fidelity": {"spam": {"median": 0.9962, "stderr": None}},
            "timing": {"readout": 1, "reset": 1},
        }], "pages": 1})  # fmt: skip

    async def _whoami(self, request: Request) -> JSONResponse:
        if not self._knows(request):
            return _unauthorized()
        return JSONResponse({"key_id": str(uuid.uuid5(uuid.NAMESPACE_URL, "key")),
                             "key_name": "test", "project_id": _PROJECT})  # fmt: skip

    # -- jobs --------------------------------------------------------------------------------

    def _knows(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"apiKey {self.key}"

    async def _create(self, request: Request) -> JSONResponse:
        if not self._knows(request):
            return _unauthorized()
        body = await request.body()
        if len(body) > _MAX_BODY:
            return _error(413, "Request Entity Too Large")
        try:
            asked = json.loads(body)
            source = json.dumps(asked["input"]).encode()
            program = parse_ionq(source)
            qubits, _ = _DEVICES[asked["backend"]]
            shots = int(asked.get("shots") or 100)
        except (ValueError, KeyError, TypeError, CircuitError) as error:
            return _error(400, f"Bad Request: {error}")
        if asked.get("type") != "ionq.circuit.v1" or "registers" in asked["input"]:
            return _error(400, "Bad Request: unknown member")
        if program.qubits > qubits:
            return _error(400, "NotEnoughQubits")
        session_id = asked.get("session_id")
        if session_id is not None and not self._admits(session_id):
            return _error(409, "the session takes no job")
        facts = program.facts
        job_id = str(uuid.uuid4())
        self.jobs[job_id] = {
            "id": job_id, "status": "submitted", "type": asked["type"],
            "backend": asked["backend"], "dry_run": bool(asked.get("dry_run")),
            "submitter_id": "64b03577072d45001c85e9c4", "project_id": _PROJECT,
            "parent_job_id": None, "child_job_ids": None, "session_id": session_id,
            "metadata": asked.get("metadata"), "name": asked.get("name"),
            "submitted_at": _now(), "started_at": None, "completed_at": None,
            "predicted_execution_duration_ms": 100, "predicted_wait_time_ms": 181_000,
            "execution_duration_ms": None, "shots": shots, "noise": {"model": "ideal"},
            "failure": None, "settings": asked.get("settings") or {}, "output": {},
            "stats": {
                "qubits": program.qubits, "circuits": 1,
                "gate_counts": {"1q": facts.one_qubit_gates, "2q": facts.two_qubit_gates},
            },
            "results": None, "_program": program, "_polls": 0,
        }  # fmt: skip
        answer = {"id": job_id, "status": "submitted", "session_id": None}
        return JSONResponse(answer, status_code=201)

    async def _list(self, request: Request) -> JSONResponse:
        if not self._knows(request):
            return _unauthorized()
        newest = list(reversed(self.jobs.values()))
        start, size = int(request.query_params.get("next") or 0), 25
        page = newest[start : start + size]
        more = str(start + size) if start + size < len(newest) else None
        return JSONResponse({"jobs": [_shown(job) for job in page], "next": more})

    async def _job(self, request: Request) -> JSONResponse:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] in ("submitted", "ready", "started"):
            job["_polls"] += 1
            if job["_polls"] > self.polls:
                self._finish(job)
            elif job["_polls"] > 1:
                job["status"] = "started"
        return JSONResponse(self._told(_shown(job)))

    # -- sessions ----------------------------------------------------------------------------

    async def _open_session(self, request: Request) -> JSONResponse:
        if not self._knows(request):
            return _unauthorized()
        asked = await request.json()
        session = {
            "id": str(uuid.uuid4()), "created_at": _now(), "organization_id": _PROJECT,
            "backend": asked["backend"], "project_id": _PROJECT, "creator_id": _PROJECT,
            "ended_at": None, "ender_id": None, "active": True, "status": "created",
            "started_at": None, "settings": asked.get("settings") or {},
        }  # fmt: skip
        self.sessions[session["id"]] = {**session, "_jobs": 0}
        return JSONResponse(session, 201)

    async def _end_session(self, request: Request) -> JSONResponse:
        session = self.sessions.get(request.path_params["id"])
        if not self._knows(request) or session is None:
            return _error(404, "Not Found")
        session |= {"active": False, "status": "ended", "ended_at": _now()}
        return JSONResponse(_shown(session))

    def _admits(self, session_id: str) -> bool:
        session = self.sessions.get(session_id)
        if session is None or not session["active"]:
            return False
        session["_jobs"] += 1
        most = session["settings"].get("job_count_limit")
        return most is None or session["_jobs"] <= most

    def _affords(self, job: dict[str, Any]) -> bool:
        """Whether session and project have enough; what the job costs is taken off."""
        cost = _dollars(job)
        session = self.sessions.get(job["session_id"] or "")
        limit = None if session is None else session["settings"].get("cost_limit")
        if limit is not None and cost > limit["value"]:
            return False
        if self.budget is not None:
            if cost > self.budget:
                return False
            self.budget -= cost
        return True

    def _finish(self, job: dict[str, Any]) -> None:
        if not job["dry_run"] and not self._affords(job):
            why = "the job costs more than is left"
            job |= {
                "status": "failed",
                "completed_at": _now(),
                "failure": {"code": "QuotaExhaustedError", "error": why, "message": why},
            }
            return
        job |= {"status": "completed", "started_at": _now(), "completed_at": _now(),
                "execution_duration_ms": 123}  # fmt: skip
        if not job["dry_run"]:
            job["results"] = {"probabilities": {
                "id": "probabilities", "format": "ionq.result.probabilities.json.v1",
                "media_type": "application/json",
                "url": f"/v0.4/jobs/{job['id']}/results/probabilities",
            }}  # fmt: skip

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        for lie in self._take("job", "circuit", "state", "shots", "device"):
            if lie == "job":
                job["id"] = str(uuid.uuid4())
            elif lie == "circuit":
                job["metadata"] = {**(job["metadata"] or {}), "cryogate_program": "0" * 64}
            elif lie == "device":
                job["backend"] = "qpu.forte-enterprise-1"
            elif lie == "state":
                job["status"] = "finished"
            else:
                job["shots"] = job["shots"] * 2
        return job

    def _take(self, *kinds: str) -> list[str]:
        found = next((lie for lie in self.lies if lie in kinds), None)
        if found is None:
            return []
        self.lies.remove(found)
        return [found]

    async def _cost(self, request: Request) -> JSONResponse:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        ran = not job["dry_run"] and job["status"] == "completed"
        dollars = _dollars(job) if ran else 0.0
        expected = {"value": _dollars(job), "unit": "usd"}
        answer: dict[str, Any] = {"dry_run": job["dry_run"], "estimated_cost": expected}
        lies = self._take("negative_cost", "no_cost")
        if "no_cost" not in lies:
            value = -5.0 if "negative_cost" in lies else dollars
            answer["cost"] = {"value": value, "unit": "usd"}
        return JSONResponse(answer)

    async def _estimate(self, request: Request) -> JSONResponse:
        if not self._knows(request):
            return _unauthorized()
        params = request.query_params
        backend, shots = params.get("backend"), int(params.get("shots") or 1000)
        gates = {kind: int(params.get(f"{kind}_gates") or 0) for kind in _CENTS}
        dollars = sum(_CENTS[kind] * gates[kind] for kind in _CENTS) * shots / 100
        return JSONResponse({
            "estimate_context": {
                "backend": backend, "type": "ionq.circuit.v1", "shots": shots,
                "organization": None, "project": None, "error_mitigation": False,
                "qubits": int(params.get("qubits") or 25),
                "1q_gates": gates["1q"], "2q_gates": gates["2q"],
            },
            "estimated_at": _now(), "estimated_unit": "usd",
            "rate_card": {"id": "test", "rates": [{"sku": "gates", "unit": "gates"}]},
            "estimated_total_cost": 0.0 if backend == "simulator" else dollars,
            "estimated_execution_time": 100, "current_predicted_queue_time": 181_000,
        })  # fmt: skip

    async def _cancel(self, request: Request) -> JSONResponse:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] not in ("completed", "failed"):
            job["status"] = "canceled"
        return JSONResponse({"id": job["id"], "status": "canceled"})

    async def _delete(self, request: Request) -> JSONResponse:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        del self.jobs[job["id"]]
        return JSONResponse({"id": job["id"], "status": "deleted"})

    async def _probabilities(self, request: Request) -> JSONResponse:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] != "completed" or job["dry_run"]:
            return _error(404, "Job not found or not yet completed")
        chances = {str(state): chance for state, chance in probabilities(job["_program"]).items()}
        if self._take("sum"):
            chances = {state: chance / 2 for state, chance in chances.items()}
        return JSONResponse(chances)

    def _known(self, request: Request) -> dict[str, Any] | JSONResponse:
        if not self._knows(request):
            return _unauthorized()
        return self.jobs.get(request.path_params["id"]) or _error(404, "Not Found")


def _dollars(job: dict[str, Any]) -> float:
    if job["backend"] == "simulator":
        return 0.0
    counts = job["stats"]["gate_counts"]
    found: float = sum(_CENTS[kind] * counts[kind] for kind in _CENTS) * job["shots"] / 100
    return found


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if not name.startswith("_")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(status: int, message: str) -> JSONResponse:
    body = {"statusCode": status, "error": message, "message": message}
    return JSONResponse(body, status_code=status)


def _unauthorized() -> JSONResponse:
    return _error(401, "Unauthorized")
