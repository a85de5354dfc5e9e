"""Which authorised experiment does a circuit come from? Compares it with what experiments ran.

For people who look into an alert. It decides nothing, holds a store that can only be read, and its
work is bounded: so many experiments, so many programs, so many bytes; what was left out is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from cryogate.circuits import CircuitError, Program
from cryogate.circuits.similarity import Features, alike, features
from cryogate.domain.errors import NotFound
from cryogate.domain.ids import JOB, is_minted
from cryogate.gateway.standing import number, text
from cryogate.ports.audit import rfc3339
from cryogate.ports.store import ReadStore

_EXPERIMENTS = 200
_JOBS_EACH = 50
_BYTES = 4 << 20


class Likeness(msgspec.Struct, frozen=True):
    """An experiment and its job whose program is most like the circuit."""

    experiment_id: str
    purpose: str
    owner: str
    classification: str
    similarity: float
    same_circuit: bool
    job_id: str
    circuit_sha256: str
    created_at: str


class LikenessReport(msgspec.Struct, frozen=True):
    """Experiments by how alike, the most alike first."""

    circuit_sha256: str
    experiment_id: str | None
    items: tuple[Likeness, ...]
    compared: int
    left_out: int


class _Job(NamedTuple):
    job_id: str
    circuit_sha256: str
    size: int
    created_ms: int


class Likenesses:
    """Finds where a circuit comes from."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    async def of_job(self, job_id: str, limit: int) -> LikenessReport:
        """Of the program of a job, among all other jobs.

        Raises:
            NotFound: no such job.
        """
        row = None
        if is_minted(job_id, JOB):
            row = await self._store.fetch_one("likeness_program", {"job_id": job_id})
        program = None if row is None else _read(text(row, "program"))
        if row is None or program is None:
            raise NotFound("job_not_found", "no such job")
        return await self._report(program, job_id, text(row, "experiment_id"), limit)

    async def of_program(self, program: Program, limit: int) -> LikenessReport:
        """Of a circuit that is no job."""
        return await self._report(program, "", None, limit)

    async def _report(
        self, program: Program, job_id: str, experiment_id: str | None, limit: int
    ) -> LikenessReport:
        wanted = await asyncio.to_thread(features, program)
        known: dict[str, float] = {program.fingerprint: 1.0}
        left, compared, left_out = _BYTES, 0, 0
        found: list[Likeness] = []
        for row in await self._store.fetch("likeness_experiments", {"limit": _EXPERIMENTS}):
            name = text(row, "experiment_id")
            best: tuple[float, bool, _Job] | None = None
            for job in await self._jobs(name, job_id):
                if job.circuit_sha256 not in known:
                    if job.size > left:
                        left_out += 1
                        continue
                    left -= job.size
                    known[job.circuit_sha256] = await self._compare(job, wanted)
                    compared += 1
                value = known[job.circuit_sha256]
                same = job.circuit_sha256 == program.fingerprint
                if best is None or (value, same) > best[:2]:
                    best = (value, same, job)
            if best is not None:
                value, same, job = best
                found.append(
                    Likeness(
                        experiment_id=name,
                        purpose=text(row, "purpose"),
                        owner=text(row, "owner"),
                        classification=text(row, "classification"),
                        similarity=round(value, 4),
                        same_circuit=same,
                        job_id=job.job_id,
                        circuit_sha256=job.circuit_sha256,
                        created_at=rfc3339(job.created_ms),
                    )
                )
        found.sort(key=lambda item: (-item.similarity, not item.same_circuit, item.experiment_id))
        items = tuple(found[:limit])
        return LikenessReport(program.fingerprint, experiment_id, items, compared, left_out)

    async def _jobs(self, experiment_id: str, but: str) -> Iterable[_Job]:
        """The newest job of each circuit."""
        rows = await self._store.fetch(
            "likeness_jobs", {"experiment_id": experiment_id, "job_id": but, "limit": _JOBS_EACH}
        )
        newest: dict[str, _Job] = {}
        for row in rows:
            job = _Job(
                text(row, "job_id"), text(row, "circuit_sha256"), number(row, "size"),
                number(row, "created_ms"),
            )  # fmt: skip
            newest.setdefault(job.circuit_sha256, job)
        return newest.values()

    async def _compare(self, job: _Job, wanted: Features) -> float:
        row = await self._store.fetch_one("likeness_program", {"job_id": job.job_id})
        if row is None:
            return 0.0
        return await asyncio.to_thread(_alike, text(row, "program"), wanted)


def _alike(stored: str, wanted: Features) -> float:
    program = _read(stored)
    return 0.0 if program is None else alike(features(program), wanted)


def _read(stored: str) -> Program | None:
    try:
        return Program.from_bytes(stored.encode())
    except CircuitError:
        return None
