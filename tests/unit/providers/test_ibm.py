"""IBM: what is asked of it, what it says, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
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
    # 50.00 USD at 1.60 a second
    assert sent["cost"] == 31
    assert sent["tags"] == [
        "cryogate-job:job_a", f"cryogate-program:{FLIP.fingerprint}", "cryogate-experiment:e1",
    ]  # fmt: skip


async def test_the_time_that_was_used_is_charged(ibm: Bench) -> None:
    vendor_id = await done(ibm)
    status = await ibm.provider.status(vendor_id, ibm.lease)
    assert (status.cost_cents, status.runtime_ms) == (240, 1500)
    assert (status.part_of_bound, status.backend) == (None, "ibm:ibm_torino")


@pytest.mark.attack("B4")
async def test_a_job_that_would_cost_more_than_its_reservation_is_stopped_by_ibm(
    ibm: Bench,
) -> None:
    fake = ibm.settings["fake"]
    fake.seconds = 45.0
    submission = structs.replace(ibm.submission("job_a", FLIP), cost_ceiling_cents=1000)
    vendor_id = await ibm.provider.submit(submission, ibm.lease)
    assert fake.jobs[vendor_id]["cost"] == 6
    status = await ibm.provider.status(vendor_id, ibm.lease)
    assert (status.state, status.cost_cents) == (VendorState.FAILED, 960)
    assert status.runtime_ms == 6000
    # and what pays for no second at all is not sent
    little = structs.replace(submission, job_id="job_b", cost_ceiling_cents=159)
    with pytest.raises(ProviderError, match="pay for a second") as told:
        await ibm.provider.submit(little, ibm.lease)
    assert (told.value.sent, told.value.retryable) == (False, False)
    # a reservation for more than the longest time buys no more than that
    fake.seconds = 1.5
    rich = structs.replace(submission, job_id="job_c", cost_ceiling_cents=10**6)
    assert fake.jobs[await ibm.provider.submit(rich, ibm.lease)]["cost"] == 60


async def test_the_limits_that_hold_are_told(ibm: Bench) -> None:
    fake = ibm.settings["fake"]
    await done(ibm)
    device = (await ibm.provider.backends(ibm.lease))[0]
    job, instance = device.vendor_limits
    assert (job.per, job.most, job.by_gateway) == ("job", 60, True)
    assert (instance.per, instance.most, instance.used) == ("instance", 600, 2)
    assert (instance.left, instance.by_gateway) == (598, False)
    fake.consumed = 600.0
    with pytest.raises(ProviderError, match="403"):
        await ibm.provider.submit(ibm.submission("job_b", FLIP), ibm.lease)


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
async def test_what_ibm_says_it_ran_is_held_against_the_program(ibm: Bench) -> None:
    vendor_id = await done(ibm)
    ibm.settings["fake"].lies.append("device")
    assert (await ibm.provider.status(vendor_id, ibm.lease)).backend == "ibm:ibm_fez"
    ibm.settings["fake"].lies.append("program")
    with pytest.raises(VendorLied, match="another circuit"):
        await ibm.provider.result(vendor_id, ibm.lease, FLIP)
    assert (await ibm.provider.result(vendor_id, ibm.lease, FLIP)).counts == {"10": 100}
    # what it tells in another form, or not at all, is no lie
    fake = ibm.settings["fake"]
    packed = {"pubs": [[{"__type__": "QuantumCircuit"}]]}
    for params in (None, {"pubs": "elsewhere"}, {"url": "https://storage"}, "gone", packed):
        fake.jobs[vendor_id]["params"] = params
        assert (await ibm.provider.result(vendor_id, ibm.lease, FLIP)).shots == 100
    several: list[list[list[object]]] = [
        [["x", None, 1], ["y", None, 1]], [[]], [["OPENQASM 3.0;", None, 1]],
    ]  # fmt: skip
    for pubs in several:
        fake.jobs[vendor_id]["params"] = {"pubs": pubs}
        with pytest.raises(VendorLied):
            await ibm.provider.result(vendor_id, ibm.lease, FLIP)


@pytest.mark.attack("S3")
async def test_a_result_without_the_programs_registers_is_refused(ibm: Bench) -> None:
    vendor_id = await done(ibm)
    ibm.settings["fake"].lies.append("register")
    with pytest.raises(VendorLied, match="register"):
        await ibm.provider.result(vendor_id, ibm.lease, FLIP)
    wider = program("x q[1];\nmeasure q[0] -> c[0];\n", "creg c[3];")
    with pytest.raises(VendorLied, match="another circuit"):
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
