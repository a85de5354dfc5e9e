"""IBM Quantum's REST API and IBM Cloud's IAM on one port, as far as the sampler needs them.

A job runs for `seconds`; one that was given less time is stopped, and an instance whose time is
used up takes none. `lies` are taken by the next answers: ``job``, ``circuit``, ``program``,
``device``, ``register``, ``state``, ``time``.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import uuid
import zlib
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.circuits import QPY_ENTRYPOINT, CircuitError, Format, GuardedPool, Program, load
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
        self.names = ["c"]
        self.seconds, self.consumed, self.limit = 1.5, 0.0, 600
        routes = [
            Route("/identity/token", self._token, methods=["POST"]),
            Route("/v3/resources/search", self._search, methods=["POST"]),
            Route("/plan-of-the-test", self._plan),
            *self._routes("/api/v1"),
            *self._routes("/experimental/ibm/api/v1"),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def _routes(self, api: str) -> list[Route]:
        return [
            Route(api + "/instances/usage", self._instance),
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

    def ran(self, tag: str) -> list[str]:
        """The jobs that carry our tag."""
        return [j["id"] for j in self.jobs.values() if f"cryogate-job:{tag}" in j["tags"]]

    def mint(self) -> str:
        """A token that is good here."""
        now = int(datetime.now(UTC).timestamp())
        parts = ({"alg": "RS256"}, {"iat": now, "exp": now + 3600, "jti": secrets.token_hex(16)})
        token = ".".join([_b64(json.dumps(part).encode()) for part in parts] + [_b64(b"unsigned")])
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

    async def _search(self, request: Request) -> Response:
        return JSONResponse({"items": [{
            "crn": CRN, "name": "test", "service_name": "quantum-computing",
            "doc": {"extensions": {"backends": []}}, "tags": [],
            "service_plan_unique_id": "plan-of-the-test",
        }], "limit": 10})  # fmt: skip

    async def _plan(self, request: Request) -> Response:
        named = {"en": {"display_name": "Open"}}
        return JSONResponse({"overview_ui": named, "metadata": {"pricing": {"type": "free"}}})

    async def _instance(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({
            "instance_id": CRN, "plan_id": "p", "usage_consumed_seconds": self.consumed,
            "usage_limit_reached": self.consumed >= self.limit,
            "usage_limit_seconds": self.limit,
            "usage_remaining_seconds": max(0, self.limit - self.consumed),
        })  # fmt: skip

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
            "coupling_map": _pairs(qubits), "local": False,
            "online_date": "2023-12-04T05:00:00+00:00", "conditional": False,
            "open_pulse": False, "memory": True, "max_experiments": 300,
            "gates": [_gate(name, qubits) for name in _BASIS],
            "supported_instructions": [*_BASIS, "measure", "delay"], "dt": 1e-9,
            "processor_type": {"family": "Heron", "revision": 2},
        })  # fmt: skip

    async def _properties(self, request: Request) -> Response:
        name = request.path_params["name"]
        return self._refused(request) or JSONResponse(_properties(name, _DEVICES.get(name, 0)))

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
            [[source, _, *more]] = asked["params"]["pubs"]
            shots = more[0] if more and more[0] else 4096
            program = await self._read(source)
            qubits = _DEVICES[asked["backend"]]
        except (CircuitError, ValueError, KeyError, TypeError) as error:
            return _error(400, f"invalid: {error}")
        if self.consumed >= self.limit:
            return _error(403, "the instance has reached its usage limit")
        if program.qubits > qubits or set(program.facts.gate_set) - set(_BASIS):
            return _error(400, "the circuit is not in the gates of the backend")
        job_id = uuid.uuid4().hex[:20]
        self.jobs[job_id] = {
            "id": job_id, "backend": asked["backend"], "state": {"status": "Queued"},
            "status": "Queued", "tags": list(asked.get("tags") or []), "cost": asked.get("cost"),
            "program": {"id": "sampler"}, "created": datetime.now(UTC).isoformat(),
            "params": asked["params"], "_program": program, "_shots": shots, "_polls": 0,
            "_typed": bool(asked["params"].get("support_qiskit")),
        }  # fmt: skip
        return JSONResponse({"id": job_id, "backend": asked["backend"]})

    async def _read(self, source: Any) -> Program:
        """The circuit of a PUB: OpenQASM 3, or QPY as IBM's own client packs it."""
        if isinstance(source, str):
            return await load(source.encode(), Format.OPENQASM3)
        packed = zlib.decompress(base64.b64decode(source["__value__"]))
        pool = GuardedPool(QPY_ENTRYPOINT)
        try:
            return await load(packed, Format.QPY, None, pool)
        finally:
            await pool.close()

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
            job["status"] = "Running"
            if job["_polls"] > self.polls:
                fits = self.seconds <= (job["cost"] or 10_800)
                job["status"] = "Completed" if fits else "Cancelled - Ran too long"
                job["_used"] = min(self.seconds, job["cost"] or 10_800)
                self.consumed += job["_used"]
            job["state"] = {"status": job["status"]}
        whole = request.query_params.get("exclude_params") != "true"
        return JSONResponse(self._told(_shown(job), whole))

    def _told(self, job: dict[str, Any], whole: bool) -> dict[str, Any]:
        if not whole:
            del job["params"]
        elif self._take("program"):
            said = json.dumps(job["params"]).replace("x q[1];", "x q[0];")
            job["params"] = json.loads(said)
        lie = self._take("job", "circuit", "state", "device")
        if lie == "job":
            job["id"] = uuid.uuid4().hex[:20]
        elif lie == "circuit":
            kept = [tag for tag in job["tags"] if not tag.startswith("cryogate-program:")]
            job["tags"] = [*kept, "cryogate-program:" + "0" * 64]
        elif lie == "device":
            job["backend"] = "ibm_fez"
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
        if "_used" in job:
            seconds = 1_000_000.0 if self._take("time") else job["_used"]
            usage = {"status": "completed", "qpu_charge_time_seconds": seconds}
        return JSONResponse({"usage": usage, "position_in_queue": 3, "timestamps": {}})

    async def _results(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["status"] != "Completed":
            return _error(404, "no results yet")
        if job["_typed"]:
            return JSONResponse(_typed(self._data(job), self.names))
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
        if job["status"] not in ("Queued", "Running"):
            return _error(409, "the job is in a final state")
        job["status"] = "Cancelled"
        job["state"] = {"status": "Cancelled"}
        return Response(status_code=204)


def _typed(data: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The result as IBM's own client unpacks it; its registers have the names that are given."""
    fields = {}
    for name, bits in zip(names, data.values(), strict=True):
        width = -(-bits["num_bits"] // 8)
        rows = [list(int(sample, 16).to_bytes(width, "big")) for sample in bits["samples"]]
        buffer = io.BytesIO()
        np.save(buffer, np.array(rows, dtype=np.uint8), allow_pickle=False)
        packed = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
        array = {"__type__": "ndarray", "__value__": packed}
        fields[name] = _of("BitArray", {"array": array, "num_bits": bits["num_bits"]})
    bin_ = _of("DataBin", {"field_names": names, "shape": [], "fields": fields})
    pub = _of("SamplerPubResult", {"data": bin_, "metadata": {}})
    return _of("PrimitiveResult", {"pub_results": [pub], "metadata": {"version": 2}})


def _of(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"__type__": kind, "__value__": value}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _properties(name: str, qubits: int) -> dict[str, Any]:
    date = "2026-11-01T00:00:00+00:00"

    def said(value: str, unit: str, number: float) -> dict[str, Any]:
        return {"name": value, "unit": unit, "value": number, "date": date}

    gates = []
    for gate in _BASIS:
        wires = _pairs(qubits) if gate in ("cz", "rzz") else [[q] for q in range(qubits)]
        gates += [
            {"gate": gate, "name": f"{gate}{wire}", "qubits": wire,
             "parameters": [said("gate_error", "", 0.001), said("gate_length", "ns", 32.0)]}
            for wire in wires
        ]  # fmt: skip
    one = [said("T1", "us", 150.0), said("T2", "us", 120.0), said("readout_error", "", 0.01),
           said("readout_length", "ns", 1000.0)]  # fmt: skip
    return {
        "backend_name": name, "backend_version": "1.0", "last_update_date": date,
        "qubits": [one] * qubits, "gates": gates, "general": [],
    }  # fmt: skip


def _gate(name: str, qubits: int) -> dict[str, Any]:
    two = name in ("cz", "rzz")
    return {
        "name": name, "parameters": ["theta"] if name.startswith("r") else [], "qasm_def": "",
        "coupling_map": _pairs(qubits) if two else [[q] for q in range(qubits)],
    }  # fmt: skip


def _pairs(qubits: int) -> list[list[int]]:
    return [[q, q + 1] for q in range(qubits - 1)]


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if not name.startswith("_")}


def _error(status: int, message: str) -> JSONResponse:
    body = {"errors": [{"code": status, "message": message, "solution": "", "more_info": ""}],
            "trace": "t"}  # fmt: skip
    return JSONResponse(body, status)
