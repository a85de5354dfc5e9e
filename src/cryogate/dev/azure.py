"""Azure Quantum's data plane, its blob storage and Entra on one port.

`lies` are taken by the next answers: ``job``, ``circuit``, ``state``, ``storage``, ``sum``,
``cost``, ``row``, ``input``.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.circuits import CircuitError, Format, Program, load, parse_ionq
from cryogate.circuits.quil import parse_quil
from cryogate.dev.faults import Faults, FaultyApp
from cryogate.dev.simulate import probabilities, sampled

TENANT: Final = "11111111-2222-3333-4444-555555555555"
CLIENT: Final = "66666666-7777-8888-9999-000000000000"
PLACE: Final = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/test"
    "/providers/Microsoft.Quantum/workspaces/test"
)
_TARGETS: Final = {
    "ionq": ["ionq.simulator", "ionq.qpu.aria-1", "ionq.qpu.forte-1"],
    "quantinuum": ["quantinuum.sim.h2-1sc", "quantinuum.sim.h2-1e", "quantinuum.qpu.h2-1"],
    "rigetti": ["rigetti.sim.qvm", "rigetti.qpu.cepheus-1-108q"],
    "pasqal": ["pasqal.sim.emu-tn", "pasqal.qpu.fresnel"],
}


class AzureFake:
    """``secret`` is the application's. ``polls``: how often a job is seen unfinished."""

    def __init__(self, secret: str = "azure-test-secret", *, polls: int = 0) -> None:  # noqa: S107
        self.secret, self.polls = secret, polls
        self.faults = Faults()
        self.lies: list[str] = []
        self.tokens: set[str] = set()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, bytes] = {}
        self._sas: set[str] = set()
        routes = [
            Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST"]),
            Route("/metadata/identity/oauth2/token", self._managed),
            Route(PLACE + "/providerStatus", self._providers),
            Route(PLACE + "/storage/sasUri", self._uri, methods=["POST"]),
            Route(PLACE + "/jobs/{id}:cancel", self._cancel, methods=["POST"]),
            Route(PLACE + "/jobs/{id}", self._put, methods=["PUT"]),
            Route(PLACE + "/jobs/{id}", self._get),
            Route("/blob/{path:path}", self._write, methods=["PUT"]),
            Route("/blob/{path:path}", self._read),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def ran(self, tag: str) -> list[str]:
        """The jobs that carry our tag."""
        return [i for i, j in self.jobs.items() if j["metadata"].get("cryogate_job") == tag]

    def mint(self) -> str:
        """A token that is good here."""
        token = secrets.token_urlsafe(48)
        self.tokens.add(token)
        return token

    async def _token(self, request: Request) -> Response:
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        good = (
            request.path_params["tenant"] == TENANT
            and form.get("client_id") == CLIENT
            and form.get("client_secret") == self.secret
            and form.get("scope") == "https://quantum.microsoft.com/.default"
        )
        if not good:
            return JSONResponse({"error": "invalid_client"}, 401)
        answer = {"token_type": "Bearer", "expires_in": 3599, "access_token": self.mint()}
        return JSONResponse(answer)

    async def _managed(self, request: Request) -> Response:
        if request.headers.get("metadata") != "true":
            return JSONResponse({"error": "bad_request"}, 400)
        return JSONResponse({"access_token": self.mint(), "expires_in": "3599",
                             "token_type": "Bearer"})  # fmt: skip

    def _refused(self, request: Request) -> JSONResponse | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = token or request.headers.get("x-ms-quantum-api-key", "")
        if token in self.tokens and request.query_params.get("api-version"):
            return None
        return _error(401, "Unauthorized")

    def _take(self, *kinds: str) -> str:
        found = next((lie for lie in self.lies if lie in kinds), "")
        if found:
            self.lies.remove(found)
        return found

    async def _providers(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"value": [
            {"id": vendor, "currentAvailability": "Available", "targets": [
                {"id": t, "currentAvailability": "Available", "averageQueueTime": 60,
                 "statusPage": ""} for t in targets]}
            for vendor, targets in _TARGETS.items()
        ]})  # fmt: skip

    # -- storage -----------------------------------------------------------------------------

    async def _uri(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        asked = await request.json()
        path = "/".join([asked["containerName"], *filter(None, [asked.get("blobName")])])
        # asking for a URL makes the container
        self.blobs.setdefault(f"{asked['containerName']}/", b"")
        return JSONResponse({"sasUri": self._signed(request, path)})

    def _signed(self, request: Request, path: str) -> str:
        signature = secrets.token_urlsafe(16)
        self._sas.add(signature)
        base = "https://elsewhere.example" if self._take("storage") else str(request.base_url)
        return f"{base.rstrip('/')}/blob/{path}?sv=2024&sig={signature}"

    def _open(self, request: Request) -> Response | None:
        known = request.query_params.get("sig") in self._sas
        return None if known else Response(status_code=403)

    async def _write(self, request: Request) -> Response:
        refused = self._open(request)
        if refused is not None:
            return refused
        path = request.path_params["path"]
        if request.query_params.get("restype") == "container":
            known = f"{path}/" in self.blobs
            self.blobs[f"{path}/"] = b""
            return Response(status_code=409 if known else 201)
        if request.headers.get("x-ms-blob-type") != "BlockBlob":
            return Response(status_code=400)
        self.blobs[path] = await request.body()
        return Response(status_code=201)

    async def _read(self, request: Request) -> Response:
        found = self.blobs.get(request.path_params["path"])
        refused = self._open(request)
        if refused is not None:
            return refused
        if found is None:
            return Response(status_code=404)
        whole = {"etag": '"1"', "last-modified": "Sun, 01 Nov 2026 00:00:00 GMT",
                 "x-ms-blob-type": "BlockBlob"}  # fmt: skip
        if "x-ms-range" in request.headers or "range" in request.headers:
            whole["content-range"] = f"bytes 0-{len(found) - 1}/{len(found)}"
        return Response(found, 206 if "content-range" in whole else 200, whole)

    # -- jobs --------------------------------------------------------------------------------

    async def _put(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        job_id, asked = request.path_params["id"], await request.json()
        if job_id in self.jobs:
            return _error(409, "JobAlreadyExists")
        try:
            source = self.blobs[f"job-{job_id}/inputData"]
            program = await _read(source, asked["inputDataFormat"])
        except (KeyError, CircuitError) as error:
            return _error(400, f"InvalidInput: {error}")
        self.jobs[job_id] = {
            **asked, "id": job_id, "status": "Waiting",
            "outputDataUri": self._signed(request, f"job-{job_id}/outputData"),
            "creationTime": "2026-11-01T00:00:00Z",
            "metadata": asked.get("metadata") or {}, "errorData": None, "costEstimate": None,
            "_program": program, "_polls": 0,
        }  # fmt: skip
        return JSONResponse(_shown(self.jobs[job_id]), 201)

    async def _get(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            return _error(404, "NotFound")
        if job["status"] in ("Waiting", "Executing"):
            job["_polls"] += 1
            job["status"] = "Executing"
            if job["_polls"] > self.polls:
                self._finish(job)
        return JSONResponse(self._told(_shown(job)))

    def _finish(self, job: dict[str, Any]) -> None:
        program: Program = job["_program"]
        job["status"] = "Succeeded"
        total = -3.0 if self._take("cost") else 12.345
        job["costEstimate"] = {"currencyCode": "USD", "events": [], "estimatedTotal": total}
        shots = job["inputParams"]["shots"]
        if job["providerId"] == "ionq":
            share = 0.5 if self._take("sum") else 1.0
            chances = {str(s): c * share for s, c in probabilities(program).items()}
            output: Any = {"histogram": chances}
        elif job["providerId"] == "rigetti":
            rows = sampled(program, shots, 7).items()
            output = {
                "ro": [[int(bit) for bit in text[::-1]] for text, n in rows for _ in range(n)]
            }
            if self._take("row"):
                output["ro"][0] = output["ro"][0][1:]
        else:
            output = {f"c{n}": [] for n in range(len(program.registers))}
            for text, count in sampled(program, shots, 7).items():
                bits, start = text[::-1], 0
                for number, size in enumerate(program.registers):
                    output[f"c{number}"] += [bits[start : start + size][::-1]] * count
                    start += size
        self.blobs[f"job-{job['id']}/outputData"] = bytes(JSONResponse(output).body)
        if self._take("input"):
            self.blobs[f"job-{job['id']}/inputData"] += b" "

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        lie = self._take("job", "circuit", "state")
        if lie == "job":
            return {**job, "id": TENANT}
        if lie == "circuit":
            return {**job, "metadata": {**job["metadata"], "cryogate_program": "0" * 64}}
        return {**job, "status": "Astray"} if lie else job

    async def _cancel(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            return _error(404, "NotFound")
        if job["status"] in ("Succeeded", "Cancelled"):
            return _error(409, "JobIsFinal")
        job["status"] = "Cancelled"
        return Response(status_code=204)


async def _read(source: bytes, notation: str) -> Program:
    """The program of an input, in the notations of the vendors that are here."""
    if notation == "ionq.circuit.v1":
        return parse_ionq(source)
    if notation == "rigetti.quil.v1":
        return parse_quil(_headed(source))
    if notation != "honeywell.openqasm.v1":
        raise CircuitError("unsupported", "another input format")
    return await load(source, Format.OPENQASM2)


def _headed(source: bytes) -> bytes:
    """Quil of others, with the head that ours has."""
    lines = [line.strip() for line in source.decode("ascii").splitlines() if line.strip()]
    if lines and not lines[0].startswith("#"):
        used = [int(n) for line in lines for n in re.findall(r" (\d+)(?= |$)", line)]
        bits = re.search(r"DECLARE ro BIT\[(\d+)\]", lines[0])
        head = f"# registers {bits[1] if bits else 0}"
        lines = [f"# qubits {max(used, default=0) + 1}", head, *lines]
    return "\n".join([*lines, ""]).encode()


def _shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if not name.startswith("_")}


def _error(status: int, code: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": code}}, status)
