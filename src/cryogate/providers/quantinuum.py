"""Quantinuum Nexus: machines of the H series, their emulators and their syntax checkers.

(1) No idempotency key. Our job id is the job's name, by which `find` asks, and a property. A job
    that was tried in this process is looked for before it is sent again. A request that was
    delivered twice on its way has made two: the oldest goes on, the others are cancelled (B2).
(2) ``max_cost`` is the job's ceiling in credits (HQC): the machine stops there.
(3) The circuit is uploaded first, and the job names it. A result says of which circuit it is; that
    one is fetched and read, and must be the program (C5).
(4) Only gates that the machine has, so nothing is compiled on the way: no implicit swaps, no
    optimisation, and ``valid_check`` has Nexus refuse what the machine could not run as it stands.
(5) Experiment, cost center and program are properties of the job. A project knows the properties
    that were defined for it and no other; `docs/providers/quantinuum.md` has the file.
(6) A syntax checker reads a job and tells its price in credits; nothing runs and nothing is billed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

import msgspec
from msgspec import structs

from cryogate.circuits import CircuitError, Dialect, Program, emit, parse_pytket, same_circuit
from cryogate.circuits.model import STORED
from cryogate.circuits.pytket import CIRCUIT_MEMBERS
from cryogate.domain.money import Money
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
from cryogate.providers import nexus_wire as wire
from cryogate.providers.http import Answer, VendorHttp, before_the_job, unless_over
from cryogate.providers.nexus_bodies import execution, held, properties, resource
from cryogate.providers.nexus_readouts import read_result
from cryogate.providers.readouts import needed
from cryogate.providers.setup import Setup
from cryogate.providers.tried import Tried

log = logging.getLogger("cryogate.providers")
_SCHEME: Final = "quantinuum"
_CURRENCY: Final = "HQC"
_JOBS: Final = "/api/jobs/v1beta3"
_CIRCUITS: Final = "/api/circuits/v1beta2"
_RESULTS: Final = "/api/results/v1beta3"
_SCOPE: Final[Mapping[str, str | int]] = {"scope": "user"}
_GATES: Final = {"Rz": "rz", "PhasedX": "r", "ZZPhase": "rzz"}
_MAX_SHOTS: Final = 10_000
_STATES: Final = {
    "SUBMITTED": VendorState.QUEUED, "QUEUED": VendorState.QUEUED,
    "RUNNING": VendorState.RUNNING, "RETRYING": VendorState.RUNNING,
    "CANCELLING": VendorState.RUNNING, "COMPLETED": VendorState.DONE,
    "ERROR": VendorState.FAILED, "DEPLETED": VendorState.FAILED,
    "TERMINATED": VendorState.FAILED, "CANCELLED": VendorState.CANCELLED,
}  # fmt: skip
_FINAL: Final = frozenset({VendorState.DONE, VendorState.FAILED, VendorState.CANCELLED})
_CHECKER: Final = re.compile(r"(H[0-9]-[0-9])(?:E|LE)?")
_EMULATOR: Final = re.compile(r"-(?:Emulator|[0-9]L?E)\Z")
_CHECKS, _CHECK_S = 300, 0.2
_PAGE, _PAGES = 50, 20
#: (2)
_OWN_LIMIT: Final = VendorLimit(Control.MAX_COST, "job", _CURRENCY, by_gateway=True)


class QuantinuumProvider(Provider):
    """Machines and emulators that one Nexus project reaches."""

    scheme = _SCHEME
    controls = frozenset({Control.TAGS, Control.MAX_COST, Control.DRY_RUN, Control.ESTIMATE})
    estimates = True
    reads_program = True
    lists_with_lease = True

    def __init__(self, http: VendorHttp) -> None:
        self._http = http
        self._tried = Tried()
        self._names: dict[str, str] = {}
        self._unbilled: frozenset[str] = frozenset()

    @classmethod
    def of(cls, setup: Setup) -> QuantinuumProvider:
        """From the configuration."""
        config = setup.config
        url, ca_file = config.quantinuum.url, config.providers.ca_file
        return cls(VendorHttp(url, setting="quantinuum.url", ca_file=ca_file))

    # -- devices -----------------------------------------------------------------------------

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """(4): what takes circuits and has our gates. Syntax checkers run nothing."""
        if lease is None:
            raise ProviderError("Nexus lists devices for a lease", sent=False, retryable=True)
        answer = await self._call(
            "GET", "/api/v5/available_devices", lease, params={"backend": "QuantinuumConfig"}
        )
        names: dict[str, str] = {}
        unbilled, found = set(), []
        for kind in answer.read(tuple[wire.Infos, ...]):
            for info in kind.backend_info_list:
                name = info.device_name or ""
                if not name or name.endswith("SC") or not set(info.gate_set) >= _GATES.keys():
                    continue
                backend = _named(name)
                names[backend] = name
                if kind.is_local:
                    unbilled.add(name)
                found.append(await self._backend(backend, name, info, kind.is_local, lease))
        self._names, self._unbilled = names, frozenset(unbilled)
        return found

    async def _backend(
        self, backend: str, name: str, info: wire.Info, local: bool, lease: Lease
    ) -> Backend:
        # what does not say that it is an emulator is taken for a machine
        kind = info.misc.system_type or ("emulator" if _EMULATOR.search(name) else "")
        hardware = not local and kind != "emulator"
        offered = {
            "mid_circuit_measurement": info.supports_midcircuit_measurement,
            "reset": info.supports_reset,
            "classical_control": info.supports_fast_feedforward,
        }
        state = await self._state(name, lease) if hardware else "online"
        return Backend(
            backend,
            _SCHEME,
            not hardware,
            info.device.n_nodes or len(info.device.nodes),
            min(info.misc.n_shots or _MAX_SHOTS, _MAX_SHOTS),
            frozenset(_GATES.values()),
            frozenset({"parameters", *(name for name, there in offered.items() if there)}),
            status="online" if state.partition(",")[0] == "online" else "offline",
            dialect=Dialect.PYTKET,
            native_gates=frozenset(_GATES.values()),
            vendor_limits=(_OWN_LIMIT,),
        )

    async def _state(self, name: str, lease: Lease) -> str:
        try:
            answer = await self._call("GET", f"/api/machines/v1beta/{name}/status", lease)
        except ProviderError as error:
            if error.retryable:
                raise
            return "unknown"
        return answer.read(wire.State).state

    async def _device(self, backend: str, lease: Lease) -> str:
        if backend not in self._names:
            await self.backends(lease)
        name = self._names.get(backend)
        if name is None:
            raise ProviderError("no such device", sent=False, retryable=False)
        return name

    # -- checks ------------------------------------------------------------------------------

    async def validate(self, submission: Submission, lease: Lease) -> Sequence[str]:
        """(6); a price above the ceiling is a reason too. Emulators of Nexus have no checker."""
        device = await self._device(submission.backend, lease)
        name = f"check {submission.job_id}"
        status = await self._check(device, name, submission.text, submission.shots, lease)
        if status is None:
            return ()
        if status.status != "COMPLETED":
            return (f"the syntax checker refuses it ({status.status.lower()})",)
        cents = _cents(status.cost)
        if cents is not None and cents > submission.cost_ceiling_cents:
            return (f"it would cost {cents / 100:.2f} {_CURRENCY}, more than may be spent",)
        return ()

    async def estimate(self, backend: str, program: Program, shots: int, lease: Lease) -> Money:
        """(6). The checker is no hardware, so the text needs no second opinion."""
        device = await self._device(backend, lease)
        try:
            text = emit(program, Dialect.PYTKET)
        except CircuitError as error:
            raise ProviderError(error.detail, sent=False, retryable=False) from error
        name = f"estimate {program.fingerprint[:16]}"
        status = await self._check(device, name, text, shots, lease)
        cents = _cents(status.cost) if status is not None else None
        if status is None or status.status != "COMPLETED" or cents is None:
            raise ProviderError("the vendor gives no estimate", sent=False, retryable=False)
        if cents < 0:
            raise VendorLied("its price is negative")
        return Money(cents, _CURRENCY)

    async def _check(
        self, device: str, name: str, text: bytes, shots: int, lease: Lease
    ) -> wire.Status | None:
        machine = _CHECKER.fullmatch(device)
        if machine is None:
            return None
        circuit = await self._upload(name, text, lease)
        item = {"program_id": circuit, "n_shots": shots}
        try:
            made = await self._post(name, f"{machine[1]}SC", item, {}, lease)
        except ProviderError as error:
            if error.sent or error.retryable:
                raise
            return wire.Status("REFUSED")
        for _ in range(_CHECKS):
            status = (await self._job(made, lease)).attributes.status
            if _state(status) in _FINAL:
                return status
            await asyncio.sleep(_CHECK_S)
        raise ProviderError("the syntax checker takes too long", sent=False, retryable=True)

    # -- jobs --------------------------------------------------------------------------------

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """(1) to (5)."""
        job_id = submission.job_id
        known = await self._tried.known(job_id, lambda: self.find(job_id, lease))
        if known is not None:
            return known
        try:
            device = await self._device(submission.backend, lease)
            circuit = await self._upload(job_id, submission.text, lease)
        except ProviderError as error:
            raise before_the_job(error) from error
        item = {
            "program_id": circuit,
            "n_shots": submission.shots,
            "max_cost": submission.cost_ceiling_cents / 100,  # (2)
        }
        self._tried.note(job_id)
        made = await self._post(job_id, device, item, properties(submission, lease), lease)
        self._tried.note(job_id, made)
        try:
            made = await self.find(job_id, lease) or made
        except ProviderError as error:
            log.warning("whether %s was delivered twice is not known: %s", job_id, error.detail)
        self._tried.note(job_id, made)
        return made

    async def _upload(self, name: str, text: bytes, lease: Lease) -> str:
        circuit = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        document = resource("circuit", {**circuit, "name": name}, held(lease).project)
        return (await self._call("POST", _CIRCUITS, lease, document)).read(wire.Receipt).data.id

    async def _post(
        self, name: str, device: str, item: Mapping[str, Any], tags: Mapping[str, str], lease: Lease
    ) -> str:
        mine = held(lease)
        job = resource("job", execution(name, device, item, tags, mine.user_group), mine.project)
        return (await self._call("POST", _JOBS, lease, job)).read(wire.Receipt).data.id

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """(1): by name, oldest first; what comes back must have it."""
        kept: str | None = None
        asked: dict[str, str | int] = {
            **_SCOPE, "filter[name_exact]": job_id, "filter[job_type]": "execute",
            "filter[project][id]": held(lease).project, "page[size]": _PAGE,
            "sort": "timestamps.created",
        }  # fmt: skip
        for number in range(_PAGES):
            params = {**asked, "page[number]": number}
            page = (await self._call("GET", _JOBS, lease, params=params)).read(wire.JobPage).data
            for job in page:
                if job.attributes.name != job_id:
                    continue
                if kept is None:
                    kept = job.id
                elif job.id != kept:
                    log.warning("%s was delivered twice: cancelling %s", job_id, job.id)
                    await self.cancel(job.id, lease)
            if len(page) < _PAGE:
                return kept
        raise ProviderError("the vendor lists too many jobs", sent=True, retryable=True)

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """Where the job is, and once it is over, what it cost in credits."""
        attributes = (await self._job(vendor_id, lease)).attributes
        told, state = attributes.status, _state(attributes.status)
        fingerprint = attributes.properties.get("cryogate_program", "")
        status = VendorStatus(
            state,
            runtime_ms=_runtime_ms(told),
            detail=told.status.lower() if state is VendorState.FAILED else "",
            job_id=attributes.name,
            fingerprint=fingerprint if isinstance(fingerprint, str) else "",
            queue_position=told.queue_position,
            backend=_named(attributes.definition.backend_config.device_name),
        )
        if state not in _FINAL:
            return status
        cents = _cents(told.cost)
        if cents is None:
            # Nexus's own emulators use no credits; a missing bill of a machine is not zero
            if attributes.definition.backend_config.device_name in self._unbilled:
                return structs.replace(status, cost_cents=0, currency=_CURRENCY)
            return (
                structs.replace(status, part_of_bound=(1, 1))
                if state is VendorState.DONE
                else status
            )
        return structs.replace(status, cost_cents=cents, currency=_CURRENCY)

    async def _job(self, vendor_id: str, lease: Lease) -> wire.Job:
        answer = await self._call("GET", f"{_JOBS}/{vendor_id}", lease, params=_SCOPE)
        job = answer.read(wire.JobDocument).data
        if job.id != vendor_id:
            raise VendorLied("it speaks of another job")
        return job

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """(3): counts over the program's classical bits."""
        program = needed(program)
        items = (await self._job(vendor_id, lease)).attributes.definition.items
        if len(items) != 1 or items[0].result_id is None or items[0].result_type != "PYTKET":
            raise VendorLied("its job has no single result of a circuit")
        path = f"{_RESULTS}/{items[0].result_id}"
        found = (await self._call("GET", path, lease, params=_SCOPE)).read(wire.ResultDocument).data
        ran = found.relationships.program.data
        if found.id != items[0].result_id or ran.type != "circuit":
            raise VendorLied("its result is of another job")
        if ran.id != items[0].program_id or not await self._same(ran.id, program, lease):
            raise VendorLied("it ran another circuit")
        return read_result(found.attributes, program)

    async def _same(self, circuit: str, program: Program, lease: Lease) -> bool:
        answer = await self._call("GET", f"{_CIRCUITS}/{circuit}", lease, params=_SCOPE)
        data = answer.read(wire.CircuitDocument).data
        members = {n: v for n, v in data.attributes.items() if n in CIRCUIT_MEMBERS}
        try:
            ran = parse_pytket(msgspec.json.encode(members), STORED)
        except CircuitError:
            return False
        return data.id == circuit and same_circuit(ran, program)

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Asks; a job that is over stays over."""
        path = f"{_JOBS}/{vendor_id}/rpc/cancel"
        await unless_over(self._call("POST", path, lease, {}, params=_SCOPE))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    async def _call(
        self,
        method: str,
        path: str,
        lease: Lease,
        document: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        headers = {"cookie": f"myqos_id={held(lease).token}"}
        return await self._http.ask(method, path, headers=headers, params=params, document=document)


def _named(device: str) -> str:
    return f"{_SCHEME}:{device.lower()}" if device else ""


def _state(status: wire.Status) -> VendorState:
    state = _STATES.get(status.status)
    if state is None:
        raise VendorLied("its job is in a state that there is not")
    return state


def _cents(credits_: Decimal | None) -> int | None:
    if credits_ is None:
        return None
    if not credits_.is_finite():
        raise VendorLied("its price is no number")
    return int((credits_ * 100).to_integral_value(ROUND_CEILING))


def _runtime_ms(told: wire.Status) -> int | None:
    if told.running_time is None or told.completed_time is None:
        return None
    try:
        spent = told.completed_time - told.running_time
    except TypeError:  # one with a zone and one without
        return None
    return max(0, int(spent.total_seconds() * 1000))
