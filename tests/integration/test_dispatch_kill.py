"""B2, L3: the dispatcher is killed at every step there is, and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.dispatch_child import COST_CENTS, JOBS
from tests.support.governance import PAYER, ROWS, World, hold_of

from cryogate.circuits import Format, parse_flat
from cryogate.ports.store import Statement, UnitOfWork
from cryogate.storage import SqliteStore
from cryogate.storage.statements import SQL_DIR
from cryogate.testing.clock import FakeClock

#: Where a crash must have been tried: both sides of every record, and of the vendor's receipt.
POINTS = {
    f"{side} {name}"
    for side in ("before", "after")
    for name in (
        "dispatch_claim_queued", "dispatch_intend", "the vendor has it", "dispatch_submitted",
        "dispatch_finish",
    )
} | {"before its result"}  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]
BOUND_CENTS = 100
PROGRAM = parse_flat(
    b'OPENQASM 2.0;include "qelib1.inc";qreg q[1];creg c[1];h q[0];measure q -> c;',
    Format.OPENQASM2,
)


def opened(directory: Path, clock: FakeClock) -> SqliteStore:
    return SqliteStore(directory / "db", clock, sql_directories=(SQL_DIR, ROWS))


async def prepare(directory: Path) -> None:
    """Two accepted jobs, each with its hold."""
    clock = FakeClock()
    store = opened(directory, clock)
    await store.open()
    w = World(store, clock)
    await w.setup()
    for job_id in JOBS:
        hold = hold_of(job_id, cents=BOUND_CENTS)
        accept = Statement(
            "accept_job",
            {
                "job_id": job_id, "agent_id": "a1", "owner": "o", "experiment_id": "e1",
                "token_id": "t1", "token_issued_ms": 0, "session_id": None,
                "backend": "local:null", "shots": hold.shots, "state": "queued",
                "circuit_sha256": PROGRAM.fingerprint,
                "program": PROGRAM.to_bytes().decode("ascii"), "facts": "{}", "results": "raw",
                "currency": "USD", "cost_bound_cents": BOUND_CENTS, "policy_digest": "d",
                "approval_id": None, "idempotency_key": None, "request_sha256": "r",
                "metadata": "{}", "price_currency": "", "rate": "",
                "claimed_by": None, "claim_fence": 0, "claim_until_ms": 0, "now_ms": 1000,
            },
        )  # fmt: skip
        await store.commit(UnitOfWork((accept, *w.ledger.reserve(hold, PAYER, 1000))))
    await store.close()


def run(directory: Path, fatal: int) -> int:
    """The child's exit status; ``fatal`` is the step at which it kills itself, 0 for none."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.support.dispatch_child", str(directory), str(fatal)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        timeout=60,
        capture_output=True,
        check=False,
    )
    assert child.returncode in (0, -signal.SIGKILL), child.stderr.decode()
    return child.returncode


async def check(directory: Path) -> None:
    entries: list[dict[str, Any]] = [
        json.loads(line) for line in (directory / "vendor").read_text().splitlines()
    ]
    # No double run, none forgotten, and none without an intent on disk before it (L3).
    assert Counter(entry["job"] for entry in entries) == dict.fromkeys(JOBS, 1)
    assert all(entry["intents"] >= 1 for entry in entries)
    clock = FakeClock()
    store = opened(directory, clock)
    await store.open()
    try:
        w = World(store, clock)
        for job_id in JOBS:
            row = await w.job_row(job_id)
            assert (row["state"], row["hold"]) == ("done", "settled")
            assert row["cost_actual_cents"] == COST_CENTS
            assert (await w.row("result_of_job", job_id=job_id))["counts"] == '{"0":6,"1":4}'
        budget = await w.budget()
        assert (budget.held_cents, budget.held_shots) == (0, 0)
        assert (budget.spent_cents, budget.spent_shots) == (2 * COST_CENTS, 20)
        ends = [e["job_id"] for e in await w.events() if e["action"] == "job.done"]
        assert sorted(ends) == sorted(JOBS)
    finally:
        await store.close()


@pytest.mark.slow
@pytest.mark.attack("B2", "L3", "P2")
async def test_killed_at_every_step(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    await prepare(fresh)
    killed = list[str]()
    while True:
        directory = tmp_path / f"killed-{len(killed) + 1}"
        shutil.copytree(fresh, directory)
        if run(directory, len(killed) + 1) == 0:
            await check(directory)
            break
        killed.append((directory / "grave").read_text())
        assert run(directory, 0) == 0
        await check(directory)
    assert set(killed) >= POINTS, POINTS - set(killed)


@pytest.mark.slow
@pytest.mark.attack("B2")
async def test_killed_again_and_again(tmp_path: Path) -> None:
    """The same job's recovery is killed as well, at a later step each time."""
    await prepare(tmp_path)
    for fatal in (9, 4, 6, 8, 5, 7):
        if run(tmp_path, fatal) == 0:
            break
    else:
        assert run(tmp_path, 0) == 0
    await check(tmp_path)
