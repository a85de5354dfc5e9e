"""Quantinuum: what is asked of Nexus, what it says, and what is not believed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.support.live import ROOT
from tests.support.vendors import TRAPPED_BELL, TRAPPED_ORDER, Bench, bench_of

from cryogate.circuits import Dialect, Format, Program, parse_flat
from cryogate.dev.nexus_door import PROJECT, PROPERTIES
from cryogate.dev.quantinuum import QuantinuumFake
from cryogate.domain.money import Money
from cryogate.ports.provider import ProviderError, VendorLied, VendorState
from cryogate.providers import nexus_wire as wire
from cryogate.providers.nexus_readouts import read_result


@pytest.fixture
async def nexus() -> AsyncIterator[Bench]:
    async with bench_of("quantinuum") as made:
        fake(made).polls = 0
        yield made


def fake(bench: Bench) -> QuantinuumFake:
    found: QuantinuumFake = bench.settings["fake"]
    return found


def program(body: str, registers: str = "creg c[2];") -> Program:
    head = f'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\n{registers}\n'
    return parse_flat((head + body).encode(), Format.OPENQASM2)


async def use(bench: Bench, backend: str) -> None:
    bench.backend = backend
    bench.device = {d.name: d for d in await bench.provider.backends(bench.lease)}[backend]


async def done(bench: Bench, job_id: str = "job_a") -> str:
    vendor_id = await bench.provider.submit(bench.submission(job_id), bench.lease)
    assert (await bench.provider.status(vendor_id, bench.lease)).state is VendorState.DONE
    return vendor_id


async def test_machines_and_emulators_are_listed_and_checkers_are_not(nexus: Bench) -> None:
    fake(nexus).offline.add("H2-2")
    devices = {d.name: d for d in await nexus.provider.backends(nexus.lease)}
    assert set(devices) == {
        "quantinuum:h2-1", "quantinuum:h2-2", "quantinuum:h2-1e", "quantinuum:h2-1le",
        "quantinuum:h2-emulator",
    }  # fmt: skip
    one = devices["quantinuum:h2-1"]
    assert (one.qubits, one.simulator, one.dialect) == (56, False, Dialect.PYTKET)
    assert one.gate_set == {"rz", "r", "rzz"}
    assert one.features == {
        "parameters", "mid_circuit_measurement", "reset", "classical_control",
    }  # fmt: skip
    assert devices["quantinuum:h2-2"].status == "offline"
    assert devices["quantinuum:h2-1e"].simulator
    assert devices["quantinuum:h2-emulator"].simulator


async def test_what_does_not_say_that_it_is_an_emulator_is_a_machine(nexus: Bench) -> None:
    fake(nexus).tells_kind = False
    nexus.faults.add("status", 404, path="/api/machines/v1beta/H2-2")
    devices = {d.name: d for d in await nexus.provider.backends(nexus.lease)}
    assert {name for name, d in devices.items() if not d.simulator} == {
        "quantinuum:h2-1", "quantinuum:h2-2",
    }  # fmt: skip
    assert devices["quantinuum:h2-2"].status == "offline"
    assert devices["quantinuum:h2-1"].max_shots == 10_000
    nexus.faults.add("status", 503, path="/api/machines")
    with pytest.raises(ProviderError):
        await nexus.provider.backends(nexus.lease)


async def test_every_control_that_nexus_has_is_set(nexus: Bench) -> None:
    submission = nexus.submission("job_a")
    vendor_id = await nexus.provider.submit(submission, nexus.lease)
    job = fake(nexus).jobs[vendor_id]
    assert job["name"] == "job_a"
    assert job["properties"] == {
        "cryogate_job": "job_a", "cryogate_program": TRAPPED_BELL.fingerprint,
        "cryogate_experiment": "e1", "cryogate_cost_center": "cc",
    }  # fmt: skip
    definition = job["definition"]
    [item] = definition["items"]
    assert (item["n_shots"], item["max_cost"]) == (100, 50.0)
    assert definition["valid_check"] is True
    machine = definition["backend_config"]
    assert machine["device_name"] == "H2-1"
    assert machine["no_opt"] is True
    for change in (
        "allow_implicit_swaps", "postprocess", "simplify_initial", "allow_2q_gate_rebase",
        "leakage_detection", "attempt_batching",
    ):  # fmt: skip
        assert machine[change] is False
    # the confirmed text is what was uploaded, member for member
    [upload] = [body for _, path, _, body in nexus.faults.seen if path.startswith("/api/circuits")]
    sent = msgspec.json.decode(upload)["data"]["attributes"]
    assert sent == {**msgspec.json.decode(submission.text), "name": "job_a"}


async def test_credits_are_counted_and_the_ceiling_holds_there_too(nexus: Bench) -> None:
    vendor_id = await done(nexus)
    status = await nexus.provider.status(vendor_id, nexus.lease)
    # 5 + 100 * (8 + 10 + 5 * (2 prepared + 2 measured)) / 5000 = 5.76
    assert (status.cost_cents, status.currency, status.runtime_ms) == (576, "HQC", 2500)
    dear = nexus.submission("job_dear")
    poor = structs.replace(dear, cost_ceiling_cents=500)
    vendor_id = await nexus.provider.submit(poor, nexus.lease)
    status = await nexus.provider.status(vendor_id, nexus.lease)
    assert (status.state, status.cost_cents, status.detail) == (VendorState.FAILED, 0, "error")


async def test_a_syntax_checker_tells_the_price_and_runs_nothing(nexus: Bench) -> None:
    found = await nexus.provider.estimate(nexus.backend, TRAPPED_BELL, 100, nexus.lease)
    assert found == Money(576, "HQC")
    assert list(await nexus.provider.validate(nexus.submission("job_a"), nexus.lease)) == []
    assert await nexus.provider.find("job_a", nexus.lease) is None
    assert {j["definition"]["backend_config"]["device_name"] for j in fake(nexus).jobs.values()} \
        == {"H2-1SC"}  # fmt: skip
    wide = nexus.submission("job_b", shots=10_000)
    [why] = await nexus.provider.validate(wide, nexus.lease)
    assert why == "it would cost 81.00 HQC, more than may be spent"
    foreign = nexus.submission("job_c", program("h q[0]; measure q -> c;"))
    assert await nexus.provider.validate(foreign, nexus.lease) == (
        "the syntax checker refuses it (refused)",
    )
    # an emulator that Nexus runs has no checker
    await use(nexus, "quantinuum:h2-emulator")
    assert list(await nexus.provider.validate(nexus.submission("job_d"), nexus.lease)) == []
    with pytest.raises(ProviderError, match="no estimate"):
        await nexus.provider.estimate(nexus.backend, TRAPPED_BELL, 100, nexus.lease)


async def test_an_emulator_of_nexus_uses_no_credits_and_a_missing_bill_is_not_zero(
    nexus: Bench,
) -> None:
    await use(nexus, "quantinuum:h2-emulator")
    vendor_id = await done(nexus)
    assert (await nexus.provider.status(vendor_id, nexus.lease)).cost_cents == 0
    await use(nexus, "quantinuum:h2-1")
    vendor_id = await done(nexus, "job_b")
    del fake(nexus).jobs[vendor_id]["status"]["cost"]
    status = await nexus.provider.status(vendor_id, nexus.lease)
    assert (status.cost_cents, status.part_of_bound) == (None, (1, 1))


async def test_a_failed_upload_has_surely_made_no_job(nexus: Bench) -> None:
    nexus.faults.add("after", 503, path="/api/circuits")
    with pytest.raises(ProviderError) as told:
        await nexus.provider.submit(nexus.submission("job_a"), nexus.lease)
    assert (told.value.sent, told.value.retryable) == (False, True)
    assert await nexus.provider.submit(nexus.submission("job_a"), nexus.lease)
    assert len(fake(nexus).ran("job_a")) == 1


async def test_a_project_without_our_properties_takes_no_job(nexus: Bench) -> None:
    fake(nexus).door.properties[PROJECT].pop()
    with pytest.raises(ProviderError) as told:
        await nexus.provider.submit(nexus.submission("job_a"), nexus.lease)
    assert (told.value.sent, told.value.retryable) == (False, False)


@pytest.mark.parametrize("end", ["DEPLETED", "TERMINATED", "ERROR"])
async def test_a_job_given_up_in_the_queue_has_failed(nexus: Bench, end: str) -> None:
    vendor_id = await nexus.provider.submit(nexus.submission("job_a"), nexus.lease)
    fake(nexus).end(vendor_id, end)
    status = await nexus.provider.status(vendor_id, nexus.lease)
    assert (status.state, status.detail) == (VendorState.FAILED, end.lower())


async def test_a_job_is_found_on_a_later_page_and_others_jobs_are_not_read(nexus: Bench) -> None:
    first = await nexus.provider.submit(nexus.submission("job_first"), nexus.lease)
    for number in range(60):
        other = {**fake(nexus).jobs[first], "name": f"other {number}"}
        fake(nexus).jobs[f"00000000-0000-4000-8000-{number:012}"] = other
    nexus.faults.seen.clear()
    assert await nexus.provider.find("job_first", nexus.lease) == first
    assert all("name_exact" in path for _, path, _, _ in nexus.faults.seen)


@pytest.mark.attack("B2")
@pytest.mark.parametrize("lost", [False, True])
async def test_a_request_that_arrives_twice_leaves_one_job_running(
    nexus: Bench, lost: bool
) -> None:
    nexus.faults.add("twice", method="POST", path="/api/jobs")
    if lost:
        nexus.faults.add("lost", method="POST", path="/api/jobs")
        with pytest.raises(ProviderError):
            await nexus.provider.submit(nexus.submission("job_a"), nexus.lease)
    vendor_id = await nexus.provider.submit(nexus.submission("job_a"), nexus.lease)
    first, second = fake(nexus).ran("job_a")
    assert vendor_id == first
    assert fake(nexus).jobs[second]["status"]["status"] == "CANCELLED"
    assert (await nexus.provider.status(first, nexus.lease)).state is VendorState.DONE
    assert await nexus.provider.find("job_a", nexus.lease) == first


@pytest.mark.attack("S3")
@pytest.mark.parametrize("lie", ["job", "state"])
async def test_an_answer_that_cannot_be_true_is_not_believed(nexus: Bench, lie: str) -> None:
    vendor_id = await done(nexus)
    fake(nexus).lies.append(lie)
    with pytest.raises(VendorLied):
        await nexus.provider.status(vendor_id, nexus.lease)


async def test_what_the_job_says_that_it_ran_is_told(nexus: Bench) -> None:
    vendor_id = await done(nexus)
    fake(nexus).lies.append("circuit")
    assert (await nexus.provider.status(vendor_id, nexus.lease)).fingerprint == "0" * 64


@pytest.mark.attack("S3", "C5")
@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ("ran", "another circuit"),
        ("swapped", "another circuit"),
        ("bit", "lacks a bit"),
        ("row", "a row that is none"),
    ],
)
async def test_a_result_of_something_else_is_refused(nexus: Bench, lie: str, why: str) -> None:
    vendor_id = await done(nexus)
    fake(nexus).lies.append(lie)
    with pytest.raises(VendorLied, match=why):
        await nexus.provider.result(vendor_id, nexus.lease, TRAPPED_BELL)
    with pytest.raises(VendorLied, match="another circuit"):
        await nexus.provider.result(vendor_id, nexus.lease, TRAPPED_ORDER)
    assert (await nexus.provider.result(vendor_id, nexus.lease, TRAPPED_BELL)).shots == 100


@pytest.mark.attack("S3", "B4")
async def test_lost_shots_and_a_negative_price_are_told_as_they_are(nexus: Bench) -> None:
    fake(nexus).lies += ["cost", "short"]
    vendor_id = await done(nexus)
    assert (await nexus.provider.status(vendor_id, nexus.lease)).cost_cents == -300
    assert (await nexus.provider.result(vendor_id, nexus.lease, TRAPPED_BELL)).shots == 99


async def test_the_program_may_measure_twice_and_depend_on_it(nexus: Bench) -> None:
    flow = program(
        "r(pi,0) q[0]; measure q[0] -> a[1]; if(a==2) r(pi,0) q[1]; reset q[0];"
        "measure q[1] -> b[0];", "creg a[2]; creg b[1];",
    )  # fmt: skip
    vendor_id = await nexus.provider.submit(nexus.submission("job_a", flow), nexus.lease)
    await nexus.provider.status(vendor_id, nexus.lease)
    result = await nexus.provider.result(vendor_id, nexus.lease, flow)
    assert result.shots == 100
    assert {len(text) for text in result.counts} == {3}


def said(**change: Any) -> wire.ResultAttributes:
    made = {
        "bits": [["c0", [0]], ["c0", [1]]],
        "counts": [{"outcome": {"width": 2, "array": [[128]]}, "count": 3},
                   {"outcome": {"width": 2, "array": [[192]]}, "count": 2}],
        "shots": None,
    }  # fmt: skip
    return msgspec.convert(made | change, wire.ResultAttributes)


def test_counts_are_read_where_there_are_no_shots() -> None:
    found = read_result(said(), TRAPPED_BELL)
    assert (dict(found.counts), found.shots, found.memory) == ({"01": 3, "11": 2}, 5, None)


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    "change",
    [
        {"bits": [["c0", [0]], ["c0", [0]]]},
        {"bits": [["c0", [0]]]},
        {"counts": None},
        {"counts": [{"outcome": {"width": 2, "array": [[128], [0]]}, "count": 1}]},
        {"counts": [{"outcome": {"width": 2, "array": [[128]]}, "count": -1}]},
        {"counts": [{"outcome": {"width": 3, "array": [[128]]}, "count": 1}]},
        {"counts": [{"outcome": {"width": 2, "array": [[300]]}, "count": 1}]},
        {"shots": {"width": 2, "array": [[1, 2]]}},
    ],
)
def test_what_is_no_result_of_the_program_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(VendorLied):
        read_result(said(**change), TRAPPED_BELL)


def test_the_properties_file_defines_what_is_sent() -> None:
    page = Path(ROOT / "docs/providers/quantinuum/properties.json")
    found = json.loads(page.read_text("utf-8"))
    assert [entry["name"] for entry in found] == list(PROPERTIES)
    for entry in found:
        assert set(entry) == {"name", "property_type", "description", "required"}
        assert entry["property_type"] == "string"
        assert entry["required"] is True, "a job without them is nobody's"
        assert re.fullmatch(r"[ -~]{1,200}", entry["description"])
