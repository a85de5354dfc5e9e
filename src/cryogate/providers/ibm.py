"""IBM Quantum's REST API: the sampler, version 2.

(1) One program is one circuit with its shots: no parameters, no twirling, no dynamical decoupling,
    so that nothing multiplies what was priced.
(2) No idempotency key. Our job id is a tag, and jobs can be listed by tag: a job that was tried in
    this process is looked for before it is sent again.
(3) ``cost`` is the longest time in seconds that the job may run; IBM stops it there. The price book
    bounds the same time (`ibm.max_seconds`), and the part that was used is charged.
(4) A circuit must be in the device's own gates and between coupled qubits; qubit numbers are the
    device's. What is not is refused here, before IBM would charge for finding out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec

from cryogate.circuits import Dialect, Program
from cryogate.circuits.gates import CANONICAL, NATIVE_NAMES
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
from cryogate.providers.http import Answer, VendorHttp, unless_over
from cryogate.providers.readouts import joined, needed, of_memory
from cryogate.providers.setup import Setup
from cryogate.providers.tried import Tried

_SCHEME: Final = "ibm"
_VERSION: Final = "2026-04-15"
_STATES: Final = {
    "queued": VendorState.QUEUED, "running": VendorState.RUNNING, "completed": VendorState.DONE,
    "failed": VendorState.FAILED, "cancelled": VendorState.CANCELLED,
    "cancelled - ran too long": VendorState.FAILED,
}  # fmt: skip
_FINAL: Final = frozenset({VendorState.DONE, VendorState.FAILED, VendorState.CANCELLED})
_JOB, _PROGRAM = "cryogate-job:", "cryogate-program:"
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"\A[A-Za-z0-9_-]+\Z")]
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9_]{1,60}\Z")]


class _Held(msgspec.Struct):
    token: str
    crn: str

    def __repr__(self) -> str:
        return "_Held(…)"


class _Status(msgspec.Struct):
    name: str


class _Listed(msgspec.Struct):
    name: _Name
    status: _Status
    is_simulator: bool = False
    queue_length: int | None = None


class _Devices(msgspec.Struct):
    devices: tuple[_Listed, ...]


class _Configuration(msgspec.Struct):
    n_qubits: int
    basis_gates: tuple[str, ...]
    max_shots: int
    coupling_map: tuple[tuple[int, int], ...] | None = None


class _Properties(msgspec.Struct):
    last_update_date: str = ""


class _Created(msgspec.Struct):
    id: _Id


class _State(msgspec.Struct):
    status: str
    reason_code: int | None = None


class _Job(msgspec.Struct):
    id: _Id
    state: _State
    tags: tuple[str, ...] = ()


class _Jobs(msgspec.Struct):
    jobs: tuple[_Job, ...]


class _Usage(msgspec.Struct):
    qpu_charge_time_seconds: float | None = None


class _Metrics(msgspec.Struct):
    usage: _Usage = msgspec.field(default_factory=_Usage)
    position_in_queue: int | None = None


class _Bits(msgspec.Struct):
    samples: tuple[str, ...]
    num_bits: int


class _Pub(msgspec.Struct):
    data: dict[str, _Bits]


class _Result(msgspec.Struct):
    results: tuple[_Pub, ...]


class IbmProvider(Provider):
    """Devices of one instance of IBM Quantum."""

    scheme = _SCHEME
    controls = frozenset({Control.TAGS, Control.MAX_TIME})
    reads_program = True
    lists_with_lease = True

    def __init__(self, http: VendorHttp, clock: Clock, *, max_seconds: int) -> None:
        self._http, self._clock, self._max_seconds = http, clock, max_seconds
        self._coupled: dict[str, frozenset[tuple[int, int]]] = {}
        self._tried = Tried()

    @classmethod
    def of(cls, setup: Setup) -> IbmProvider:
        """From the configuration."""
        config = setup.config
        http = VendorHttp(config.ibm.url, setting="ibm.url", ca_file=config.providers.ca_file)
        return cls(http, setup.clock, max_seconds=config.ibm.max_seconds)

    # -- devices -----------------------------------------------------------------------------

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """The instance's devices, with gates, limits and queue."""
        if lease is None:
            raise ProviderError("IBM lists devices for a lease", sent=False, retryable=True)
        page = (await self._call("GET", "/backends", lease)).read(_Devices)
        coupled: dict[str, frozenset[tuple[int, int]]] = {}
        found = []
        for listed in page.devices:
            path = f"/backends/{listed.name}"
            said = (await self._call("GET", f"{path}/configuration", lease)).read(_Configuration)
            name = f"{_SCHEME}:{listed.name}"
            if said.coupling_map is not None:
                coupled[name] = frozenset(said.coupling_map)
            gates = frozenset(said.basis_gates) & (CANONICAL.keys() - NATIVE_NAMES)
            found.append(
                Backend(
                    name,
                    _SCHEME,
                    listed.is_simulator,
                    said.n_qubits,
                    said.max_shots,
                    frozenset(gates),
                    frozenset({"parameters"}),
                    status="online" if listed.status.name == "online" else "offline",
                    calibrated_ms=await self._calibrated_ms(path, lease),
                    dialect=Dialect.OPENQASM3,
                    native_gates=frozenset(said.basis_gates),
                    queue=listed.queue_length,
                )
            )
        self._coupled = coupled
        return found

    async def _calibrated_ms(self, path: str, lease: Lease) -> int | None:
        try:
            said = (await self._call("GET", f"{path}/properties", lease)).read(_Properties)
            at = datetime.fromisoformat(said.last_update_date)
        except (ProviderError, ValueError):
            return None
        return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)

    async def validate(self, submission: Submission, lease: Lease) -> Sequence[str]:
        """(4), without asking IBM."""
        coupled = self._coupled.get(submission.backend)
        if coupled is None:
            return ()
        apart = {
            op.qubits
            for op in submission.program.operations()
            if len(op.qubits) > 1 and op.name != "barrier"
            and op.qubits not in coupled and op.qubits[::-1] not in coupled
        }  # fmt: skip
        return tuple(f"qubits {list(pair)} are not coupled" for pair in sorted(apart)[:8])

    # -- jobs --------------------------------------------------------------------------------

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """(1) to (4)."""
        job_id = submission.job_id
        known = await self._tried.known(job_id, lambda: self.find(job_id, lease))
        if known is not None:
            return known
        wrong = await self.validate(submission, lease)
        if wrong:
            raise ProviderError(wrong[0], sent=False, retryable=False)
        self._tried.note(job_id)
        document = {
            "program_id": "sampler",
            "backend": submission.backend.partition(":")[2],
            "cost": self._max_seconds,
            "tags": [
                _JOB + job_id,
                _PROGRAM + submission.program.fingerprint,
                f"cryogate-experiment:{submission.experiment_id}",
            ],
            "params": {
                "version": 2,
                "pubs": [[submission.text.decode("ascii"), None, submission.shots]],
                "options": {
                    "dynamical_decoupling": {"enable": False},
                    "twirling": {"enable_gates": False, "enable_measure": False},
                },
            },
        }
        made = (await self._call("POST", "/jobs", lease, document)).read(_Created)
        self._tried.note(job_id, made.id)
        return made.id

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """(2): by tag; what comes back must carry it."""
        path = f"/jobs?exclude_params=true&limit=20&tags={quote(_JOB + job_id, safe='')}"
        for job in (await self._call("GET", path, lease)).read(_Jobs).jobs:
            if _JOB + job_id in job.tags:
                return job.id
        return None

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """(3)."""
        job = await self._job(vendor_id, lease)
        state = _STATES.get(job.state.status.lower())
        if state is None:
            raise VendorLied("its job is in a state that there is not")
        metrics = (await self._call("GET", f"/jobs/{vendor_id}/metrics", lease)).read(_Metrics)
        used = metrics.usage.qpu_charge_time_seconds
        part = None
        if state in _FINAL and used is not None:
            if not 0 <= used <= 10 * self._max_seconds:
                raise VendorLied("it charges a time that the job cannot have run")
            part = (int(used * 1000), self._max_seconds * 1000)
        elif state is VendorState.DONE:
            part = (1, 1)  # a bill that is not there yet is not zero
        code = job.state.reason_code
        return VendorStatus(
            state,
            runtime_ms=None if used is None else int(used * 1000),
            detail=f"code {code}" if state is VendorState.FAILED and code is not None else "",
            job_id=_tagged(job.tags, _JOB),
            fingerprint=_tagged(job.tags, _PROGRAM),
            queue_position=metrics.position_in_queue,
            part_of_bound=part,
        )

    async def _job(self, vendor_id: str, lease: Lease) -> _Job:
        path = f"/jobs/{vendor_id}?exclude_params=true"
        job = (await self._call("GET", path, lease)).read(_Job)
        if job.id != vendor_id:
            raise VendorLied("it speaks of another job")
        return job

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """Counts over the program's classical bits, and memory."""
        program = needed(program)
        found = (await self._call("GET", f"/jobs/{vendor_id}/results", lease)).read(_Result)
        if len(found.results) != 1:
            raise VendorLied("its result is of another number of circuits")
        data = found.results[0].data
        shots = None
        columns = []
        for number, size in enumerate(program.registers):
            bits = data.get(f"c{number}")
            if bits is None or bits.num_bits != size:
                raise VendorLied("its result lacks a register of the program")
            if shots not in (None, len(bits.samples)):
                raise VendorLied("the registers in its result differ in shots")
            shots = len(bits.samples)
            columns.append([_text(sample, size) for sample in bits.samples])
        return of_memory(joined(columns))

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Asks; a job that is over stays over."""
        await unless_over(self._call("POST", f"/jobs/{vendor_id}/cancel", lease))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    async def _call(
        self, method: str, path: str, lease: Lease, document: Mapping[str, Any] | None = None
    ) -> Answer:
        try:
            held = msgspec.json.decode(lease.secret.reveal(), type=_Held)
        except msgspec.MsgspecError:
            raise ProviderError("the lease holds no token", sent=False, retryable=False) from None
        headers = {
            "authorization": f"Bearer {held.token}",
            "service-crn": held.crn,
            "ibm-api-version": _VERSION,
            "accept": "application/json",
        }
        body = None
        if document is not None:
            headers["content-type"] = "application/json"
            body = msgspec.json.encode(document)
        return await self._http.call(method, path, headers=headers, content=body)


def _tagged(tags: Sequence[str], prefix: str) -> str:
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), "")


def _text(sample: str, size: int) -> str:
    digits = sample.removeprefix("0x")
    if digits == sample or len(digits) > size // 4 + 1:
        raise VendorLied("its result has a sample that is none")
    try:
        value = int(digits, 16)
    except ValueError:
        raise VendorLied("its result has a sample that is none") from None
    if value < 0 or value >> size:
        raise VendorLied("its result has more bits than the program")
    return format(value, f"0{size}b")
