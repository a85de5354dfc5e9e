"""Azure: what is asked of it, what it says, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.support.live import ROOT
from tests.support.vendors import BELL, ORDER, Bench, bench_of

from cryogate.circuits import Dialect
from cryogate.domain.money import Money
from cryogate.governance.pricing import load_price_book
from cryogate.ports.provider import ProviderError, VendorLied, VendorState
from cryogate.providers.azure_targets import TARGETS


@pytest.fixture
async def azure() -> AsyncIterator[Bench]:
    async with bench_of("azure") as made:
        made.settings["fake"].polls = 0
        yield made


async def use(bench: Bench, backend: str) -> None:
    bench.backend = backend
    bench.device = {d.name: d for d in await bench.provider.backends(bench.lease)}[backend]


async def test_targets_that_we_can_speak_to_are_listed(azure: Bench) -> None:
    devices = {d.name: d for d in await azure.provider.backends(azure.lease)}
    assert not any("pasqal" in name for name in devices)
    assert devices["azure:rigetti.qpu.cepheus-1-108q"].qubits == 108
    assert devices["azure:ionq.qpu.forte-1"].dialect is Dialect.IONQ_JSON
    assert devices["azure:quantinuum.qpu.h2-1"].dialect is Dialect.OPENQASM2
    assert devices["azure:quantinuum.sim.h2-1sc"].simulator
    assert devices["azure:ionq.simulator"].wait_ms == 60_000


@pytest.mark.parametrize(
    "backend",
    [
        "azure:ionq.qpu.forte-1", "azure:quantinuum.qpu.h2-1", "azure:ionq.simulator",
        "azure:rigetti.sim.qvm", "azure:rigetti.qpu.cepheus-1-108q",
    ],
)  # fmt: skip
async def test_a_result_is_over_classical_bits_at_every_vendor(azure: Bench, backend: str) -> None:
    await use(azure, backend)
    for job_id, program, allowed in (("a", BELL, {"00", "11"}), ("b", ORDER, {"001"})):
        vendor_id = await azure.provider.submit(azure.submission(job_id, program), azure.lease)
        status = await azure.provider.status(vendor_id, azure.lease)
        assert (status.state, status.cost_cents, status.currency) == (VendorState.DONE, 1235, "USD")
        result = await azure.provider.result(vendor_id, azure.lease, program)
        assert set(result.counts) == allowed
        assert sum(result.counts.values()) == result.shots == 100


async def test_the_confirmed_text_is_what_is_uploaded(azure: Bench) -> None:
    await use(azure, "azure:quantinuum.qpu.h2-1")
    submission = azure.submission("job_a")
    vendor_id = await azure.provider.submit(submission, azure.lease)
    fake = azure.settings["fake"]
    assert fake.blobs[f"job-{vendor_id}/inputData"] == submission.text
    job = fake.jobs[vendor_id]
    assert job["inputParams"] == {"shots": 100}
    assert job["metadata"]["cryogate_cost_center"] == "cc"
    # storage is reached by signed URLs alone: the token stays at the service
    for _, path, headers, _ in azure.faults.seen:
        assert ("authorization" in headers) != path.startswith("/blob/")


async def test_rigetti_gets_quil_and_ionq_no_mitigation(azure: Bench) -> None:
    await use(azure, "azure:rigetti.qpu.cepheus-1-108q")
    assert azure.device.dialect is Dialect.QUIL
    vendor_id = await azure.provider.submit(azure.submission("job_a"), azure.lease)
    fake = azure.settings["fake"]
    assert fake.blobs[f"job-{vendor_id}/inputData"] == (
        b"# qubits 2\n# registers 2\nDECLARE ro BIT[2]\nH 0\nCNOT 0 1\nMEASURE 0 ro[0]\n"
        b"MEASURE 1 ro[1]\n"
    )
    job = fake.jobs[vendor_id]
    assert (job["inputDataFormat"], job["outputDataFormat"], job["inputParams"]) == (
        "rigetti.quil.v1", "rigetti.quil-results.v1", {"shots": 100, "skipQuilc": False},
    )  # fmt: skip
    await use(azure, "azure:ionq.simulator")
    vendor_id = await azure.provider.submit(azure.submission("job_b"), azure.lease)
    assert fake.jobs[vendor_id]["inputParams"] == {
        "shots": 100, "error-mitigation": {"debias": False},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("pasqal.qpu.fresnel", "pulses over arrays of atoms"),
        ("pasqal.sim.emu-tn", "pulses over arrays of atoms"),
        ("quantinuum.qpu.helios-1", "Helios takes QIR"),
        ("rigetti.qpu.another", "no such target"),
    ],
)
async def test_a_target_that_takes_no_circuit_is_refused_by_name(
    azure: Bench, target: str, why: str
) -> None:
    submission = structs.replace(azure.submission("job_a"), backend=f"azure:{target}")
    with pytest.raises(ProviderError, match=why) as told:
        await azure.provider.submit(submission, azure.lease)
    assert (told.value.sent, told.value.retryable) == (False, False)
    assert azure.settings["fake"].jobs == {}


@pytest.mark.attack("S3", "C5")
@pytest.mark.parametrize(
    ("backend", "lie", "why"),
    [
        ("azure:rigetti.sim.qvm", "row", "a row that is none"),
        ("azure:rigetti.sim.qvm", "input", "another circuit"),
        ("azure:ionq.simulator", "input", "another circuit"),
        ("azure:quantinuum.qpu.h2-1", "input", "another circuit"),
    ],
)
async def test_a_result_of_something_else_is_refused(
    azure: Bench, backend: str, lie: str, why: str
) -> None:
    await use(azure, backend)
    azure.settings["fake"].lies.append(lie)
    vendor_id = await azure.provider.submit(azure.submission("job_a"), azure.lease)
    status = await azure.provider.status(vendor_id, azure.lease)
    assert status.backend == backend
    with pytest.raises(VendorLied, match=why):
        await azure.provider.result(vendor_id, azure.lease, BELL)


@pytest.mark.attack("S3")
async def test_storage_elsewhere_gets_nothing(azure: Bench) -> None:
    azure.settings["fake"].lies.append("storage")
    with pytest.raises(VendorLied, match="another place"):
        await azure.provider.submit(azure.submission("job_a"), azure.lease)
    assert azure.settings["fake"].jobs == {}


async def test_a_failed_upload_has_surely_made_no_job(azure: Bench) -> None:
    azure.faults.add("after", 503, path="/blob/")
    with pytest.raises(ProviderError) as told:
        await azure.provider.submit(azure.submission("job_a"), azure.lease)
    assert (told.value.sent, told.value.retryable) == (False, True)
    assert await azure.provider.submit(azure.submission("job_a"), azure.lease)


@pytest.mark.attack("S3")
@pytest.mark.parametrize("lie", ["job", "state"])
async def test_an_answer_that_cannot_be_true_is_not_believed(azure: Bench, lie: str) -> None:
    vendor_id = await azure.provider.submit(azure.submission("job_a"), azure.lease)
    azure.settings["fake"].lies.append(lie)
    with pytest.raises(VendorLied):
        await azure.provider.status(vendor_id, azure.lease)


@pytest.mark.attack("S3", "B4")
async def test_wrong_chances_and_a_negative_price_are_seen(azure: Bench) -> None:
    azure.settings["fake"].lies += ["sum", "cost"]
    vendor_id = await azure.provider.submit(azure.submission("job_a"), azure.lease)
    assert (await azure.provider.status(vendor_id, azure.lease)).cost_cents == -300
    with pytest.raises(VendorLied, match="add up"):
        await azure.provider.result(vendor_id, azure.lease, BELL)


def test_the_prices_to_copy_are_a_book_and_bound_what_they_say() -> None:
    book = load_price_book(Path(ROOT / "docs/providers/azure/prices.json").read_bytes())
    for backend, cents, currency in (
        ("azure:rigetti.sim.qvm", 0, "USD"),
        ("azure:rigetti.qpu.cepheus-1-108q", 202, "USD"),
        # 5 + 1000 x (1 + 4 + 10 + 5 x 4) / 5000
        ("azure:quantinuum.qpu.h2-1", 1200, "HQC"),
    ):
        assert book.quote(backend, BELL.facts, 1000).bound == Money(cents, currency)
    covered = {name for name in TARGETS if not name.startswith("ionq")}
    for name in covered:
        if name.endswith("e"):
            continue  # emulators are billed in credits of their own, that contracts price
        book.find(f"azure:{name}")


def test_the_role_has_its_shape_and_no_wildcard() -> None:
    page = Path(ROOT / "docs/providers/azure/role.json")
    found = json.loads(page.read_text("utf-8"))
    assert set(found) == {
        "Name", "IsCustom", "Description", "Actions", "NotActions", "DataActions",
        "NotDataActions", "AssignableScopes",
    }  # fmt: skip
    assert found["IsCustom"] is True
    for action in (*found["Actions"], *found["DataActions"]):
        assert action.startswith("Microsoft.Quantum/Workspaces/")
        assert "*" not in action, "least privilege"
    assert all(scope.startswith("/subscriptions/") for scope in found["AssignableScopes"])
