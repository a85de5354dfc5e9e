"""Google: what is asked of it, what it says, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.support.live import ROOT
from tests.support.vendors import GOOGLE_BELL, ORDER, Bench, bench_of, lease_of
from tests.unit.circuits.support import qasm2

from cryogate.circuits import Dialect, Program, emit
from cryogate.config import Config, ConfigError
from cryogate.dev.google import PROJECT
from cryogate.ports.clock import SystemClock
from cryogate.ports.provider import (
    Control,
    ProviderError,
    Submission,
    VendorLied,
    VendorLimit,
    VendorState,
)
from cryogate.providers import PROVIDERS, Setup
from cryogate.providers import google_shapes as shapes
from cryogate.providers import google_wire as wire


@pytest.fixture
async def google() -> AsyncIterator[Bench]:
    async with bench_of("google") as made:
        made.settings["fake"].polls = 0
        yield made


async def done(bench: Bench, program: Program = GOOGLE_BELL, shots: int = 100) -> str:
    submission = bench.submission("job_a", program, shots)
    vendor_id = await bench.provider.submit(submission, bench.lease)
    assert (await bench.provider.status(vendor_id, bench.lease)).state is VendorState.DONE
    return vendor_id


async def test_processors_are_listed_with_what_they_can(google: Bench) -> None:
    google.settings["fake"].down.add("rainbow")
    devices = {d.name: d for d in await google.provider.backends(google.lease)}
    willow = devices["google:willow_pink"]
    assert (willow.qubits, willow.dialect, willow.queue) == (9, Dialect.CIRQ, 3)
    assert willow.gate_set == {"x", "sx", "sxdg", "y", "rx", "ry", "r", "rz", "cz"}
    assert willow.calibrated_ms == 1_793_491_200_000
    assert willow.native_gates == {"phasedXz", "virtualZpow", "cz"}
    assert willow.vendor_limits == (
        VendorLimit(Control.MAX_TIME, "project", "seconds", 36_000, 6000, 4_070_908_800_000),
    )
    assert devices["google:rainbow"].status == "offline"
    assert devices["google:rainbow"].vendor_limits == ()


async def test_the_confirmed_program_goes_out_on_the_devices_qubits(google: Bench) -> None:
    submission = google.submission("job_a", ORDER)
    await google.provider.submit(submission, google.lease)
    made, job = (json.loads(body) for _, _, _, body in google.faults.seen[-2:])
    confirmed = json.loads(submission.text)["program"]
    sent = {k: v for k, v in made["code"].items() if k != "@type"}
    assert [c["qubit"]["id"] for c in sent.pop("constants")] == ["4_2", "4_3"]
    del confirmed["constants"]
    assert sent == confirmed
    assert job["runContext"]["parameterSweeps"] == [{"repetitions": 100}]
    assert job["schedulingConfig"] == {
        "processorSelector": {"processor": f"projects/{PROJECT}/processors/willow_pink"}
    }
    for document in (made, job):
        assert document["description"] == f"cryogate {ORDER.fingerprint}"
        assert document["labels"] == {
            "cryogate_job": "job_a", "cryogate_experiment": "e1", "cryogate_cost_center": "cc",
        }  # fmt: skip
    assert job["name"] == f"projects/{PROJECT}/programs/job-a/jobs/job-a"


async def test_what_ran_is_told_with_its_time(google: Bench) -> None:
    vendor_id = await done(google)
    status = await google.provider.status(vendor_id, google.lease)
    assert (status.cost_cents, status.part_of_bound, status.runtime_ms) == (None, (1, 1), 250)
    assert (status.job_id, status.backend) == ("job_a", "google:willow_pink")
    assert status.fingerprint == GOOGLE_BELL.fingerprint
    assert Control.MAX_COST not in google.provider.controls


@pytest.mark.parametrize("shots", [1, 7, 8, 9, 100])
async def test_bits_come_back_in_their_order(google: Bench, shots: int) -> None:
    circuit = qasm2(
        "qreg q[3]; creg a[2]; creg b[3]; x q[2]; ry(pi) q[1]; measure q[2] -> a[1];"
        "measure q[0] -> b[0]; measure q[1] -> b[2];"
    )
    vendor_id = await done(google, circuit, shots)
    result = await google.provider.result(vendor_id, google.lease, circuit)
    assert result.counts == {"10010": shots}
    assert result.memory == ("10010",) * shots


async def test_qubits_that_are_not_coupled_are_refused_before_they_are_sent(google: Bench) -> None:
    far = qasm2("qreg q[5]; creg c[1]; cz q[0],q[4]; cz q[0],q[3]; measure q[0] -> c[0];")
    with pytest.raises(ProviderError, match=r"qubits 0 \(4_2\) and 4 \(5_3\) are not") as told:
        await google.provider.submit(google.submission("job_a", far), google.lease)
    assert not told.value.sent
    assert google.settings["fake"].programs == {}
    [why] = await google.provider.validate(google.submission("job_a", far), google.lease)
    assert "4_2" in why


async def test_a_program_that_cannot_be_made_is_no_job(google: Bench) -> None:
    path = f"/v1alpha1/projects/{PROJECT}/programs"
    for kind, value in (("after", 503), ("lost", 0)):
        google.faults.add(kind, value, path=path, method="POST")
        with pytest.raises(ProviderError) as told:
            await google.provider.submit(google.submission("job_a"), google.lease)
        assert (told.value.sent, told.value.retryable) == (False, True)
        assert await google.provider.find("job_a", google.lease) is None
    # what was made of the program is no hindrance
    await google.provider.submit(google.submission("job_a"), google.lease)
    fake = google.settings["fake"]
    assert (len(fake.programs), len(fake.jobs)) == (1, 1)


@pytest.mark.attack("S3")
@pytest.mark.parametrize("lie", ["job", "state"])
async def test_an_answer_that_cannot_be_true_is_not_believed(google: Bench, lie: str) -> None:
    vendor_id = await done(google)
    google.settings["fake"].lies.append(lie)
    with pytest.raises(VendorLied):
        await google.provider.status(vendor_id, google.lease)


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ("program", "another circuit"), ("key", "other bits"), ("bits", "number of shots"),
        ("shots", "number of shots"), ("parent", "another job"),
    ],
)  # fmt: skip
async def test_a_result_of_something_else_is_refused(google: Bench, lie: str, why: str) -> None:
    vendor_id = await done(google)
    google.settings["fake"].lies.append(lie)
    with pytest.raises(VendorLied, match=why):
        await google.provider.result(vendor_id, google.lease, GOOGLE_BELL)
    assert (await google.provider.result(vendor_id, google.lease, GOOGLE_BELL)).shots == 100


@pytest.mark.attack("S3")
async def test_a_name_that_is_none_of_ours_is_asked_nowhere(google: Bench) -> None:
    before = len(google.faults.seen)
    for name in (
        "../../v1/x",
        f"projects/{PROJECT}/programs/a/jobs/b",
        "projects/x/programs/a/jobs/a",
    ):
        for ask in (google.provider.status, google.provider.cancel):
            with pytest.raises(ProviderError) as told:
                await ask(name, google.lease)
            assert not told.value.retryable
    assert len(google.faults.seen) == before


@pytest.mark.attack("S3")
def test_bits_beyond_the_shots_are_refused() -> None:
    def sweep(data: str, shots: int = 4) -> wire.Sweep:
        qubit = wire.Measured(data)
        keys = (wire.Measurement("c0", (qubit,)),)
        return wire.Sweep(shots, (wire.Parameterized(keys),))

    one = qasm2("qreg q[1]; creg c[1]; measure q -> c;")
    assert shapes.read(sweep("Bg=="), one).memory == ("0", "1", "1", "0")
    for data in ("Fg==", "BgA=", "", "?"):
        with pytest.raises(VendorLied):
            shapes.read(sweep(data), one)
    with pytest.raises(VendorLied):
        shapes.read(sweep("Bg==", 0), one)


def test_labels_and_times_are_what_google_takes_and_gives() -> None:
    assert shapes.label("Physics/R&D 7") == "physics-r-d-7"
    assert len(shapes.label("x" * 99)) == 63
    assert shapes.epoch_ms("2026-11-01T00:00:00.123456789Z") == 1_793_491_200_123
    assert shapes.epoch_ms("soon") is None
    assert shapes.calibrated_ms("projects/p/processors/x/calibrations/latest") is None


async def test_a_program_too_dear_or_too_wide_is_no_matter_of_guessing(google: Bench) -> None:
    unknown = structs.replace(google.submission("job_a"), backend="google:sycamore")
    assert isinstance(unknown, Submission)
    with pytest.raises(ProviderError) as told:
        await google.provider.submit(unknown, google.lease)
    assert (told.value.sent, told.value.retryable) == (False, True)
    with pytest.raises(ConfigError, match=r"google\.project"):
        PROVIDERS["google"](Setup(Config(), SystemClock()))
    with pytest.raises(ProviderError, match="401"):
        await google.provider.backends(lease_of("google", b"another-token"))
    assert emit(GOOGLE_BELL, Dialect.CIRQ)


def test_the_role_can_make_tokens_of_one_account_and_nothing_else() -> None:
    folder = Path(ROOT / "docs/providers/google")
    page = folder.with_suffix(".md").read_text("utf-8")
    role = json.loads((folder / "token-role.json").read_text("utf-8"))
    assert set(role) == {"title", "description", "stage", "includedPermissions"}
    assert role["includedPermissions"] == ["iam.serviceAccounts.getAccessToken"]
    binding = json.loads(
        Path(ROOT / "docs/providers/google/workload-policy.json").read_text("utf-8")
    )
    assert set(binding) == {"bindings"}
    for entry in binding["bindings"]:
        assert set(entry) == {"role", "members"}
        for member in entry["members"]:
            kind, _, who = member.partition(":")
            assert kind in ("serviceAccount", "principal"), "one identity, no set of them"
            assert "*" not in who
    roles = [entry["role"] for entry in binding["bindings"]]
    assert roles == [
        "roles/iam.workloadIdentityUser", "projects/PROJECT_ID/roles/cryogateTokens",
    ]  # fmt: skip
    for name in ("token-role.json", "workload-policy.json"):
        assert name in page
