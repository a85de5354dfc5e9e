"""``kill -9`` at any moment: no acknowledged event is lost, no published head is contradicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.audit import Deployment

from cryogate.audit.sources import StoreSource
from cryogate.audit.verify import verify_log

ROOT = Path(__file__).parents[2]


def run_until_killed(directory: Path, first: int, events: int) -> tuple[set[int], int]:
    """The acknowledged events and the largest published size; killed after ``events`` of them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.audit_crash", directory, str(first)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    while sum(line[0].isdigit() for line in said) < events:
        said.append(process.stdout.readline())
        assert said[-1], "it ended by itself"
    process.kill()
    # What it managed to say before it died counts too.
    said += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    words = [line.split() for line in said if line.endswith("\n")]
    acknowledged = {int(word[0]) for word in words if len(word) == 1}
    return acknowledged, max((int(word[1]) for word in words if len(word) == 2), default=0)


@pytest.mark.slow
@pytest.mark.attack("L3", "L1")
async def test_no_acknowledged_event_is_lost_and_no_head_contradicted(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    published = 0
    deployment = Deployment(tmp_path)
    for round_, events in enumerate((3, 40, 151, 300)):
        more, size = run_until_killed(tmp_path, round_ * 100_000, events)
        acknowledged |= more
        published = max(published, size)
    assert published > 0
    head = await deployment.heads.read()
    async with deployment.running() as (store, log):
        await log.sequence_now()
        await log.checkpoint_now()
        assert log.published_size >= published
        report = await verify_log(
            StoreSource(store), [log.verifier], kept={"before the last start": head or b""}
        )
        assert report.ok, report.findings
        logged: set[int] = set()
        while page := await log.events(len(logged) - 1, 1000):
            logged |= {int(json.loads(entry.data)["job_id"].removeprefix("job_")) for entry in page}
    assert acknowledged <= logged
