"""Google's Quantum Engine, through its REST interface (protobuf's JSON).

(1) The client chooses ids: program and job are both called by ours. Making one twice is refused
    with 409, which says that it is there, and `find` is a look at it.
(2) The program is the text that another parser has confirmed, with the device's names of qubits in
    the place of our numbers: qubit ``i`` is the device's ``i``-th by row and column.
(3) A circuit must be in gates that the device names, and between coupled qubits.
(4) The Engine has no prices. What was reserved is charged for what ran, by whatever price the book
    has; time on processors is granted by Google as reservation budgets, which are shown.
(5) Google keeps the program. Before a result is taken, it is held against what was sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from cryogate.circuits import Dialect, Program
from cryogate.config import ConfigError
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import (
    Backend,
    Control,
    Provider,
    ProviderError,
    RawResult,
    Submission,
    VendorLied,
    VendorState,
    VendorStatus,
)
from cryogate.providers import google_shapes as shapes
from cryogate.providers import google_wire as wire
from cryogate.providers.http import Answer, VendorHttp, before_the_job, unless_over
from cryogate.providers.readouts import needed
from cryogate.providers.setup import Setup

_SCHEME: Final = "google"
_TYPE: Final = "type.googleapis.com/cirq.google.api.v2."
_MAX_SHOTS: Final = 100_000
_STATES: Final = {
    "READY": VendorState.QUEUED, "RUNNING": VendorState.RUNNING,
    "CANCELLING": VendorState.RUNNING, "CANCELLED": VendorState.CANCELLED,
    "SUCCESS": VendorState.DONE, "FAILURE": VendorState.FAILED,
}  # fmt: skip
#: What a device calls its gates, and ours that are made of them.
_GATES: Final = {
    "phasedXz": frozenset({"x", "sx", "sxdg", "y", "rx", "ry", "r"}),
    "virtualZpow": frozenset({"rz"}),
    "physicalZpow": frozenset({"rz"}),
    "cz": frozenset({"cz"}),
    "czPowGate": frozenset({"cz"}),
}
_PAGES: Final = 20
_JOB, _PROGRAM = "cryogate_job", "cryogate "


class GoogleProvider(Provider):
    """Processors that one project may use."""

    scheme = _SCHEME
    controls = frozenset({Control.IDEMPOTENCY, Control.TAGS})
    reads_program = True
    lists_with_lease = True

    def __init__(self, http: VendorHttp, project: str, clock: Clock) -> None:
        self._http, self._clock = http, clock
        self._project = f"projects/{project}"
        self._job_name = re.compile(
            rf"{re.escape(self._project)}/programs/([a-z0-9-]{{1,63}})/jobs/\1"
        )
        self._qubits: dict[str, tuple[str, ...]] = {}
        self._coupled: dict[str, shapes.Pairs] = {}

    @classmethod
    def of(cls, setup: Setup) -> GoogleProvider:
        """From the configuration."""
        config = setup.config.google
        if not config.project:
            raise ConfigError("google.project must name the project that the jobs belong to")
        http = VendorHttp(config.url, setting="google.url", ca_file=setup.config.providers.ca_file)
        return cls(http, config.project, setup.clock)

    # -- devices -----------------------------------------------------------------------------

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """The project's processors, each with its gates, qubits and queue."""
        if lease is None:
            raise ProviderError("Google lists processors for a lease", sent=False, retryable=True)
        budgets = await self._budgets(lease)
        found, qubits, coupled = [], {}, {}
        for name in await self._names(lease):
            answer = await self._call("GET", name, lease)
            try:
                said = answer.read(wire.Processor)
            except ProviderError:
                continue  # one that we cannot judge takes no other along
            if said.device_spec is None or said.name != name:
                continue
            backend = f"{_SCHEME}:{name.rpartition('/')[2]}"
            device = self._backend(backend, said, said.device_spec, budgets)
            if device.qubits and device.gate_set:
                qubits[backend], coupled[backend] = shapes.grid(said.device_spec)
                found.append(device)
        self._qubits, self._coupled = qubits, coupled
        return found

    async def _names(self, lease: Lease) -> Sequence[str]:
        names: list[str] = []
        params: dict[str, str | int] = {"pageSize": 100}
        for _ in range(_PAGES):
            answer = await self._call("GET", f"{self._project}/processors", lease, params=params)
            page = answer.read(wire.Processors)
            names += [p.name for p in page.processors]
            if not page.next_page_token:
                break
            params["pageToken"] = page.next_page_token
        return names

    async def _budgets(self, lease: Lease) -> Sequence[wire.Budget]:
        try:
            answer = await self._call("GET", f"{self._project}/reservationBudgets", lease)
            return answer.read(wire.Budgets).reservation_budgets
        except ProviderError:
            return ()

    def _backend(
        self,
        backend: str,
        said: wire.Processor,
        spec: wire.Specification,
        budgets: Sequence[wire.Budget],
    ) -> Backend:
        named = {kind for gate in spec.valid_gates for kind in gate}
        ours = [_GATES[kind] for kind in named if kind in _GATES]
        activity = said.activity_stats
        return Backend(
            backend,
            _SCHEME,
            False,
            len(set(spec.valid_qubits)),
            _MAX_SHOTS,
            frozenset[str]().union(*ours),
            frozenset({"parameters"}),
            status="online" if said.health == "OK" else "offline",
            calibrated_ms=shapes.calibrated_ms(said.current_calibration),
            dialect=Dialect.CIRQ,
            native_gates=frozenset(named - {"gateDurationPicos", "meas"}),
            queue=None if activity is None else int(activity.active_jobs_count),
            vendor_limits=tuple(shapes.limit(b) for b in budgets if said.name in b.processor_names),
        )

    async def validate(self, submission: Submission, lease: Lease) -> Sequence[str]:
        """(3), without asking Google."""
        qubits = self._qubits.get(submission.backend)
        if qubits is None:
            return ("no such processor",)
        pairs = self._coupled.get(submission.backend, frozenset())
        return shapes.coupled(submission.program, qubits, pairs)

    # -- jobs --------------------------------------------------------------------------------

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """(1) to (3): the program, then the job."""
        name = shapes.job_id(submission.job_id)
        if submission.backend not in self._qubits:
            raise ProviderError("no such processor", sent=False, retryable=True)
        wrong = await self.validate(submission, lease)
        if wrong:
            raise ProviderError(wrong[0], sent=False, retryable=False)
        program, job = self._names_of(name)
        labels = shapes.tags(
            {
                "job": submission.job_id,
                "experiment": submission.experiment_id,
                "cost_center": lease.terms.cost_center,
            }
        )
        about = {"labels": labels, "description": _PROGRAM + submission.program.fingerprint}
        code = shapes.renamed(submission.text, self._qubits[submission.backend])
        body = {"name": program, "code": {"@type": _TYPE + "Program", **code}, **about}
        try:
            await self._make(f"{self._project}/programs", program, lease, body)
        except ProviderError as error:
            raise before_the_job(error) from error
        processor = f"{self._project}/processors/{submission.backend.partition(':')[2]}"
        sweeps = [{"repetitions": submission.shots}]
        run = {"@type": _TYPE + "RunContext", "parameterSweeps": sweeps}
        body = {
            "name": job,
            "schedulingConfig": {"processorSelector": {"processor": processor}},
            "runContext": run,
            **about,
        }
        await self._make(f"{program}/jobs", job, lease, body)
        return job

    async def _make(self, where: str, name: str, lease: Lease, document: Mapping[str, Any]) -> None:
        """(1): nobody else makes ids like ours, so what is there already is this very one."""
        try:
            answer = await self._call("POST", where, lease, document)
        except ProviderError as error:
            if error.status != 409:
                raise
            return
        if answer.read(wire.Made).name != name:
            raise VendorLied("it made something else")

    def _names_of(self, name: str) -> tuple[str, str]:
        program = f"{self._project}/programs/{name}"
        return program, f"{program}/jobs/{name}"

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """(1)."""
        job = self._names_of(shapes.job_id(job_id))[1]
        try:
            await self._job(job, lease)
        except ProviderError as error:
            if error.status == 404:
                return None
            raise
        return job

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """(4)."""
        job = await self._job(vendor_id, lease)
        said = job.execution_status
        state = _STATES.get(said.state)
        if state is None:
            raise VendorLied("its job is in a state that there is not")
        processor = said.processor_name.rpartition("/")[2]
        failed = state is VendorState.FAILED and said.failure is not None
        return VendorStatus(
            state,
            # nobody is billed for what did not run
            cost_cents=0 if state in (VendorState.FAILED, VendorState.CANCELLED) else None,
            runtime_ms=shapes.runtime_ms(said.timing),
            detail=str(said.failure.error_code) if failed and said.failure is not None else "",
            job_id=job.labels.get(_JOB, ""),
            fingerprint=job.description.removeprefix(_PROGRAM),
            part_of_bound=(1, 1) if state is VendorState.DONE else None,
            backend=f"{_SCHEME}:{processor}" if processor else "",
        )

    async def _job(self, vendor_id: str, lease: Lease) -> wire.Job:
        self._checked(vendor_id)
        job = (await self._call("GET", vendor_id, lease)).read(wire.Job)
        if job.name != vendor_id:
            raise VendorLied("it speaks of another job")
        return job

    def _checked(self, vendor_id: str) -> str:
        match = self._job_name.fullmatch(vendor_id)
        if match is None:
            raise ProviderError("Google has no job of that name", sent=True, retryable=False)
        return match[1]

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """(5): counts over the program's classical bits, and memory."""
        program = needed(program)
        self._checked(vendor_id)
        await self._check_echo(vendor_id, lease, program)
        found = (await self._call("GET", f"{vendor_id}/result", lease)).read(wire.Result)
        if found.parent != vendor_id:
            raise VendorLied("its result is of another job")
        sweeps = found.result.sweep_results
        if len(sweeps) != 1 or len(sweeps[0].parameterized_results) != 1:
            raise VendorLied("its result is of another number of runs")
        return shapes.read(sweeps[0], program)

    async def _check_echo(self, vendor_id: str, lease: Lease, program: Program) -> None:
        name = vendor_id.rpartition("/jobs/")[0]
        params: dict[str, str | int] = {"returnCode": "true"}
        kept = (await self._call("GET", name, lease, params=params)).read(wire.Program)
        if kept.name != name:
            raise VendorLied("it speaks of another job")
        if not await asyncio.to_thread(shapes.same, kept.code, program):
            raise VendorLied("it ran another circuit")

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Asks; a job that is over stays over."""
        self._checked(vendor_id)
        await unless_over(self._call("POST", f"{vendor_id}:cancel", lease, {}))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    async def _call(
        self,
        method: str,
        name: str,
        lease: Lease,
        document: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        headers = {"authorization": f"Bearer {lease.secret.text()}", "accept": "application/json"}
        body = None
        if document is not None:
            headers["content-type"] = "application/json"
            body = msgspec.json.encode(document)
        return await self._http.call(
            method, f"/v1alpha1/{name}", headers=headers, params=params, content=body
        )
