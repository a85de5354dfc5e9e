"""Google's Quantum Engine over REST, with the services that give access tokens, on one port.

Tokens are given for assertions that the service account's key has signed, for the token of a
workload, and by one account for another. `lies` are taken by the next answers: ``job``,
``circuit``, ``program``, ``device``, ``state``, ``key``, ``bits``, ``shots``, ``parent``.
"""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.circuits import CircuitError, Program, parse_cirq
from cryogate.dev.faults import Faults, FaultyApp
from cryogate.dev.simulate import sampled

PROJECT: Final = "agents-test"
ACCOUNT: Final = "cryogate@agents-test.iam.gserviceaccount.com"
RUNNER: Final = "runner@agents-test.iam.gserviceaccount.com"
_POOL: Final = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools"
AUDIENCE: Final = f"{_POOL}/p/providers/q"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TYPE: Final = "type.googleapis.com/cirq.google.api.v2."
_QUBITS: Final = [f"{row}_{column}" for row in range(4, 7) for column in range(2, 5)]
_OVER: Final = ("CANCELLED", "SUCCESS", "FAILURE")


class GoogleFake:
    """``polls``: how often a job is seen unfinished. ``workload`` is the token of a workload."""

    def __init__(self, *, polls: int = 0, workload: str = "workload-token-of-the-test") -> None:
        self.polls, self.workload = polls, workload
        self.faults = Faults()
        self.lies: list[str] = []
        self.tokens: dict[str, str] = {}
        self.lives: list[str] = []
        self.programs: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.down: set[str] = set()
        self._key = _key()
        api, job = "/v1alpha1/projects/{project}", "/programs/{program}/jobs/{job}"
        routes = [
            Route("/token", self._by_assertion, methods=["POST"]),
            Route("/v1/token", self._by_workload, methods=["POST"]),
            Route("/v1/projects/-/serviceAccounts/{who}:generateAccessToken", self._for_another,
                  methods=["POST"]),
            Route(api + "/processors", self._processors),
            Route(api + "/processors/{name}", self._processor),
            Route(api + "/reservationBudgets", self._budgets),
            Route(api + "/programs", self._create_program, methods=["POST"]),
            Route(api + "/programs/{program}", self._program),
            Route(api + "/programs/{program}/jobs", self._create_job, methods=["POST"]),
            Route(api + job + ":cancel", self._cancel, methods=["POST"]),
            Route(api + job + "/result", self._result),
            Route(api + job, self._job),
        ]  # fmt: skip
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def ran(self, tag: str) -> list[str]:
        """The jobs that carry our tag."""
        return [n for n, j in self.jobs.items() if j["labels"].get("cryogate_job") == tag]

    # -- who may ---------------------------------------------------------------------------

    def key_file(self) -> dict[str, str]:
        """The key of the account, as Google gives it for download."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "test-key",
            "private_key": pem.decode(), "client_email": ACCOUNT, "client_id": "1",
            "token_uri": "https://elsewhere.example/token", "universe_domain": "googleapis.com",
        }  # fmt: skip

    def mint(self, who: str = ACCOUNT) -> str:
        """A token of an account that is good here."""
        token = "ya29." + secrets.token_urlsafe(48)
        self.tokens[token] = who
        return token

    def _given(self, who: str) -> JSONResponse:
        return JSONResponse(
            {"access_token": self.mint(who), "expires_in": 3599, "token_type": "Bearer"}
        )

    async def _by_assertion(self, request: Request) -> Response:
        form = await _form(request)
        try:
            signed, _, signature = form["assertion"].rpartition(".")
            self._key.public_key().verify(_unb64(signature), signed.encode(), PKCS1v15(), SHA256())
            head, claims = (json.loads(_unb64(part)) for part in signed.split("."))
        except (KeyError, ValueError, InvalidSignature):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = datetime.now(UTC).timestamp()
        good = (
            form.get("grant_type") == _JWT_BEARER
            and (head["alg"], head["kid"]) == ("RS256", "test-key")
            and (claims["iss"], claims["scope"]) == (ACCOUNT, _SCOPE)
            and claims["aud"] == str(request.url)
            and claims["iat"] <= now + 5 < claims["exp"] <= claims["iat"] + 3600
        )
        return self._given(ACCOUNT) if good else JSONResponse({"error": "invalid_grant"}, 400)

    async def _by_workload(self, request: Request) -> Response:
        form = await _form(request)
        good = (
            form.get("subject_token") == self.workload
            and form.get("audience") == AUDIENCE
            and form.get("scope") == _SCOPE
            and form.get("subject_token_type", "").endswith(":jwt")
        )
        return self._given("workload") if good else JSONResponse({"error": "invalid_grant"}, 400)

    async def _for_another(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or request.path_params["who"] != RUNNER:
            return _error(403, "PERMISSION_DENIED")
        asked = await request.json()
        self.lives.append(asked["lifetime"])
        ends = datetime.now(UTC) + timedelta(seconds=int(asked["lifetime"].rstrip("s")))
        return JSONResponse({"accessToken": self.mint(RUNNER), "expireTime": _time(ends)})

    def _refused(self, request: Request) -> JSONResponse | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return _error(401, "UNAUTHENTICATED")
        if request.path_params["project"] != PROJECT:
            return _error(403, "PERMISSION_DENIED")
        return None

    # -- processors --------------------------------------------------------------------------

    def _shown(self, name: str, *, whole: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": f"projects/{PROJECT}/processors/{name}",
            "health": "DOWN" if name in self.down else "OK",
            "activityStats": {"activeUsersCount": "1", "activeJobsCount": "3"},
            "currentCalibration": f"projects/{PROJECT}/processors/{name}/calibrations/1793491200",
        }
        if whole:
            pairs = [[a, b] for a in _QUBITS for b in _QUBITS if a < b and _near(a, b)]
            kinds = ("phasedXz", "virtualZpow", "cz", "meas")
            found["deviceSpec"] = {
                "@type": _TYPE + "DeviceSpecification",
                "validGates": [{"gateDurationPicos": "25000", kind: {}} for kind in kinds],
                "validQubits": _QUBITS,
                "validTargets": [{
                    "name": "2_qubit_targets", "targetOrdering": "SYMMETRIC",
                    "targets": [{"ids": pair} for pair in pairs]}],
            }  # fmt: skip
        return found

    async def _processors(self, request: Request) -> Response:
        names = [self._shown(name, whole=False) for name in ("willow_pink", "rainbow")]
        return self._refused(request) or JSONResponse({"processors": names})

    async def _processor(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ("willow_pink", "rainbow"):
            return self._refused(request) or _error(404, "NOT_FOUND")
        return self._refused(request) or JSONResponse(self._shown(name, whole=True))

    async def _budgets(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"reservationBudgets": [{
            "name": f"projects/{PROJECT}/reservationBudgets/b",
            "processorNames": [f"projects/{PROJECT}/processors/willow_pink"],
            "effectiveTime": "2026-11-01T00:00:00Z", "expireTime": "2099-01-01T00:00:00Z",
            "grantedDuration": "36000s", "availableDuration": "30000s",
        }]})  # fmt: skip

    # -- programs and jobs -------------------------------------------------------------------

    async def _create_program(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        asked = await request.json()
        name = asked.get("name", "")
        if not name.startswith(f"projects/{PROJECT}/programs/"):
            return _error(400, "INVALID_ARGUMENT")
        if name in self.programs:
            return _error(409, "ALREADY_EXISTS")
        try:
            program, where = _read(asked["code"])
        except (CircuitError, KeyError, TypeError, ValueError) as error:
            return _error(400, "INVALID_ARGUMENT", str(error))
        self.programs[name] = {
            "name": name, "createTime": _time(), "updateTime": _time(),
            "labels": asked.get("labels") or {}, "description": asked.get("description", ""),
            "code": asked["code"], "_program": program, "_where": where,
        }  # fmt: skip
        return JSONResponse(_public(self.programs[name], "code"))

    async def _program(self, request: Request) -> Response:
        name = "projects/{project}/programs/{program}".format(**request.path_params)
        if name not in self.programs:
            return self._refused(request) or _error(404, "NOT_FOUND")
        hidden = () if request.query_params.get("returnCode") == "true" else ("code",)
        found = _public(self.programs[name], *hidden)
        if not hidden and self._take("program"):
            text = json.dumps(found["code"]).replace('"floatValue": 1.0', '"floatValue": 0.5', 1)
            found["code"] = json.loads(text)
        return self._refused(request) or JSONResponse(found)

    async def _create_job(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        asked = await request.json()
        parent = "projects/{project}/programs/{program}".format(**request.path_params)
        name = asked.get("name", "")
        if parent not in self.programs:
            return _error(404, "NOT_FOUND")
        if not name.startswith(parent + "/jobs/"):
            return _error(400, "INVALID_ARGUMENT")
        if name in self.jobs:
            return _error(409, "ALREADY_EXISTS")
        [sweep] = asked["runContext"]["parameterSweeps"]
        selector = asked["schedulingConfig"]["processorSelector"]
        processor = selector.get("processor") or selector["processorNames"][0]
        where = self.programs[parent]["_where"]
        if set(where) - set(_QUBITS) or processor.rpartition("/")[2] in self.down:
            return _error(400, "FAILED_PRECONDITION")
        self.jobs[name] = {
            "name": name, "createTime": _time(), "updateTime": _time(),
            "labels": asked.get("labels") or {}, "description": asked.get("description", ""),
            "schedulingConfig": asked["schedulingConfig"],
            "executionStatus": {"state": "READY", "processorName": processor},
            "_shots": int(sweep["repetitions"]), "_polls": 0, "_parent": parent,
        }  # fmt: skip
        return JSONResponse(_public(self.jobs[name]))

    def _known(self, request: Request) -> dict[str, Any] | JSONResponse:
        name = "projects/{project}/programs/{program}/jobs/{job}".format(**request.path_params)
        return self._refused(request) or self.jobs.get(name) or _error(404, "NOT_FOUND")

    async def _job(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        status = job["executionStatus"]
        if status["state"] not in _OVER:
            job["_polls"] += 1
            status["state"] = "SUCCESS" if job["_polls"] > self.polls else "RUNNING"
            began = datetime.now(UTC)
            status["timing"] = {"startedTime": _time(began)}
            if status["state"] == "SUCCESS":
                status["timing"]["completedTime"] = _time(began + timedelta(milliseconds=250))
        return JSONResponse(self._told(json.loads(json.dumps(_public(job)))))

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        lie = self._take("job", "circuit", "device", "state")
        if lie == "job":
            job["name"] += "x"
        elif lie == "circuit":
            job["description"] = "cryogate " + "0" * 64
        elif lie == "device":
            job["executionStatus"]["processorName"] = f"projects/{PROJECT}/processors/rainbow"
        elif lie == "state":
            job["executionStatus"]["state"] = "ASTRAY"
        return job

    def _take(self, *kinds: str) -> str:
        found = next((lie for lie in self.lies if lie in kinds), "")
        if found:
            self.lies.remove(found)
        return found

    async def _cancel(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["executionStatus"]["state"] in _OVER:
            return _error(409, "ABORTED")
        job["executionStatus"]["state"] = "CANCELLED"
        return JSONResponse({})

    async def _result(self, request: Request) -> Response:
        job = self._known(request)
        if isinstance(job, JSONResponse):
            return job
        if job["executionStatus"]["state"] != "SUCCESS":
            return _error(404, "NOT_FOUND")
        kept, shots = self.programs[job["_parent"]], job["_shots"]
        measured = _measurements(kept["_program"], kept["_where"], shots)
        if self._take("key"):
            measured[0]["key"] = "m"
        if self._take("bits"):
            measured[0]["qubitMeasurementResults"][0]["results"] = "AA=="
        result = {
            "@type": _TYPE + "Result",
            "sweepResults": [{
                "repetitions": shots * (2 if self._take("shots") else 1),
                "parameterizedResults": [{"params": {}, "measurementResults": measured}]}],
        }  # fmt: skip
        parent = job["name"] + ("x" if self._take("parent") else "")
        return JSONResponse({"parent": parent, "result": result})


@cache
def _key() -> RSAPrivateKey:
    """One for every fake of a process: making it takes longer than everything else here."""
    return generate_private_key(65537, 2048)


def _read(code: dict[str, Any]) -> tuple[Program, list[str]]:
    """The program of a request, and the qubits that it is on."""
    if code["@type"] != _TYPE + "Program":
        raise ValueError("another type")
    kept = {key: value for key, value in code.items() if key != "@type"}
    where = [constant["qubit"]["id"] for constant in kept["constants"]]
    kept["constants"] = [{"qubit": {"id": str(number)}} for number in range(len(where))]
    keys = json.dumps(kept).count('"measurementgate"')
    document = json.dumps({"registers": [max(keys, 64)], "program": kept})
    return parse_cirq(document.encode()), where


def _measurements(program: Program, where: list[str], shots: int) -> list[dict[str, Any]]:
    rows: list[str] = []
    for text, count in sampled(program, shots, 7).items():
        rows += [text[::-1]] * count  # bit 0 first
    found = []
    for op in program.operations():
        if op.name == "measure":
            bits = "".join(row[op.clbits[0]] for row in rows)
            data = int(bits[::-1], 2).to_bytes(-(-shots // 8), "little")
            found.append({
                "key": f"c{op.clbits[0]}", "instances": 1,
                "qubitMeasurementResults": [{
                    "qubit": {"id": where[op.qubits[0]]},
                    "results": base64.b64encode(data).decode()}],
            })  # fmt: skip
    return found


def _near(one: str, other: str) -> bool:
    a, b = (tuple(map(int, name.split("_"))) for name in (one, other))
    return abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1


def _public(found: dict[str, Any], *hidden: str) -> dict[str, Any]:
    return {k: v for k, v in found.items() if not k.startswith("_") and k not in hidden}


async def _form(request: Request) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _time(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(status: int, name: str, message: str = "") -> JSONResponse:
    body = {"error": {"code": status, "message": message or name, "status": name}}
    return JSONResponse(body, status)
