"""IonQ: what is asked of it, what it says, and what is not believed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec import structs
from tests.support.vendors import BELL, ORDER, Bench, bench_of

from cryogate.circuits import Dialect, emit
from cryogate.config import ConfigError
from cryogate.domain.money import Money
from cryogate.ports.provider import ProviderError, Submission, VendorLied, VendorState
from cryogate.providers import IonqProvider
from cryogate.providers.http import checked_url
from cryogate.providers.probabilities import counts_of


@pytest.fixture
async def ionq() -> AsyncIterator[Bench]:
    async with bench_of("ionq") as made:
        made.backend = "ionq:qpu.forte-1"
        made.settings["fake"].polls = 0
        yield made


async def test_devices_are_read_from_the_list_without_a_key(ionq: Bench) -> None:
    devices = {d.name: d for d in await ionq.provider.backends()}
    forte = devices["ionq:qpu.forte-1"]
    assert (forte.qubits, forte.simulator, forte.dialect) == (36, False, Dialect.IONQ_JSON)
    assert forte.native_gates == {"gpi", "gpi2", "zz"}
    assert {"cx", "rxx", "sdg", "zz"} <= forte.gate_set
    assert forte.calibrated_ms is not None
    assert forte.wait_ms == 181_000
    assert devices["ionq:simulator"].simulator
    assert not any("authorization" in headers for _, _, headers, _ in ionq.faults.seen)
    ionq.settings["fake"].offline.add("qpu.forte-1")
    devices = {d.name: d for d in await ionq.provider.backends()}
    assert devices["ionq:qpu.forte-1"].status == "offline"


async def test_the_vendor_gets_the_confirmed_gates_our_tags_and_no_mitigation(ionq: Bench) -> None:
    submission = ionq.submission("job_a", ORDER)
    await ionq.provider.submit(submission, ionq.lease)
    sent = msgspec.json.decode(ionq.faults.seen[-1][3])
    confirmed = msgspec.json.decode(submission.text)
    assert sent["input"] == {k: v for k, v in confirmed.items() if k != "registers"}
    assert sent["metadata"] == {
        "cryogate_job": "job_a", "cryogate_program": ORDER.fingerprint,
        "cryogate_experiment": "e1", "cryogate_cost_center": "cc",
    }  # fmt: skip
    assert sent["settings"] == {"error_mitigation": {"debiasing": False}}
    assert sent["shots"] == 100
    assert sent["dry_run"] is False


async def test_what_a_job_costs_is_told_with_its_end(ionq: Bench) -> None:
    vendor_id = await ionq.provider.submit(ionq.submission("job_a"), ionq.lease)
    status = await ionq.provider.status(vendor_id, ionq.lease)
    assert (status.state, status.cost_cents, status.currency) == (VendorState.DONE, 11, "USD")
    assert status.runtime_ms == 123
    found = await ionq.provider.estimate(ionq.backend, BELL, 100, ionq.lease)
    assert found == Money(11, "USD")


async def test_a_missing_bill_is_not_zero_and_a_negative_one_is_told(ionq: Bench) -> None:
    vendor_id = await ionq.provider.submit(ionq.submission("job_a"), ionq.lease)
    fake = ionq.settings["fake"]
    fake.lies.append("no_cost")
    assert (await ionq.provider.status(vendor_id, ionq.lease)).cost_cents is None
    fake.lies.append("negative_cost")
    assert (await ionq.provider.status(vendor_id, ionq.lease)).cost_cents == -500


@pytest.mark.attack("S3")
@pytest.mark.parametrize("lie", ["job", "state"])
async def test_an_answer_that_cannot_be_true_is_not_believed(ionq: Bench, lie: str) -> None:
    vendor_id = await ionq.provider.submit(ionq.submission("job_a"), ionq.lease)
    ionq.settings["fake"].lies.append(lie)
    with pytest.raises(VendorLied):
        await ionq.provider.status(vendor_id, ionq.lease)


@pytest.mark.attack("S3")
async def test_chances_that_do_not_add_up_are_refused(ionq: Bench) -> None:
    vendor_id = await ionq.provider.submit(ionq.submission("job_a"), ionq.lease)
    await ionq.provider.status(vendor_id, ionq.lease)
    ionq.settings["fake"].lies.append("sum")
    with pytest.raises(VendorLied, match="add up"):
        await ionq.provider.result(vendor_id, ionq.lease, BELL)


async def test_a_job_given_up_in_the_queue_has_failed(ionq: Bench) -> None:
    vendor_id = await ionq.provider.submit(ionq.submission("job_a"), ionq.lease)
    ionq.settings["fake"].expire(vendor_id)
    status = await ionq.provider.status(vendor_id, ionq.lease)
    assert (status.state, status.detail) == (VendorState.FAILED, "SystemCancel")


async def test_a_job_is_found_on_a_later_page(ionq: Bench) -> None:
    first = await ionq.provider.submit(ionq.submission("job_first"), ionq.lease)
    for number in range(30):
        await ionq.provider.submit(ionq.submission(f"job_{number}"), ionq.lease)
    assert await ionq.provider.find("job_first", ionq.lease) == first
    ionq.faults.add("status", 503, path="/v0.4/jobs")
    with pytest.raises(ProviderError):
        await ionq.provider.find("job_first", ionq.lease)


async def test_a_dry_run_is_not_found_as_the_job(ionq: Bench) -> None:
    assert list(await ionq.provider.validate(ionq.submission("job_a"), ionq.lease)) == []
    assert await ionq.provider.find("job_a", ionq.lease) is None
    wide = ionq.submission("job_a")
    text = emit(BELL, Dialect.IONQ_JSON).replace(b'"qubits":2', b'"qubits":99')
    refused = structs.replace(wide, text=text)
    assert await ionq.provider.validate(refused, ionq.lease) == ("the vendor answered 400",)


def dear(bench: Bench, job_id: str, cents: int) -> Submission:
    """A job of 0.11 USD for which ``cents`` are reserved."""
    return structs.replace(bench.submission(job_id), cost_ceiling_cents=cents)


async def test_a_dry_run_that_expects_a_higher_price_says_so(ionq: Bench) -> None:
    assert list(await ionq.provider.validate(dear(ionq, "job_a", 11), ionq.lease)) == []
    [why] = await ionq.provider.validate(dear(ionq, "job_b", 10), ionq.lease)
    assert why == "IonQ expects it to cost 0.11 USD, which is more than would be held"


@pytest.mark.attack("B4")
async def test_with_sessions_ionq_refuses_what_costs_more_than_its_reservation(
    ionq: Bench,
) -> None:
    assert isinstance(ionq.provider, IonqProvider)
    fake, ionq.provider._sessions = ionq.settings["fake"], True
    for job_id, cents, state in (("a", 11, VendorState.DONE), ("b", 10, VendorState.FAILED)):
        vendor_id = await ionq.provider.submit(dear(ionq, job_id, cents), ionq.lease)
        session = fake.sessions[fake.jobs[vendor_id]["session_id"]]
        assert session["settings"] == {
            "job_count_limit": 1, "cost_limit": {"unit": "usd", "value": cents / 100},
        }  # fmt: skip
        assert session["active"]
        status = await ionq.provider.status(vendor_id, ionq.lease)
        assert status.state is state
        assert status.cost_cents == (11 if state is VendorState.DONE else 0)
        assert status.detail == ("" if state is VendorState.DONE else "QuotaExhaustedError")
        assert not session["active"]
    devices = {d.name: d for d in await ionq.provider.backends()}
    assert devices["ionq:qpu.forte-1"].vendor_limits[0].by_gateway
    assert devices["ionq:simulator"].vendor_limits == ()


async def test_a_session_without_its_job_is_ended(ionq: Bench) -> None:
    assert isinstance(ionq.provider, IonqProvider)
    fake, ionq.provider._sessions = ionq.settings["fake"], True
    ionq.faults.add("status", 400, path="/v0.4/jobs", method="POST")
    with pytest.raises(ProviderError):
        await ionq.provider.submit(dear(ionq, "a", 11), ionq.lease)
    assert [s["active"] for s in fake.sessions.values()] == [False]
    # and where there are no sessions to be had, nothing is sent
    ionq.faults.add("after", 503, path="/v0.4/sessions")
    with pytest.raises(ProviderError, match="no session") as told:
        await ionq.provider.submit(dear(ionq, "b", 11), ionq.lease)
    assert (told.value.sent, told.value.retryable) == (False, True)
    assert fake.ran("b") == []
    ionq.backend = "ionq:simulator"
    await ionq.provider.submit(ionq.submission("c"), ionq.lease)
    assert len(fake.sessions) == 2


@pytest.mark.attack("B4")
async def test_a_project_without_budget_runs_nothing(ionq: Bench) -> None:
    ionq.settings["fake"].budget = 0.10
    vendor_id = await ionq.provider.submit(dear(ionq, "a", 11), ionq.lease)
    status = await ionq.provider.status(vendor_id, ionq.lease)
    assert (status.state, status.detail) == (VendorState.FAILED, "QuotaExhaustedError")
    assert status.cost_cents == 0


@pytest.mark.attack("S3")
async def test_the_device_that_it_ran_on_is_told(ionq: Bench) -> None:
    vendor_id = await ionq.provider.submit(ionq.submission("a"), ionq.lease)
    told = await ionq.provider.status(vendor_id, ionq.lease)
    assert told.backend == ionq.backend
    ionq.settings["fake"].lies.append("device")
    told = await ionq.provider.status(vendor_id, ionq.lease)
    assert told.backend == "ionq:qpu.forte-enterprise-1"


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    "states",
    [
        {"4": 1.0}, {"-1": 1.0}, {"0x1": 1.0}, {"0": 0.4}, {"0": 1.5, "1": -0.5}, {},
        {"0": float("nan")}, {"0": float("inf")}, {"9" * 400: 1.0},
    ],
)  # fmt: skip
def test_what_is_no_distribution_is_refused(states: dict[str, float]) -> None:
    with pytest.raises(VendorLied):
        counts_of(states, 100, 2)


@pytest.mark.parametrize(
    ("states", "shots", "counts"),
    [
        ({"0": 0.5, "3": 0.5}, 101, {0: 51, 3: 50}),
        ({"0": 1 / 3, "1": 1 / 3, "2": 1 / 3}, 100, {0: 34, 1: 33, 2: 33}),
        ({"2": 1.0000001}, 7, {2: 7}),
        ({"0": 0.9999, "1": 0.0001}, 10, {0: 10}),
    ],
)
def test_counts_add_up_to_the_shots(
    states: dict[str, float], shots: int, counts: dict[int, int]
) -> None:
    assert counts_of(states, shots, 2) == counts


@pytest.mark.parametrize(
    "url",
    ["http://api.ionq.co/v0.4", "ftp://x", "https://", "https://u:p@x", "https://x/?a", "//x", "x"],
)
def test_a_key_is_not_sent_in_clear_or_to_a_strange_url(url: str) -> None:
    with pytest.raises(ConfigError, match=r"ionq\.url"):
        checked_url(url, "ionq.url")
    assert checked_url("http://127.0.0.1:1/v0.4/", "ionq.url") == "http://127.0.0.1:1/v0.4"
