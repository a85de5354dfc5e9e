"""Quantinuum Nexus: circuits, jobs and results in JSON:API, behind `NexusDoor`.

`lies` are taken by the next answers: ``job``, ``circuit``, ``state``, ``cost``, ``ran``,
``swapped``, ``bit``, ``row``, ``short``.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.circuits import CircuitError, Program, parse_pytket
from cryogate.circuits.pytket import CIRCUIT_MEMBERS
from cryogate.dev.faults import Faults, FaultyApp
from cryogate.dev.nexus_devices import LISTED, gates, info
from cryogate.dev.nexus_door import PROJECT, NexusDoor, error, noted, page
from cryogate.dev.simulate import sampled

_WAITING: Final = ("SUBMITTED", "QUEUED", "RUNNING")


class QuantinuumFake:
    """``polls``: how often a job is seen unfinished."""

    def __init__(self, *, polls: int = 0) -> None:
        self.polls = polls
        self.faults = Faults()
        self.lies: list[str] = []
        self.door = NexusDoor()
        self.circuits: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.offline: set[str] = set()
        self.tells_kind = True
        jobs = "/api/jobs/v1beta3"
        routes = [
            *self.door.routes(),
            Route("/api/circuits/v1beta2", self._new_circuit, methods=["POST"]),
            Route("/api/circuits/v1beta2/{id}", self._circuit),
            Route(jobs, self._new_job, methods=["POST"]),
            Route(jobs, self._listed_jobs),
            Route(jobs + "/meta/count", self._counted_jobs),
            Route(jobs + "/{id}", self._job),
            Route(jobs + "/{id}/attributes/status", self._status),
            Route(jobs + "/{id}/rpc/cancel", self._cancel, methods=["POST"]),
            Route("/api/results/v1beta3/{id}", self._result),
            Route("/api/v5/available_devices", self._devices),
            Route("/api/machines/v1beta/{name}/status", self._machine),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    def ran(self, name: str) -> list[str]:
        """The jobs of this name."""
        return [i for i, job in self.jobs.items() if job["name"] == name]

    def end(self, job_id: str, status: str) -> None:
        """The job comes to an end by itself: given up in the queue, out of credits, …"""
        _set(self.jobs[job_id], status)

    def _take(self, *kinds: str) -> str:
        found = next((lie for lie in self.lies if lie in kinds), "")
        if found:
            self.lies.remove(found)
        return found

    # -- circuits ----------------------------------------------------------------------------

    async def _new_circuit(self, request: Request) -> Response:
        refused = self.door.refused(request)
        if refused is not None:
            return refused
        data = (await request.json())["data"]
        project = data["relationships"]["project"]["data"]["id"]
        if project not in self.door.projects:
            return error(404, "no such project")
        circuit = {k: v for k, v in data["attributes"].items() if k in CIRCUIT_MEMBERS}
        try:
            program = _read(circuit)
        except CircuitError as found:
            return error(422, found.detail)
        made = str(uuid.uuid4())
        self.circuits[made] = {
            **noted(data["attributes"]), "_program": program, "_project": project,
        }  # fmt: skip
        return JSONResponse(self._shown_circuit(made), 201)

    def _shown_circuit(self, circuit: str) -> dict[str, Any]:
        found = self.circuits[circuit]
        project = found["_project"]
        return {
            "data": {"id": circuit, "type": "circuit", "attributes": _public(found),
                     "relationships": self.door.inside(project)},
            "included": [self.door.shown(project)],
        }  # fmt: skip

    async def _circuit(self, request: Request) -> Response:
        circuit = request.path_params["id"]
        refused = self.door.refused(request)
        if refused is not None:
            return refused
        if circuit not in self.circuits:
            return error(404, "no such circuit")
        shown = self._shown_circuit(circuit)
        if self._take("swapped"):
            shown["data"]["attributes"]["commands"] = []
        return JSONResponse(shown)

    # -- jobs --------------------------------------------------------------------------------

    async def _new_job(self, request: Request) -> Response:
        refused = self.door.refused(request)
        if refused is not None:
            return refused
        data = (await request.json())["data"]
        attributes, project = data["attributes"], data["relationships"]["project"]["data"]["id"]
        why = self._unfit(attributes, project)
        if why:
            return error(400, why)
        made, definition = str(uuid.uuid4()), attributes["definition"]
        items = [
            {**item, "item_id": number, "status": {"status": "SUBMITTED", "message": ""}}
            for number, item in enumerate(definition["items"])
        ]
        self.jobs[made] = {
            **noted(attributes), "definition": {**definition, "items": items},
            "status": {"status": "SUBMITTED", "message": ""}, "_project": project, "_polls": 0,
        }  # fmt: skip
        return JSONResponse(self._shown_job(made), 202)

    def _unfit(self, attributes: Mapping[str, Any], project: str) -> str:
        definition = attributes["definition"]
        device = definition["backend_config"]["device_name"]
        if project not in self.door.projects or attributes["job_type"] != "execute":
            return "no such project, or no execution"
        if device not in LISTED and not device.endswith("SC"):
            return "no such device"
        known = {
            found["name"]: found.get("required", False) for found in self.door.properties[project]
        }
        given = attributes.get("properties") or {}
        if not given.keys() <= known.keys():
            return "a property is not defined"
        runs = not device.endswith("SC")
        if runs and any(must and name not in given for name, must in known.items()):
            return "a required property is missing"
        for item in definition["items"]:
            circuit = self.circuits.get(item["program_id"])
            if circuit is None or not 0 < item["n_shots"] <= 10_000:
                return "no such circuit, or no such number of shots"
            program: Program = circuit["_program"]
            if program.qubits > info(device)["device"]["n_nodes"]:
                return "too many qubits"
            if definition["valid_check"] and not set(program.facts.gate_set) <= gates():
                return "a gate is not the machine's"
        return ""

    def _shown_job(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        programs = [
            {"id": item["program_id"], "type": "circuit"} for item in job["definition"]["items"]
        ]
        return {
            "data": {"id": job_id, "type": "job", "attributes": _public(job),
                     "relationships": {**self.door.inside(job["_project"]),
                                       "programs": {"data": programs}}},
            "included": [self.door.shown(job["_project"])],
        }  # fmt: skip

    def _asked_jobs(self, request: Request) -> list[str]:
        names = request.query_params.getlist("filter[name_exact]")
        project = request.query_params.get("filter[project][id]", PROJECT)
        newest = request.query_params.get("sort") != "timestamps.created"
        jobs = list(self.jobs.items())
        return [
            job_id for job_id, job in (reversed(jobs) if newest else jobs)
            if job["_project"] == project and (not names or job["name"] in names)
        ]  # fmt: skip

    async def _listed_jobs(self, request: Request) -> Response:
        refused = self.door.refused(request)
        if refused is not None:
            return refused
        shown = [self._shown_job(job) for job in page(request, self._asked_jobs(request))]
        included = [self.door.shown(project) for project in self.door.projects]
        return JSONResponse({"data": [job["data"] for job in shown], "included": included})

    async def _counted_jobs(self, request: Request) -> Response:
        refused = self.door.refused(request)
        return refused or JSONResponse({"count": len(self._asked_jobs(request))})

    def _known(self, request: Request) -> str | Response:
        refused = self.door.refused(request)
        if refused is not None:
            return refused
        job_id: str = request.path_params["id"]
        return job_id if job_id in self.jobs else error(404, "no such job")

    async def _job(self, request: Request) -> Response:
        job_id = self._known(request)
        if isinstance(job_id, Response):
            return job_id
        self._move(job_id)
        shown = self._shown_job(job_id)
        lie = self._take("job", "circuit", "state")
        if lie == "job":
            shown["data"]["id"] = str(uuid.uuid4())
        elif lie == "circuit":
            tags = {**shown["data"]["attributes"]["properties"], "cryogate_program": "0" * 64}
            shown["data"]["attributes"]["properties"] = tags
        elif lie:
            shown["data"]["attributes"]["status"] = {"status": "ASTRAY", "message": ""}
        return JSONResponse(shown)

    async def _status(self, request: Request) -> Response:
        job_id = self._known(request)
        if isinstance(job_id, Response):
            return job_id
        self._move(job_id)
        return JSONResponse(self.jobs[job_id]["status"])

    def _move(self, job_id: str) -> None:
        job = self.jobs[job_id]
        if job["status"]["status"] not in _WAITING:
            return
        job["_polls"] += 1
        if job["_polls"] <= self.polls:
            _set(job, "QUEUED", queue_position=3)
            return
        cost = 0.0
        for item in job["definition"]["items"]:
            each = self._run(job, item)
            if each is not None and each > item.get("max_cost", each):
                _set(job, "ERROR", cost=0.0)
                return
            cost += each or 0.0
        local = LISTED.get(job["definition"]["backend_config"]["device_name"], False)
        told = {} if local else {"cost": -3.0 if self._take("cost") else cost}
        _set(job, "COMPLETED", **told, running_time="2026-11-01T00:00:00+00:00",
             completed_time="2026-11-01T00:00:02.500000+00:00")  # fmt: skip

    def _run(self, job: dict[str, Any], item: dict[str, Any]) -> float | None:
        device = job["definition"]["backend_config"]["device_name"]
        circuit = self.circuits[item["program_id"]]
        program: Program = circuit["_program"]
        facts, shots = program.facts, item["n_shots"]
        spam = facts.qubits + facts.measurements + facts.resets
        weight = facts.one_qubit_gates + 10 * facts.two_qubit_gates + 5 * spam
        if not device.endswith("SC"):
            made = str(uuid.uuid4())
            self.results[made] = {
                "program": item["program_id"], "device": device,
                "counts": sampled(program, shots, 7), "bits": circuit["bits"],
            }  # fmt: skip
            item |= {"result_id": made, "result_type": "PYTKET"}
        return None if LISTED.get(device) else 5 + shots * weight / 5000

    async def _cancel(self, request: Request) -> Response:
        job_id = self._known(request)
        if isinstance(job_id, Response):
            return job_id
        if self.jobs[job_id]["status"]["status"] not in _WAITING:
            return error(409, "the job is over")
        _set(self.jobs[job_id], "CANCELLED")
        return Response(status_code=202)

    # -- results and devices -----------------------------------------------------------------

    async def _result(self, request: Request) -> Response:
        refused = self.door.refused(request)
        if refused is not None:
            return refused
        result_id = request.path_params["id"]
        found = self.results.get(result_id)
        if found is None:
            return error(404, "no such result")
        bits = sorted(found["bits"])
        rows = [row for text, count in found["counts"].items() for row in [text] * count]
        lie = self._take("ran", "bit", "row", "short")
        array = [_packed(text, found["bits"], bits) for text in rows]
        if lie == "row":
            array[0] = [*array[0], 0]
        elif lie == "short":
            array.pop()
        shots = {"width": len(bits), "array": array}
        ran = str(uuid.uuid4()) if lie == "ran" else found["program"]
        attributes = {"bits": bits[1:] if lie == "bit" else bits, "qubits": [], "shots": shots,
                      "counts": None, "state": None, "unitary": None}  # fmt: skip
        snapshot = {"id": str(uuid.uuid4()), "type": "backend_snapshot",
                    "attributes": info(found["device"])}  # fmt: skip
        links = {"program": {"data": {"id": ran, "type": "circuit"}}}
        data = {"id": result_id, "type": "result", "attributes": attributes, "relationships": links}
        return JSONResponse({"data": data, "included": [snapshot]})

    async def _devices(self, request: Request) -> Response:
        return self.door.refused(request) or JSONResponse([
            {"is_local": local, "backend_info_list": [
                info(name) | ({} if self.tells_kind else {"misc": {}})
                for name, there in LISTED.items() if there is local]}
            for local in (False, True)
        ])  # fmt: skip

    async def _machine(self, request: Request) -> Response:
        state = "in maintenance" if request.path_params["name"] in self.offline else "online"
        return self.door.refused(request) or JSONResponse({"state": state})


def _read(circuit: Mapping[str, Any]) -> Program:
    """The circuit with its registers under our names, whatever its own are."""
    text = json.dumps(circuit, separators=(",", ":"))
    names = sorted({name for name, _ in circuit.get("bits", [])})
    if not all(re.fullmatch(r"c\d+", name) for name in names):
        for number, name in enumerate(names):
            text = text.replace(f"[{json.dumps(name)},[", f'["c{number}",[')
    return parse_pytket(text.encode())


def _packed(text: str, ours: list[Any], theirs: list[Any]) -> list[int]:
    bits = "".join(text[len(ours) - 1 - ours.index(bit)] for bit in theirs)
    whole = bits.ljust((len(bits) + 7) // 8 * 8, "0")
    return [int(whole[at : at + 8], 2) for at in range(0, len(whole), 8)]


def _set(job: dict[str, Any], status: str, **more: Any) -> None:
    job["status"] = {"status": status, "message": "", **more}
    for item in job["definition"]["items"]:
        item["status"] = job["status"]


def _public(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not name.startswith("_")}
