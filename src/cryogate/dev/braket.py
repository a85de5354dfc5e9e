"""Amazon Braket's API with S3 and STS on one port, as AWS's own clients know them.

Requests must be signed by a known key, and are held against the session policy of that key. A task
must fit into what is left of its device's spending limit (`limits`). `lies` are taken by the next
answers: ``task``, ``circuit``, ``rows``, ``state``, ``elsewhere``, ``device``.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.circuits import CircuitError, Format, Program, load
from cryogate.dev.aws import ACCOUNT, Accounts, Denied, refused
from cryogate.dev.faults import Faults, FaultyApp
from cryogate.dev.simulate import sampled

_OPENQASM: Final = "braket.ir.openqasm.program"
_GATES: Final = [
    "x", "y", "z", "h", "s", "si", "t", "ti", "v", "vi", "rx", "ry", "rz", "cnot", "cz", "swap",
    "xx", "yy", "zz",
]  # fmt: skip
_DEVICES: Final = {
    "arn:aws:braket:::device/quantum-simulator/amazon/sv1": ("SV1", "SIMULATOR", 34, []),
    "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1": ("Forte 1", "QPU", 36, ["GPI", "GPI2"]),
    "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet": ("Garnet", "QPU", 20, ["prx", "cz"]),
}
BUCKET: Final = "amazon-braket-test"
FORTE: Final = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"
#: Dollars for a task and for a shot; simulators are not limited.
_PRICES: Final = {"SIMULATOR": (0.0, 0.0), "QPU": (0.30, 0.08)}


class BraketFake:
    """``polls`` is how often a task is seen unfinished."""

    def __init__(self, *, polls: int = 0) -> None:
        self.polls = polls
        self.faults = Faults()
        self.accounts = Accounts()
        self.lies: list[str] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self._tokens: dict[str, str] = {}
        self.seen_bodies: list[dict[str, Any]] = []
        self.limits = {
            arn: limit_of(arn, "10000.00")
            for arn, (_, kind, _, _) in _DEVICES.items()
            if kind == "QPU"
        }
        routes = [
            Route("/devices", self._devices, methods=["POST"]),
            Route("/device/{arn:path}", self._device),
            Route("/spending-limits", self._spending_limits, methods=["POST"]),
            Route("/quantum-task", self._create, methods=["POST"]),
            Route("/quantum-tasks", self._search, methods=["POST"]),
            Route("/quantum-task/{arn:path}/cancel", self._cancel, methods=["PUT"]),
            Route("/quantum-task/{arn:path}", self._get),
            Route("/", self.accounts.sts, methods=["POST"]),
            Route("/{bucket}/{key:path}", self._object),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def ran(self, tag: str) -> list[str]:
        """The tasks that carry our tag."""
        return [a for a, t in self.tasks.items() if t["tags"].get("cryogate:job") == tag]

    async def _may(self, request: Request, action: str, resource: str) -> None:
        await self.accounts.check(request, "braket", f"braket:{action}", resource)

    # -- devices -----------------------------------------------------------------------------

    async def _devices(self, request: Request) -> Response:
        try:
            await self._may(request, "SearchDevices", "*")
        except Denied as error:
            return refused(error)
        return JSONResponse({"devices": [
            {"deviceArn": arn, "deviceName": name, "deviceStatus": "ONLINE", "deviceType": kind,
             "providerName": "test"}
            for arn, (name, kind, _, _) in _DEVICES.items()
        ]})  # fmt: skip

    async def _device(self, request: Request) -> Response:
        arn = request.path_params["arn"]
        try:
            await self._may(request, "GetDevice", arn)
        except Denied as error:
            return refused(error)
        if arn not in _DEVICES:
            return _error(404, "ResourceNotFoundException")
        name, kind, qubits, native = _DEVICES[arn]
        capabilities = {
            "service": {"shotsRange": [1, 10_000], "updatedAt": "2026-11-01T00:00:00+00:00",
                        "executionWindows": []},
            "action": {_OPENQASM: {
                "version": ["1"], "actionType": _OPENQASM, "supportedOperations": _GATES}},
            "paradigm": {"qubitCount": qubits, "nativeGateSet": native},
            "deviceParameters": {},
        }  # fmt: skip
        return JSONResponse({
            "deviceArn": arn, "deviceName": name, "deviceType": kind, "deviceStatus": "ONLINE",
            "providerName": "test", "deviceCapabilities": json.dumps(capabilities),
            "deviceQueueInfo": [
                {"queue": "QUANTUM_TASKS_QUEUE", "queueSize": "3", "queuePriority": "Normal"}],
        })  # fmt: skip

    async def _spending_limits(self, request: Request) -> Response:
        try:
            await self._may(request, "SearchSpendingLimits", "*")
        except Denied as error:
            return refused(error)
        return JSONResponse({"spendingLimits": list(self.limits.values())})

    def _fits(self, arn: str, shots: int) -> bool:
        """Whether the device's limit has room for the task; what it may cost is set aside."""
        limit = self.limits.get(arn)
        if limit is None:
            return True
        task, shot = _PRICES[_DEVICES[arn][1]]
        cost, queued = task + shot * shots, float(limit["queuedSpend"])
        if cost > float(limit["spendingLimit"]) - float(limit["totalSpend"]) - queued:
            return False
        limit["queuedSpend"] = f"{queued + cost:.2f}"
        return True

    # -- tasks -------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        asked = await request.json()
        arn = asked["deviceArn"]
        try:
            await self._may(request, "CreateQuantumTask", arn)
            await self._may(request, "TagResource", _task_arn(uuid.UUID(int=0)))
        except Denied as error:
            return refused(error)
        known = self._tokens.get(asked["clientToken"])
        if known is not None:
            return JSONResponse({"quantumTaskArn": known}, 201)
        try:
            source = json.loads(asked["action"])["source"]
            program = await load(source.encode(), Format.OPENQASM3)
        except (CircuitError, ValueError, KeyError) as error:
            return _error(400, "ValidationException", str(error))
        if arn not in _DEVICES or program.qubits > _DEVICES[arn][2]:
            return _error(400, "ValidationException")
        if not self._fits(arn, asked["shots"]):
            return _error(400, "ValidationException", "the spending limit does not allow it")
        made = uuid.uuid4()
        task = _task_arn(made)
        self._tokens[asked["clientToken"]] = task
        self.tasks[task] = {
            "quantumTaskArn": task, "status": "CREATED", "deviceArn": arn,
            "deviceParameters": "{}", "shots": asked["shots"],
            "outputS3Bucket": asked["outputS3Bucket"],
            "outputS3Directory": f"{asked['outputS3KeyPrefix']}/{made}",
            "createdAt": _now(), "tags": asked.get("tags") or {},
            "queueInfo": {"queue": "QUANTUM_TASKS_QUEUE", "position": "2"},
            "_program": program, "_source": source, "_polls": 0,
        }  # fmt: skip
        return JSONResponse({"quantumTaskArn": task}, 201)

    async def _search(self, request: Request) -> Response:
        try:
            await self._may(request, "SearchQuantumTasks", "*")
        except Denied as error:
            return refused(error)
        asked = await request.json()
        start = int(asked.get("nextToken") or 0)
        size = min(int(asked.get("maxResults") or 10), 100)
        newest = [_shown(t) for t in reversed(self.tasks.values())]
        answer: dict[str, Any] = {"quantumTasks": newest[start : start + size]}
        if start + size < len(newest):
            answer["nextToken"] = str(start + size)
        return JSONResponse(answer)

    async def _get(self, request: Request) -> Response:
        arn = request.path_params["arn"]
        try:
            await self._may(request, "GetQuantumTask", arn)
        except Denied as error:
            return refused(error)
        task = self.tasks.get(arn)
        if task is None:
            return _error(404, "ResourceNotFoundException")
        if task["status"] in ("CREATED", "QUEUED", "RUNNING"):
            task["_polls"] += 1
            task["status"] = "QUEUED" if task["_polls"] <= self.polls else "COMPLETED"
            if task["status"] == "COMPLETED":
                task["endedAt"] = _now()
                self._write(task)
        return JSONResponse(self._told(_shown(task)))

    def _told(self, task: dict[str, Any]) -> dict[str, Any]:
        lie = next(
            (lie for lie in self.lies if lie in ("task", "state", "elsewhere", "device")), None
        )
        if lie is None:
            return task
        self.lies.remove(lie)
        if lie == "task":
            return {**task, "quantumTaskArn": _task_arn(uuid.uuid4())}
        if lie == "state":
            return {**task, "status": "ASTRAY"}
        if lie == "device":
            return {**task, "deviceArn": "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"}
        return {**task, "outputS3Directory": "../other"}

    def _write(self, task: dict[str, Any]) -> None:
        program: Program = task["_program"]
        measured = sorted({op.qubits[0] for op in program.operations() if op.name == "measure"})
        bit_of = {op.qubits[0]: op.clbits[0] for op in program.operations() if op.name == "measure"}
        rows = []
        for text, count in sampled(program, task["shots"], 7).items():
            rows += [[int(text[-1 - bit_of[q]]) for q in measured]] * count
        source, arn = task["_source"], task["quantumTaskArn"]
        for lie in [lie for lie in self.lies if lie in ("circuit", "rows")][:1]:
            self.lies.remove(lie)
            if lie == "circuit":
                source = source.replace("h q[0];", "x q[0];")
            else:
                rows[0] = rows[0][1:]
        result = {
            "braketSchemaHeader": {
                "name": "braket.task_result.gate_model_task_result", "version": "1"},
            "measurements": rows, "measurementProbabilities": None, "resultTypes": [],
            "measuredQubits": measured,
            "taskMetadata": {
                "braketSchemaHeader": {"name": "braket.task_result.task_metadata", "version": "1"},
                "id": arn, "shots": task["shots"], "deviceId": task["deviceArn"]},
            "additionalMetadata": {"action": {
                "braketSchemaHeader": {"name": _OPENQASM, "version": "1"}, "source": source}},
        }  # fmt: skip
        key = f"{task['outputS3Bucket']}/{task['outputS3Directory']}/results.json"
        self.objects[key] = json.dumps(result).encode()

    async def _cancel(self, request: Request) -> Response:
        arn = request.path_params["arn"]
        try:
            await self._may(request, "CancelQuantumTask", arn)
        except Denied as error:
            return refused(error)
        task = self.tasks.get(arn)
        if task is None:
            return _error(404, "ResourceNotFoundException")
        if task["status"] in ("COMPLETED", "FAILED", "CANCELLED"):
            return _error(409, "ConflictException")
        task["status"] = "CANCELLED"
        return JSONResponse({"quantumTaskArn": arn, "cancellationStatus": "CANCELLED"})

    async def _object(self, request: Request) -> Response:
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        try:
            await self.accounts.check(request, "s3", "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")
        except Denied as error:
            return refused(error)
        found = self.objects.get(f"{bucket}/{key}")
        return _error(404, "NoSuchKey") if found is None else Response(found)


def limit_of(arn: str, dollars: str, *, start: float = 0, end: float = 4e9) -> dict[str, Any]:
    """A spending limit as AWS tells it."""
    return {
        "spendingLimitArn": f"arn:aws:braket:us-east-1:{ACCOUNT}:spending-limit/{uuid.uuid4()}",
        "deviceArn": arn, "timePeriod": {"startAt": start, "endAt": end},
        "spendingLimit": dollars, "queuedSpend": "0.00", "totalSpend": "0.00",
        "createdAt": _now(), "updatedAt": _now(), "tags": {},
    }  # fmt: skip


def _task_arn(made: uuid.UUID) -> str:
    return f"arn:aws:braket:us-east-1:{ACCOUNT}:quantum-task/{made}"


def _shown(task: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if not name.startswith("_")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(status: int, code: str, message: str = "") -> JSONResponse:
    body = {"message": message or code}
    return JSONResponse(body, status, {"x-amzn-errortype": code})
