"""IBM Quantum's REST API: the sampler, version 2.

(1) One program is one circuit with its shots: no parameters, no twirling, no dynamical decoupling,
    so that nothing multiplies what was priced.
(2) No idempotency key. Our job id is a tag, and jobs can be listed by tag: a job that was tried in
    this process is looked for before it is sent again.
(3) ``cost`` is the longest time in seconds that the job may run; IBM stops it there. It is as long
    as the job's reservation pays for, and `ibm.max_seconds` at most. The time that was used is
    charged, at the price book's rate.
(4) A circuit must be in the device's own gates and between coupled qubits; qubit numbers are the
    device's. What is not is refused here, before IBM would charge for finding out.
(5) IBM keeps what it was asked to run. Before a result is taken, that is held against the program.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final
from urllib.parse import quote

import msgspec

from cryogate.circuits import Dialect, Format, Program
from cryogate.circuits.gates import CANONICAL, NATIVE_NAMES
from cryogate.config import ConfigError
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease
from cryogate.ports.pricing import PriceBook
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
from cryogate.providers import ibm_wire as wire
from cryogate.providers.echo import check_echo
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


class IbmProvider(Provider):
    """Devices of one instance of IBM Quantum."""

    scheme = _SCHEME
    controls = frozenset({Control.TAGS, Control.MAX_TIME})
    reads_program = True
    lists_with_lease = True

    def __init__(
        self, http: VendorHttp, clock: Clock, *, max_seconds: int, book: PriceBook
    ) -> None:
        self._http, self._clock, self._max_seconds = http, clock, max_seconds
        self._book = book
        self._coupled: dict[str, frozenset[tuple[int, int]]] = {}
        self._tried = Tried()

    @classmethod
    def of(cls, setup: Setup) -> IbmProvider:
        """From the configuration."""
        config = setup.config
        if setup.book is None:
            raise ConfigError("ibm bills by time: it needs a price book")
        http = VendorHttp(config.ibm.url, setting="ibm.url", ca_file=config.providers.ca_file)
        return cls(http, setup.clock, max_seconds=config.ibm.max_seconds, book=setup.book)

    # -- devices -----------------------------------------------------------------------------

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """The instance's devices, with gates, limits and queue."""
        if lease is None:
            raise ProviderError("IBM lists devices for a lease", sent=False, retryable=True)
        page = (await self._call("GET", "/backends", lease)).read(wire.Devices)
        coupled: dict[str, frozenset[tuple[int, int]]] = {}
        limits = (self._own_limit(), *await self._instance(lease))
        found = []
        for listed in page.devices:
            path = f"/backends/{listed.name}"
            said = (await self._call("GET", f"{path}/configuration", lease)).read(
                wire.Configuration
            )
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
                    vendor_limits=limits,
                )
            )
        self._coupled = coupled
        return found

    def _own_limit(self) -> VendorLimit:
        return VendorLimit(Control.MAX_TIME, "job", "seconds", self._max_seconds, by_gateway=True)

    async def _instance(self, lease: Lease) -> Sequence[VendorLimit]:
        """The instance's own limit of time, which an operator sets; nothing if there is none."""
        try:
            said = (await self._call("GET", "/instances/usage", lease)).read(wire.Instance)
        except ProviderError:
            return ()
        used, left = said.usage_consumed_seconds, said.usage_remaining_seconds
        most = said.usage_limit_seconds
        if most is None and used is not None and left is not None:
            most = used + left
        if most is None or not 0 <= most < 1 << 40:
            return ()
        whole = None if used is None or not 0 <= used < 1 << 40 else math.ceil(used)
        return (VendorLimit(Control.MAX_TIME, "instance", "seconds", int(most), whole),)

    async def _calibrated_ms(self, path: str, lease: Lease) -> int | None:
        try:
            said = (await self._call("GET", f"{path}/properties", lease)).read(wire.Properties)
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
        seconds = self._seconds(submission)
        self._tried.note(job_id)
        document = {
            "program_id": "sampler",
            "backend": submission.backend.partition(":")[2],
            "cost": seconds,
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
        made = (await self._call("POST", "/jobs", lease, document)).read(wire.Created)
        self._tried.note(job_id, made.id)
        return made.id

    def _seconds(self, submission: Submission) -> int:
        """(3)."""
        rate = self._rate(submission.backend)
        if rate == 0:
            return self._max_seconds
        seconds = min(self._max_seconds, int(submission.cost_ceiling_cents / rate))
        if seconds < 1:
            raise ProviderError(
                "its reservation does not pay for a second", sent=False, retryable=False
            )
        return seconds

    def _rate(self, backend: str) -> Fraction:
        rate = self._book.per_second(backend)
        if rate is None:
            raise ProviderError(
                "the price book has no price by the second for it", sent=False, retryable=False
            )
        return rate

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """(2): by tag; what comes back must carry it."""
        path = f"/jobs?exclude_params=true&limit=20&tags={quote(_JOB + job_id, safe='')}"
        for job in (await self._call("GET", path, lease)).read(wire.Jobs).jobs:
            if _JOB + job_id in job.tags:
                return job.id
        return None

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """(3)."""
        job = await self._job(vendor_id, lease)
        state = _STATES.get(job.state.status.lower())
        if state is None:
            raise VendorLied("its job is in a state that there is not")
        metrics = (await self._call("GET", f"/jobs/{vendor_id}/metrics", lease)).read(wire.Metrics)
        used = metrics.usage.qpu_charge_time_seconds
        backend = f"{_SCHEME}:{job.backend}" if job.backend else ""
        cents = None  # a bill that is not there yet is not zero
        if state in _FINAL and used is not None:
            if not 0 <= used <= 10 * self._max_seconds:
                raise VendorLied("it charges a time that the job cannot have run")
            rate = self._book.per_second(backend) if backend else None
            cents = None if rate is None else math.ceil(Fraction(used) * rate)
        code = job.state.reason_code
        return VendorStatus(
            state,
            cents,
            part_of_bound=(1, 1) if state is VendorState.DONE and used is None else None,
            runtime_ms=None if used is None else int(used * 1000),
            detail=f"code {code}" if state is VendorState.FAILED and code is not None else "",
            job_id=_tagged(job.tags, _JOB),
            fingerprint=_tagged(job.tags, _PROGRAM),
            queue_position=metrics.position_in_queue,
            backend=backend,
        )

    async def _job(self, vendor_id: str, lease: Lease) -> wire.Job:
        path = f"/jobs/{vendor_id}?exclude_params=true"
        job = (await self._call("GET", path, lease)).read(wire.Job)
        if job.id != vendor_id:
            raise VendorLied("it speaks of another job")
        return job

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """Counts over the program's classical bits, and memory."""
        program = needed(program)
        await self._check_echo(vendor_id, lease, program)
        found = (await self._call("GET", f"/jobs/{vendor_id}/results", lease)).read(wire.Result)
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

    async def _check_echo(self, vendor_id: str, lease: Lease, program: Program) -> None:
        """(5). What IBM keeps elsewhere, or in another form, it does not tell: that is no lie."""
        ran = (await self._call("GET", f"/jobs/{vendor_id}", lease)).read(wire.Ran)
        if ran.id != vendor_id:
            raise VendorLied("it speaks of another job")
        try:
            pubs = msgspec.json.decode(ran.params, type=wire.Asked).pubs
        except msgspec.MsgspecError:
            return
        if not pubs:
            return
        if len(pubs) != 1 or not pubs[0]:
            raise VendorLied("it was asked for another number of circuits")
        try:
            source = msgspec.json.decode(pubs[0][0], type=str)
        except msgspec.MsgspecError:
            return
        await check_echo(source.encode(), Format.OPENQASM3, program, Dialect.OPENQASM3)

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
            held = msgspec.json.decode(lease.secret.reveal(), type=wire.Held)
        except msgspec.MsgspecError:
            raise ProviderError("the lease holds no token", sent=False, retryable=False) from None
        headers = {
            "authorization": f"Bearer {held.token}",
            "service-crn": held.crn,
            "ibm-api-version": _VERSION,
        }
        return await self._http.ask(method, path, headers=headers, document=document)


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
