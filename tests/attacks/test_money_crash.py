"""B2: the process is killed while money moves. What was acknowledged is there, and it adds up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.governance import World, opened, world

from cryogate.domain.periods import Span
from cryogate.governance.book import EACH, Scope
from cryogate.testing.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]
LINES = (40, 150, 400)


def kill_after(folder: Path, dsn: str | None, lines: int) -> list[list[str]]:
    """What a child said before it was killed, at its ``lines``-th line."""
    told = []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.ledger_child", str(folder), dsn or "", str(lines)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        for _ in range(lines):
            line = child.stdout.readline()
            assert line, "the child ended by itself"
            told.append(line.split())
        child.kill()
        rest = child.stdout.read()
    # Lines that were in the pipe were acknowledged too; the last one may be cut off.
    told += [line.split() for line in rest.split("\n")[:-1]]
    return told


@pytest.mark.slow
@pytest.mark.attack("B2", "B1")
async def test_killed_while_money_moves(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn, cents=10**9, shots=10**9) as w:
        await w.limit(Scope.AGENT, "a1", Span.MONTH, limit_cents=10**9)
        await w.limit(Scope.TOKEN, EACH, Span.DAY, limit_shots=10**9)
    said: dict[str, tuple[str, int]] = {}
    for lines in LINES:
        for what, job_id, cents in kill_after(tmp_path, dsn, lines):
            said[job_id] = what, int(cents)
        store = opened(tmp_path, FakeClock(), dsn)
        await store.open()
        try:
            await compare(World(store, FakeClock()), said)
        finally:
            await store.close()


async def compare(w: World, said: dict[str, tuple[str, int]]) -> None:
    findings = await w.books.check()
    assert findings.balanced, findings
    jobs = {str(row["job_id"]): row for row in await w.store.fetch("governance_test_jobs", {})}
    held = spent = 0
    for row in jobs.values():
        if row["hold"] == "held":
            held += int(row["cost_bound_cents"] or 0)
        elif row["hold"] == "settled":
            spent += int(row["cost_actual_cents"] or 0)
    view = await w.budget()
    assert (view.held_cents, view.spent_cents) == (held, spent)
    for limit in await w.limits.list():
        [window] = limit.windows
        assert (window.held_cents, window.spent_cents) == (held, spent)
    for job_id, (what, cents) in said.items():
        row = jobs[job_id]
        if what == "settled":
            assert (row["hold"], row["cost_actual_cents"]) == ("settled", cents)
        elif what == "released":
            assert row["hold"] == "released"
        else:
            assert row["cost_bound_cents"] == cents
