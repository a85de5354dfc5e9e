"""IBM: what is asked of it, what it says, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.live import ROOT
from tests.support.vendors import Bench, bench_of

from cryogate.circuits import Dialect, Format, Program, parse_flat
from cryogate.ports.provider import ProviderError, VendorLied, VendorState


def program(body: str, registers: str = "creg c[2];") -> Program:
    head = f'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[4];\n{registers}\n'
    return parse_flat((head + body).encode(), Format.OPENQASM2)


FLIP = program("x q[1];\nmeasure q[0] -> c[0];\nmeasure q[1] -> c[1];\n")
TWO = program(
    "x q[1];\nmeasure q[0] -> a[0];\nmeasure q[1] -> b[0];\nmeasure q[2] -> b[1];\n",
    "creg a[1];\ncreg b[2];",
)


@pytest.fixture
async def ibm() -> AsyncIterator[Bench]:
    async with bench_of("ibm") as made:
        made.settings["fake"].polls = 0
        yield made


async def done(bench: Bench, circuit: Program = FLIP) -> str:
    vendor_id = await bench.provider.submit(bench.submission("job_a", circuit), bench.lease)
    assert (await bench.provider.status(vendor_id, bench.lease)).state is VendorState.DONE
    return vendor_id


async def test_devices_are_those_of_the_instance(ibm: Bench) -> None:
    devices = {d.name: d for d in await ibm.provider.backends(ibm.lease)}
    torino = devices["ibm:ibm_torino"]
    assert (torino.qubits, torino.max_shots, torino.queue) == (133, 100_000, 4)
    assert torino.gate_set == {"cz", "id", "rz", "sx", "x", "rx", "rzz"}
    assert torino.dialect is Dialect.OPENQASM3
    assert torino.calibrated_ms is not None


async def test_one_circuit_with_its_shots_and_a_time_limit_is_sent(ibm: Bench) -> None:
    submission = ibm.submission("job_a", FLIP)
    await ibm.provider.submit(submission, ibm.lease)
    sent = json.loads(ibm.faults.seen[-1][3])
    assert sent["params"]["pubs"] == [[submission.text.decode(), None, 100]]
    assert sent["params"]["options"] == {
        "dynamical_decoupling": {"enable": False},
        "twirling": {"enable_gates": False, "enable_measure": False},
    }
    assert sent["cost"] == 60
    assert sent["tags"] == [
        "cryogate-job:job_a", f"cryogate-program:{FLIP.fingerprint}", "cryogate-experiment:e1",
    ]  # fmt: skip


async def test_what_ran_is_a_part_of_what_was_held(ibm: Bench) -> None:
    vendor_id = await done(ibm)
    status = await ibm.provider.status(vendor_id, ibm.lease)
    assert (status.part_of_bound, status.runtime_ms) == ((1500, 60_000), 1500)


async def test_registers_come_back_in_their_order(ibm: Bench) -> None:
    vendor_id = await done(ibm, TWO)
    result = await ibm.provider.result(vendor_id, ibm.lease, TWO)
    assert result.counts == {"010": 100}
    assert result.memory == ("010",) * 100


async def test_qubits_that_are_not_coupled_are_refused_before_they_are_sent(ibm: Bench) -> None:
    far = program("cz q[0],q[2];\nmeasure q[0] -> c[0];\n")
    with pytest.raises(ProviderError, match="not coupled") as told:
        await ibm.provider.submit(ibm.submission("job_a", far), ibm.lease)
    assert not told.value.sent
    assert ibm.settings["fake"].jobs == {}
    near = program("cz q[1],q[0];\nmeasure q[0] -> c[0];\n")
    assert list(await ibm.provider.validate(ibm.submission("job_b", near), ibm.lease)) == []


@pytest.mark.attack("S3", "B4")
@pytest.mark.parametrize("lie", ["job", "state", "time"])
async def test_an_answer_that_cannot_be_true_is_not_believed(ibm: Bench, lie: str) -> None:
    vendor_id = await done(ibm)
    ibm.settings["fake"].lies.append(lie)
    with pytest.raises(VendorLied):
        await ibm.provider.status(vendor_id, ibm.lease)


@pytest.mark.attack("S3")
async def test_a_result_without_the_programs_registers_is_refused(ibm: Bench) -> None:
    vendor_id = await done(ibm)
    ibm.settings["fake"].lies.append("register")
    with pytest.raises(VendorLied, match="register"):
        await ibm.provider.result(vendor_id, ibm.lease, FLIP)
    wider = program("x q[1];\nmeasure q[0] -> c[0];\n", "creg c[3];")
    with pytest.raises(VendorLied, match="register"):
        await ibm.provider.result(vendor_id, ibm.lease, wider)


def test_the_access_policy_has_its_shape_and_names_one_instance() -> None:
    page = Path(ROOT / "docs/providers/ibm/access-policy.json")
    found = json.loads(page.read_text("utf-8"))
    assert set(found) == {"type", "roles", "resources"}
    assert found["type"] == "access"
    assert [r["role_id"].rpartition(":")[2] for r in found["roles"]] == ["Writer"]
    [resource] = found["resources"]
    names = {a["name"]: a["value"] for a in resource["attributes"]}
    assert set(names) == {"accountId", "serviceName", "serviceInstance"}
    assert names["serviceName"] == "quantum-computing"
    assert "*" not in page.read_text("utf-8"), "least privilege"
