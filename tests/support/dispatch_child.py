"""A dispatcher in a process of its own that kills itself at the step it is told.

A step is a moment before or after a commit, or before or after a vendor call had its effect. The
vendor is a file: what it accepted survives the process, and it never notices a repeated job.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryogate.circuits import SECOND_OPINION_ENTRYPOINT, GuardedPool, Program
from cryogate.credentials import EmbeddedLeases
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch import Dispatcher
from cryogate.gateway.dispatch_desk import DispatchLimits
from cryogate.gateway.second_reading import SecondReader
from cryogate.governance.budgets import SqlLedger
from cryogate.ports.clock import SystemClock
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import (
    Backend,
    Ended,
    Provider,
    RawResult,
    Submission,
    VendorState,
    VendorStatus,
)
from cryogate.ports.revocations import RevocationView, RevokedKind, Subject
from cryogate.ports.store import Row, SqlValue, Store, UnitOfWork
from cryogate.storage import SqliteStore

FAST, SLOW = "fast", "slow"
JOBS = (FAST, SLOW)
COST_CENTS = 40


class Steps:
    """Counts the steps; at the fatal one its name is left in ``grave`` and the process dies."""

    def __init__(self, fatal: int, grave: Path) -> None:
        self.count = 0
        self._fatal, self._grave = fatal, grave

    def step(self, name: str) -> None:
        self.count += 1
        if self.count == self._fatal:
            self._grave.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)


class SteppedStore(Store):
    """The real store; a process may die on either side of each commit."""

    def __init__(self, inner: Store, steps: Steps) -> None:
        self._inner, self._steps = inner, steps

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        return await self._inner.fetch(query, params)

    async def commit(self, work: UnitOfWork) -> Sequence[Sequence[Row]]:
        name = work.statements[0].name if work.statements else "events"
        self._steps.step(f"before {name}")
        rows = await self._inner.commit(work)
        self._steps.step(f"after {name}")
        return rows


DEVICE = Backend("local:null", "local", True, 32, 10**6, frozenset(), frozenset())


class FileVendor(Provider):
    """Accepts whatever it is sent, as often as it is sent, and writes that down."""

    scheme = "local"

    def __init__(self, journal: Path, store: Store, steps: Steps) -> None:
        self._journal, self._store, self._steps = journal, store, steps
        self._polls = 0

    def accepted(self) -> list[dict[str, object]]:
        if not self._journal.exists():
            return []
        return [json.loads(line) for line in self._journal.read_text().splitlines()]

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        return (DEVICE,)

    async def submit(self, submission: Submission, lease: Lease) -> str:
        self._steps.step("before the vendor has it")
        row = await self._store.fetch_one("dispatch_attempts", {"job_id": submission.job_id})
        entry = {"job": submission.job_id, "intents": None if row is None else row["attempts"]}
        with self._journal.open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._steps.step("after the vendor has it")
        return f"v-{submission.job_id}"

    def ended(self, vendor_id: str) -> Ended | None:
        if vendor_id == f"v-{SLOW}":
            return None
        return Ended(VendorStatus(VendorState.DONE, COST_CENTS, 5), None)

    async def find(self, job_id: str, lease: Lease) -> str | None:
        self._steps.step("looking for it")
        known = any(entry["job"] == job_id for entry in self.accepted())
        return f"v-{job_id}" if known else None

    async def wait(self, vendor_id: str, lease: Lease) -> VendorStatus | None:
        if vendor_id == f"v-{SLOW}":
            return None
        return VendorStatus(VendorState.DONE, COST_CENTS, 5)

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        self._polls += 1
        if vendor_id == f"v-{SLOW}" and self._polls < 2:
            return VendorStatus(VendorState.RUNNING)
        return VendorStatus(VendorState.DONE, COST_CENTS, 5)

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        self._steps.step("before its result")
        return RawResult({"0": 6, "1": 4}, 10)

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        raise AssertionError("nobody asked for this")


class NothingRevoked(RevocationView):
    def revoked(self, subject: Subject) -> RevokedKind | None:
        return None

    async def refresh(self) -> None:
        return


async def main(directory: Path, fatal: int) -> None:
    clock, steps = SystemClock(), Steps(fatal, directory / "grave")
    store = SteppedStore(SqliteStore(directory / "db", clock), steps)
    await store.open()
    changes = JobChanges()
    dispatcher = Dispatcher(
        store=store,
        clock=clock,
        providers={"local": FileVendor(directory / "vendor", store, steps)},
        leases=EmbeddedLeases(clock),
        ledger=SqlLedger(store),
        revocations=NothingRevoked(),
        changes=changes,
        devices=lambda: {DEVICE.name: DEVICE},
        reader=SecondReader(GuardedPool(SECOND_OPINION_ENTRYPOINT)),
        replica_id="only",
        limits=DispatchLimits(
            quiet_ms=0, retry_min_ms=1, poll_min_ms=1, poll_max_ms=2, claim_grace_ms=0, drain_ms=1
        ),
    )
    await dispatcher.start()
    running = asyncio.create_task(dispatcher.run())
    for job_id in JOBS:
        with changes.watch(job_id) as watch:
            while True:
                row = await store.fetch_one("job_view", {"job_id": job_id})
                if row is not None and row["state"] in ("done", "failed"):
                    break
                await watch.changed(1.0)
    await dispatcher.close()
    await running
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
