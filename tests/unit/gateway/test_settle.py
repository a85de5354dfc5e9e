"""B4, S3: what a vendor says of money and results is used only where it can be true."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cryogate.domain.experiments import Release
from cryogate.domain.jobs import JobState
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.settle import Charge, MalformedResult, charge, checked, printable
from cryogate.ports.provider import RawResult


def job(results: Release = Release.RAW, bound: int = 100) -> Job:
    return Job(
        job_id="j", agent_id="a", owner="o", experiment_id="e", token_id="t", token_issued_ms=0,
        session_id=None, backend="local:null", shots=10, state=JobState.QUEUED,
        circuit_sha256="", program=None, results=results, currency="USD",
        cost_bound_cents=bound, policy_digest="", approval_id=None, vendor_id=None, failure=None,
        claim_fence=1, price_currency="", rate="", updated_ms=0,
    )  # fmt: skip


@pytest.mark.attack("B4")
@pytest.mark.parametrize(
    ("figure", "why"),
    [
        (None, "vendor_cost_missing"),
        (-1, "vendor_cost_negative"),
        (True, "vendor_cost_not_a_number"),
        (3.5, "vendor_cost_not_a_number"),
        ("40", "vendor_cost_not_a_number"),
        (100_001, "vendor_cost_absurd"),
        (2**70, "vendor_cost_absurd"),
    ],
)
def test_what_is_no_price_is_charged_at_the_bound(figure: object, why: str) -> None:
    assert charge(job(), figure) == Charge(100, "budget.bound_charged", why)


@pytest.mark.attack("B4")
def test_a_price_is_charged_as_it_is_and_flagged_above_the_bound() -> None:
    assert charge(job(), 0) == Charge(0)
    assert charge(job(), 100) == Charge(100)
    assert charge(job(), 101) == Charge(101, "budget.overrun", "vendor_cost_above_bound")


def result(counts: Any = None, shots: Any = 10, memory: Any = None) -> RawResult:
    return RawResult({"00": 6, "11": 4} if counts is None else counts, shots, memory)


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    "bad",
    [
        result(shots=11),
        result(shots=0),
        result(shots=True),
        result({"00": 11}),
        result({"00": 9}),
        result({"00": 11, "11": -1}),
        result({"00": 9.0, "11": 1}),
        result({"0": 10}),
        result({"000": 10}),
        result({"0x": 10}),
        result({"0\n": 10}),
        result({"\u0660\u0660": 10}),
        result({0: 10}),
        result(memory=("00",)),
        result(memory=["00"] * 10),
        result(memory=("01",) * 10),
    ],
)
def test_a_result_that_cannot_be_this_jobs_is_refused(bad: RawResult) -> None:
    with pytest.raises(MalformedResult):
        checked(job(), 2, bad)


@pytest.mark.attack("D2")
@pytest.mark.parametrize("right", [Release.NONE, Release.AGGREGATES])
def test_memory_is_kept_only_for_a_reader_of_raw_results(right: Release) -> None:
    memory = ("00",) * 6 + ("11",) * 4
    assert checked(job(), 2, result(memory=memory))[1] == memory
    assert checked(job(right), 2, result(memory=memory))[1] is None


def test_vendor_text_is_cut_to_what_cannot_act() -> None:
    assert printable("a\x1b[31m\u202eb") == "a?[31m?b"
    assert len(printable("x" * 10_000)) == 256


@pytest.mark.attack("B4")
def test_a_bill_in_another_currency_than_the_price_is_charged_at_the_bound() -> None:
    assert charge(job(), 5, "EUR") == Charge(
        100, "budget.bound_charged", "vendor_cost_other_currency"
    )
    assert charge(job(), 5, "USD") == Charge(5)


@pytest.mark.attack("B4")
def test_a_bill_is_converted_at_the_rate_of_its_bound() -> None:
    priced = msgspec.structs.replace(job(bound=92), price_currency="HQC", rate="23/25")
    assert priced.ceiling_cents == 100
    assert charge(priced, priced.ceiling_cents) == Charge(92)
    assert charge(priced, 50) == Charge(46)
    assert charge(priced, 51, "HQC") == Charge(47)
    assert charge(priced, 101) == Charge(93, "budget.overrun", "vendor_cost_above_bound")
    assert charge(priced, 50, "USD").flag == "budget.bound_charged"
