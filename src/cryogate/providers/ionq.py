"""IonQ's API, version 0.4.

What it offers and what is made of it:

 (1) No idempotency key. Our job id is the job's name and in its metadata, and `find` walks the
     list of jobs, newest first, to a bounded age. A job that was tried in this process is looked
     for before it is sent again.
 (2) Keys cannot be minted, so a lease lends the project's key. Budgets are set in IonQ's console,
    and cannot be read. With `ionq.sessions` each job on hardware gets a session of its own, whose
    cost limit is the job's reservation: IonQ runs nothing that costs more. It ends with the job.
 (3) A job measures every qubit. The register map in the confirmed text is ours to apply: it is
     taken off the input (the API refuses it there) and applied to the states that come back.
 (4) Error mitigation is off unless asked for: it multiplies the price and changes what counts mean.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING
from typing import Final

import msgspec
from msgspec import structs

from cryogate.circuits import Dialect, Program
from cryogate.domain.money import Money
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
    VendorLimit,
    VendorState,
    VendorStatus,
)
from cryogate.providers import ionq_wire as wire
from cryogate.providers.http import VendorHttp
from cryogate.providers.probabilities import counts_of
from cryogate.providers.readouts import needed, of_states
from cryogate.providers.setup import Setup
from cryogate.providers.tried import Tried
from cryogate.providers.walks import Walks

log = logging.getLogger("cryogate.providers")
_SCHEME: Final = "ionq"
_SIMULATOR: Final = "simulator"
_MAX_SHOTS: Final = 10_000
_FEATURES: Final = frozenset({"parameters"})
#: IonQ's names of gates and ours. Gates with other names are never declared.
_NAMES: Final = {
    "x": "x", "y": "y", "z": "z", "h": "h", "s": "s", "si": "sdg", "t": "t", "ti": "tdg",
    "v": "sx", "vi": "sxdg", "rx": "rx", "ry": "ry", "rz": "rz", "cnot": "cx", "swap": "swap",
    "xx": "rxx", "yy": "ryy", "zz": "rzz",
}  # fmt: skip
_NATIVE: Final = frozenset({"gpi", "gpi2", "ms", "zz"})
_STATES: Final = {
    "submitted": VendorState.QUEUED, "ready": VendorState.QUEUED, "started": VendorState.RUNNING,
    "completed": VendorState.DONE, "failed": VendorState.FAILED, "canceled": VendorState.CANCELLED,
}  # fmt: skip
_PER_JOB: Final = VendorLimit(Control.MAX_COST, "job", "USD", by_gateway=True)
_FINAL: Final = frozenset({VendorState.DONE, VendorState.FAILED, VendorState.CANCELLED})
_PAGES: Final = 200
_LOOK_BACK_MS: Final = 30 * 86_400_000


class IonqProvider(Provider):
    """Devices and simulators of one IonQ project."""

    scheme = _SCHEME
    controls = frozenset({Control.TAGS, Control.DRY_RUN, Control.ESTIMATE})
    estimates = True
    reads_program = True
    finds_together = True

    def __init__(self, http: VendorHttp, clock: Clock, *, sessions: bool = False) -> None:
        self._http, self._clock, self._sessions = http, clock, sessions
        if sessions:
            self.controls = self.controls | {Control.MAX_COST}
        self._tried, self._walks = Tried(), Walks()

    @classmethod
    def of(cls, setup: Setup) -> IonqProvider:
        """From the configuration."""
        config = setup.config
        http = VendorHttp(config.ionq.url, setting="ionq.url", ca_file=config.providers.ca_file)
        return cls(http, setup.clock, sessions=config.ionq.sessions)

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """What is listed now. The list is public: no key is sent for it."""
        found = (await self._http.call("GET", "/backends")).read(tuple[wire.Device, ...])
        return [await self._backend(d) for d in found if d.status != "retired"]

    async def _backend(self, device: wire.Device) -> Backend:
        simulator = device.backend == _SIMULATOR
        gates = device.supported_gates if device.supported_gates is not None else tuple(_NAMES)
        native = frozenset(device.supported_native_gates or ()) & _NATIVE
        online = device.status == "available"
        return Backend(
            f"{_SCHEME}:{device.backend}",
            _SCHEME,
            simulator,
            device.qubits,
            _MAX_SHOTS,
            frozenset(_NAMES[gate] for gate in gates if gate in _NAMES) | native,
            _FEATURES,
            status="online" if online else "offline",
            calibrated_ms=None if simulator else await self._calibrated_ms(device.backend),
            dialect=Dialect.IONQ_JSON,
            native_gates=native,
            wait_ms=int(device.average_queue_time),
            degraded=device.degraded,
            vendor_limits=() if simulator or not self._sessions else (_PER_JOB,),
        )

    async def _calibrated_ms(self, name: str) -> int | None:
        try:
            answer = await self._http.call(
                "GET", f"/backends/{name}/characterizations", params={"limit": 1}
            )
            latest = answer.read(wire.Calibrations).characterizations
        except ProviderError:
            return None
        return _epoch_ms(latest[0].date) if latest else None

    async def validate(self, submission: Submission, lease: Lease) -> Sequence[str]:
        """A dry run: IonQ compiles the circuit and runs nothing."""
        try:
            answer = await self._post(submission, lease, dry_run=True)
            vendor_id = answer.id
        except ProviderError as error:
            if error.retryable:
                raise
            return (error.detail,)
        while True:
            job = await self._job(vendor_id, lease)
            state = _state(job)
            if state is VendorState.DONE:
                return await self._too_dear(vendor_id, submission, lease)
            if state in _FINAL:
                return (f"IonQ cannot compile it ({_code(job)})",)
            await asyncio.sleep(0.2)

    async def _too_dear(
        self, vendor_id: str, submission: Submission, lease: Lease
    ) -> Sequence[str]:
        answer = await self._http.call("GET", f"/jobs/{vendor_id}/cost", headers=_key(lease))
        expected = answer.read(wire.Cost).estimated_cost
        if expected is None or _money(expected).cents <= submission.cost_ceiling_cents:
            return ()
        return (f"IonQ expects it to cost {_money(expected)}, which is more than would be held",)

    async def estimate(self, backend: str, program: Program, shots: int, lease: Lease) -> Money:
        """IonQ's estimate at the rates of the key's contract, without error mitigation."""
        facts = program.facts
        answer = await self._http.call(
            "GET",
            "/jobs/estimate",
            headers=_key(lease),
            params={
                "backend": _device(backend),
                "type": "ionq.circuit.v1",
                "qubits": max(facts.qubits, 1),
                "shots": shots,
                "1q_gates": facts.one_qubit_gates,
                "2q_gates": facts.two_qubit_gates + facts.multi_qubit_gates,
                "error_mitigation": "false",
            },
        )
        found = answer.read(wire.Estimate)
        return _money(wire.Amount(found.estimated_total_cost, found.estimated_unit))

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """(1): sent once, under our id."""
        job_id = submission.job_id
        known = await self._tried.known(job_id, lambda: self.find(job_id, lease))
        if known is not None:
            return known
        self._tried.note(job_id)
        session_id = await self._open(submission, lease)
        try:
            made = await self._post(submission, lease, dry_run=False, session_id=session_id)
        except ProviderError as error:
            if session_id and not error.sent:
                await self._end(session_id, lease)
            raise
        self._tried.note(job_id, made.id)
        return made.id

    async def _open(self, submission: Submission, lease: Lease) -> str:
        """(2): a session that has room for this job alone; empty where there is none."""
        device = _device(submission.backend)
        if not self._sessions or device == _SIMULATOR:
            return ""
        # a decimal, not a float: the limit is the reservation, to the cent
        dollars = msgspec.Raw(b"%d.%02d" % divmod(submission.cost_ceiling_cents, 100))
        limits = {"job_count_limit": 1, "cost_limit": {"unit": "usd", "value": dollars}}
        try:
            document = {"backend": device, "settings": limits}
            answer = await self._http.ask(
                "POST", "/sessions", headers=_key(lease), document=document
            )
            return answer.read(wire.Session).id
        except ProviderError as error:
            # whatever became of the session, the job was surely not sent
            raise ProviderError(
                f"no session: {error.detail}", sent=False, retryable=error.retryable,
                status=error.status,
            ) from error  # fmt: skip

    async def _end(self, session_id: str, lease: Lease) -> None:
        """A session that is not ended has no room for another job: nothing depends on this."""
        try:
            await self._http.call("POST", f"/sessions/{session_id}/end", headers=_key(lease))
        except ProviderError as error:
            log.info("session %s was not ended: %s", session_id, error.detail)

    async def _post(
        self, submission: Submission, lease: Lease, *, dry_run: bool, session_id: str = ""
    ) -> wire.Created:
        terms, tag = lease.terms, submission.job_id
        document: dict[str, object] = {
            "type": "ionq.circuit.v1",
            "backend": _device(submission.backend),
            "name": f"check {tag}" if dry_run else tag,
            "shots": submission.shots,
            "dry_run": dry_run,
            "metadata": {
                "cryogate_job": "" if dry_run else tag,
                "cryogate_program": submission.program.fingerprint,
                "cryogate_experiment": submission.experiment_id,
                "cryogate_cost_center": terms.cost_center,
            },
            "settings": {"error_mitigation": {"debiasing": False}},  # (4)
            "input": _input(submission.text),
        }
        if session_id:
            document["session_id"] = session_id
        answer = await self._http.ask("POST", "/jobs", headers=_key(lease), document=document)
        return answer.read(wire.Created)

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """(1): among the jobs of the key's project."""
        # The key's digest: who has another key has another list.
        place = hashlib.sha256(lease.secret.reveal()).hexdigest()
        return await self._walks.find(place, job_id, lambda: self._listed(lease))

    async def _listed(self, lease: Lease) -> AsyncIterator[tuple[str, str]]:
        oldest_ms = self._clock.now_ms() - _LOOK_BACK_MS
        params: dict[str, str | int] = {"limit": 25}
        for _ in range(_PAGES):
            answer = await self._http.call("GET", "/jobs", headers=_key(lease), params=params)
            page = answer.read(wire.Jobs)
            for job in page.jobs:
                yield (job.metadata or {}).get("cryogate_job", ""), job.id
            if page.next is None or not page.jobs:
                return
            last_ms = _epoch_ms(page.jobs[-1].submitted_at)
            if last_ms is not None and last_ms < oldest_ms:
                return
            params["next"] = page.next
        # So many jobs that "no" cannot be said.
        raise ProviderError("the vendor lists too many jobs", sent=True, retryable=True)

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """Where the job is, and once it is over, what it cost."""
        job = await self._job(vendor_id, lease)
        state, tags = _state(job), job.metadata or {}
        status = VendorStatus(
            state,
            runtime_ms=job.execution_duration_ms,
            detail=_code(job) if state is VendorState.FAILED else "",
            job_id=tags.get("cryogate_job", ""),
            fingerprint=tags.get("cryogate_program", ""),
            eta_ms=job.predicted_wait_time_ms,
            backend=f"{_SCHEME}:{job.backend}" if job.backend else "",
        )
        if state not in _FINAL:
            return status
        if self._sessions and job.session_id:
            await self._end(job.session_id, lease)
        cost = await self._cost(vendor_id, lease)
        if cost is None:
            # A simulator's job is not billed; a missing bill of a device is not zero.
            return structs.replace(status, cost_cents=0) if job.backend == _SIMULATOR else status
        return structs.replace(status, cost_cents=cost.cents, currency=cost.currency)

    async def _job(self, vendor_id: str, lease: Lease) -> wire.Job:
        answer = await self._http.call("GET", f"/jobs/{vendor_id}", headers=_key(lease))
        job = answer.read(wire.Job)
        if job.id != vendor_id:
            raise VendorLied("it speaks of another job")
        return job

    async def _cost(self, vendor_id: str, lease: Lease) -> Money | None:
        answer = await self._http.call("GET", f"/jobs/{vendor_id}/cost", headers=_key(lease))
        cost = answer.read(wire.Cost).cost
        return None if cost is None else _money(cost)

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """(3): counts over the program's classical bits."""
        program = needed(program)
        job = await self._job(vendor_id, lease)
        answer = await self._http.call(
            "GET", f"/jobs/{vendor_id}/results/probabilities", headers=_key(lease)
        )
        states = answer.read(dict[str, float])
        shots = job.shots
        if shots is None:
            raise VendorLied("it does not say how many shots it ran")
        counts = counts_of(states, shots, program.qubits)
        return of_states(counts, shots, program)

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Asks; a job that is over stays over."""
        await self._http.call("PUT", f"/jobs/{vendor_id}/status/cancel", headers=_key(lease))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()


def _key(lease: Lease) -> Mapping[str, str]:
    return {"authorization": f"apiKey {lease.secret.text()}"}


def _device(backend: str) -> str:
    return backend.partition(":")[2]


def _input(text: bytes) -> dict[str, object]:
    document = msgspec.json.decode(text, type=dict[str, object])
    document.pop("registers", None)  # (3)
    return document


def _state(job: wire.Job) -> VendorState:
    state = _STATES.get(job.status)
    if state is None:
        raise VendorLied("its job is in a state that there is not")
    return state


def _code(job: wire.Job) -> str:
    return job.failure.code if job.failure is not None else ""


def _money(amount: wire.Amount) -> Money:
    if amount.unit.lower() != "usd" or not amount.value.is_finite():
        raise VendorLied("its price is not in dollars")
    cents = (amount.value * 100).to_integral_value(ROUND_CEILING)
    return Money(int(cents), "USD")


def _epoch_ms(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
