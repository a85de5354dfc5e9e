"""Which authorised experiment a circuit comes from, over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.governance import OWNER, World, hold_of, world

from cryogate.circuits import Format, Program, parse_flat
from cryogate.domain.errors import NotFound
from cryogate.domain.ids import JOB, new_id
from cryogate.gateway.likeness import Likenesses
from cryogate.storage.statements import SQL_DIR

SQL = Path(__file__).parent.parent / "support" / "dispatch_sql"
HEAD = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'


def program(body: bytes) -> Program:
    return parse_flat(HEAD + body, Format.OPENQASM2)


GHZ = program(b"h q[0]; cx q[0],q[1]; cx q[1],q[2]; measure q -> c;")
TURNED = program(b"h q[1]; cx q[1],q[2]; cx q[2],q[0]; measure q -> c;")
LONGER = program(b"h q[0]; cx q[0],q[1]; cx q[1],q[2]; cx q[2],q[0]; measure q -> c;")
OTHER = program(b"rx(1) q; rz(2) q; rx(3) q; reset q; measure q -> c;")


@pytest.fixture
async def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    merged = tmp_path / "sql"
    merged.mkdir()
    for file in (*SQL_DIR.glob("*.sql"), *SQL.glob("*.sql")):
        (merged / file.name).write_text(file.read_text())
    monkeypatch.setattr("tests.support.governance.SQL_DIR", merged)
    async with world(tmp_path) as found:
        yield found


async def job(made: World, what: Program) -> str:
    job_id = new_id(JOB)
    await made.reserve(hold_of(job_id))
    await made.run(
        "dispatch_test_program",
        job_id=job_id, backend="local:null", program=what.to_bytes().decode(),
        circuit_sha256=what.fingerprint,
    )  # fmt: skip
    return job_id


async def test_the_most_alike_comes_first(made: World) -> None:
    await made.run(
        "insert_experiment",
        experiment_id="e2", purpose="quiet", classification="poc", owner=OWNER, cost_center="",
        opens_ms=0, closes_ms=10**15, allowed_agents="[]", allowed_backends="[]", release="raw",
        created_ms=1,
    )  # fmt: skip
    first, longer = await job(made, GHZ), await job(made, LONGER)
    other = await job(made, OTHER)
    finder = Likenesses(made.store)
    # Another numbering of the qubits is the same structure, and not the same circuit.
    [item] = (await finder.of_program(TURNED, 10)).items
    assert (item.experiment_id, item.job_id, item.similarity) == ("e1", first, 1.0)
    assert not item.same_circuit
    [item] = (await finder.of_program(GHZ, 10)).items
    assert item.same_circuit
    # A job is not compared with itself.
    report = await finder.of_job(first, 10)
    assert report.experiment_id == "e1"
    assert report.items[0].job_id == longer
    assert 0.5 < report.items[0].similarity < 1.0
    assert (report.compared, report.left_out) == (2, 0)
    assert (await finder.of_job(other, 10)).items[0].similarity < 0.5


async def test_unknown_jobs_and_unreadable_programs(made: World) -> None:
    finder = Likenesses(made.store)
    for job_id in ("", "x", new_id(JOB)):
        with pytest.raises(NotFound):
            await finder.of_job(job_id, 10)
    await made.reserve(hold_of("broken"))  # its program is no program
    [item] = (await finder.of_program(GHZ, 10)).items
    assert item.similarity == 0.0
