"""Simulators on this machine: ``local:aer``, ``local:null`` that runs nothing, and noisy ones.

A noisy one is ``local:noisy-NAME``: a profile of the configuration, whose figures go to the worker
with each job. The worker makes a small, uniform noise model of them once, and keeps it.

qiskit is imported only by the worker process, which has hard limits on memory and CPU. Jobs live
in memory: after a restart `find` says "never had it", and a simulator's job may be run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.circuits import (
    GuardedPool,
    Program,
    WorkerFailed,
    WorkerLimits,
)
from cryogate.circuits.gates import CANONICAL, NATIVE_NAMES
from cryogate.config.local import Local, NoiseTable
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import (
    Backend,
    Ended,
    Noise,
    Provider,
    ProviderError,
    RawResult,
    Submission,
    VendorState,
    VendorStatus,
)
from cryogate.providers.setup import Setup

AER_ENTRYPOINT: Final = "cryogate.providers.aer_worker:entrypoint"
_SCHEME: Final = "local"
_AER, _NULL = "local:aer", "local:null"
_FEATURES: Final = frozenset(
    {"classical_control", "mid_circuit_measurement", "parameters", "reset"}
)
_STANDARD: Final = frozenset(CANONICAL) - NATIVE_NAMES
_BACKENDS: Final = (
    Backend(_AER, _SCHEME, True, 24, 100_000, _STANDARD, _FEATURES),
    Backend(_NULL, _SCHEME, True, 1024, 1_000_000, frozenset(CANONICAL), _FEATURES),
)
#: 2**24 amplitudes of 16 bytes are 256 MiB, and the libraries' address space comes on top.
_AER_LIMITS: Final = WorkerLimits(memory_bytes=4 << 30, cpu_seconds=120, max_reply_bytes=1 << 25)
_AER_TIMEOUT_S: Final = 180.0
_KEPT: Final = 4096
_COUNTS: Final = msgspec.json.Decoder(dict[str, int])


@dataclass(slots=True, eq=False)
class _Run:
    vendor_id: str
    status: VendorStatus
    result: RawResult | None = None
    task: asyncio.Task[None] | None = None


class LocalProvider(Provider):
    """The local backends. ``kept`` is how many finished jobs stay readable."""

    scheme = _SCHEME

    def __init__(
        self,
        pool: GuardedPool | None = None,
        *,
        kept: int = _KEPT,
        noise: Sequence[NoiseTable] = (),
        seed: int | None = None,
    ) -> None:
        self._pool = pool or GuardedPool(
            AER_ENTRYPOINT, limits=_AER_LIMITS, request_timeout_s=_AER_TIMEOUT_S
        )
        self._kept, self._seed = kept, seed
        noisy = [_noisy(table, seeded=seed is not None) for table in noise]
        self._backends = {backend.name: backend for backend in (*_BACKENDS, *noisy)}
        self._warm = False
        self._by_job: dict[str, _Run] = {}
        self._by_id: dict[str, _Run] = {}
        self._ended: dict[str, str] = {}

    @classmethod
    def of(cls, setup: Setup) -> LocalProvider:
        """From the configuration."""
        local: Local = setup.config.local
        return cls(noise=local.offered(), seed=local.seed)

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """All of them; the first call starts the simulator's worker in the background."""
        if not self._warm:
            self._warm = True
            self._pool.prewarm()
        return tuple(self._backends.values())

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """Accept the job, once: the same ``job_id`` again gives the same vendor id."""
        known = self._by_job.get(submission.job_id)
        if known is not None:
            return known.vendor_id
        backend = self._backends.get(submission.backend)
        if backend is None:
            raise ProviderError("no such backend", sent=False, retryable=False)
        run = _Run(f"local-{secrets.token_hex(8)}", VendorStatus(VendorState.RUNNING))
        if submission.backend == _NULL:
            counts = {"0" * submission.program.clbits: submission.shots}
            run.result = RawResult(counts, submission.shots)
            run.status = VendorStatus(
                VendorState.DONE, cost_cents=submission.cost_ceiling_cents, runtime_ms=0
            )
        else:
            payload = _payload(submission, backend.noise, self._seed)
            about = {} if backend.noise is None else {"noise": backend.noise.profile}
            run.task = asyncio.create_task(self._simulate(run, payload, submission, about))
        self._by_job[submission.job_id] = self._by_id[run.vendor_id] = run
        if run.task is None:
            self._retain(submission.job_id, run)
        else:
            run.task.add_done_callback(lambda _: self._retain(submission.job_id, run))
        return run.vendor_id

    def ended(self, vendor_id: str) -> Ended | None:
        """What needed no simulation is over when it was submitted."""
        run = self._run(vendor_id)
        return Ended(run.status, run.result) if run.task is None else None

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """The vendor id, while the job is in memory."""
        run = self._by_job.get(job_id)
        return None if run is None else run.vendor_id

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """Where the job is."""
        return self._run(vendor_id).status

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """The result of a job that is done."""
        result = self._run(vendor_id).result
        if result is None:
            raise ProviderError("the job has no result", sent=True, retryable=False)
        return result

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Stop the simulation; its worker is killed with it."""
        task = self._run(vendor_id).task
        if task is not None and not task.done():
            task.cancel()

    async def wait(self, vendor_id: str, lease: Lease) -> VendorStatus | None:
        """The final status, as soon as there is one."""
        run = self._run(vendor_id)
        if run.task is not None:
            await asyncio.wait({run.task})
        return run.status

    async def close(self) -> None:
        """Stop every simulation and the worker."""
        tasks = [run.task for run in self._by_id.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.close()

    def _run(self, vendor_id: str) -> _Run:
        run = self._by_id.get(vendor_id)
        if run is None:
            raise ProviderError("the simulator does not know the job", sent=True, retryable=False)
        return run

    async def _simulate(
        self, run: _Run, payload: bytes, submission: Submission, about: Mapping[str, str]
    ) -> None:
        began = time.monotonic_ns()
        state, detail, cost_cents = VendorState.FAILED, "", 0
        try:
            counts = _COUNTS.decode(await self._pool.call(payload))
            run.result = RawResult(counts, submission.shots, metadata=about)
            # its price is nominal: charged, so that budgets are exercised, and billed to nobody
            state, cost_cents = VendorState.DONE, submission.cost_ceiling_cents
        except asyncio.CancelledError:
            state, detail = VendorState.CANCELLED, "cancelled"
        except WorkerFailed as error:
            detail = f"simulator: {error}"
        except msgspec.DecodeError:
            detail = "simulator: its answer could not be read"
        runtime_ms = (time.monotonic_ns() - began) // 1_000_000
        run.status = VendorStatus(
            state, cost_cents=cost_cents, runtime_ms=runtime_ms, detail=detail
        )

    def _retain(self, job_id: str, run: _Run) -> None:
        if run.status.state is VendorState.RUNNING:
            # Cancelled before its first step: the coroutine never ran.
            run.status = VendorStatus(VendorState.CANCELLED, cost_cents=0, detail="cancelled")
        self._ended[job_id] = run.vendor_id
        while len(self._ended) > self._kept:
            oldest = next(iter(self._ended))
            with contextlib.suppress(KeyError):
                del self._by_id[self._ended.pop(oldest)]
                del self._by_job[oldest]


def _noisy(table: NoiseTable, *, seeded: bool) -> Backend:
    return Backend(
        f"{_SCHEME}:noisy-{table.name}",
        _SCHEME,
        True,
        table.qubits,
        table.max_shots,
        _STANDARD,
        _FEATURES,
        noise=Noise(
            table.name,
            table.one_qubit_error,
            table.two_qubit_error,
            table.readout_error,
            table.reset_error,
            seeded,
        ),
    )


def _payload(submission: Submission, noise: Noise | None, seed: int | None) -> bytes:
    head: dict[str, object] = {"shots": submission.shots}
    if noise is not None:
        head["noise"] = [
            noise.one_qubit_error, noise.two_qubit_error, noise.readout_error, noise.reset_error,
        ]  # fmt: skip
    if seed is not None:
        # of the circuit as well: otherwise all circuits would share one run of luck
        text = f"{seed}:{submission.backend}:{submission.program.fingerprint}:{submission.shots}"
        head["seed"] = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
    return msgspec.json.encode(head) + b"\n" + submission.program.to_bytes()
