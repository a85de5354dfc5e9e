"""Braket: what is asked of it, what it says, and what is not believed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import ROOT
from tests.support.vendors import BELL, ORDER, Bench, bench_of

from cryogate.circuits import Dialect
from cryogate.dev.aws import allowed
from cryogate.dev.braket import BUCKET, limit_of
from cryogate.ports.credentials import LeaseTerms
from cryogate.ports.provider import Control, ProviderError, VendorLied, VendorLimit, VendorState
from cryogate.providers import BraketProvider
from cryogate.providers.braket_policy import session_policy

PAGES = Path(ROOT / "docs/providers/braket")
FORTE = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"


@pytest.fixture
async def braket() -> AsyncIterator[Bench]:
    async with bench_of("braket") as made:
        made.settings["fake"].polls = 0
        yield made


async def done(bench: Bench) -> str:
    vendor_id = await bench.provider.submit(bench.submission("job_a"), bench.lease)
    assert (await bench.provider.status(vendor_id, bench.lease)).state is VendorState.DONE
    return vendor_id


async def test_devices_are_those_of_the_region_with_what_they_can(braket: Bench) -> None:
    devices = {d.name: d for d in await braket.provider.backends(braket.lease)}
    forte = devices["braket:forte-1"]
    assert (forte.qubits, forte.max_shots, forte.dialect) == (36, 10_000, Dialect.BRAKET)
    assert {"cx", "rxx", "sdg", "cz"} <= forte.gate_set
    assert forte.queue == 3
    assert forte.native_gates == {"GPI", "GPI2"}
    assert devices["braket:sv1"].simulator
    assert not devices["braket:garnet"].simulator


async def test_the_task_carries_our_id_our_tags_and_the_confirmed_text(braket: Bench) -> None:
    submission = braket.submission("job_a", ORDER)
    await braket.provider.submit(submission, braket.lease)
    sent = json.loads(braket.faults.seen[-1][3])
    assert json.loads(sent["action"])["source"].encode() == submission.text
    assert sent["clientToken"] == "job_a"
    assert sent["tags"] == {
        "cryogate:job": "job_a", "cryogate:program": ORDER.fingerprint,
        "cryogate:experiment": "e1", "cryogate:cost-center": "cc",
    }  # fmt: skip
    assert sent["outputS3KeyPrefix"] == "cryogate/e1"


async def test_its_price_is_the_price_lists(braket: Bench) -> None:
    vendor_id = await done(braket)
    status = await braket.provider.status(vendor_id, braket.lease)
    assert (status.cost_cents, status.part_of_bound) == (None, (1, 1))
    result = await braket.provider.result(vendor_id, braket.lease, BELL)
    assert result.memory is not None
    assert len(result.memory) == 100


@pytest.mark.attack("S3")
@pytest.mark.parametrize("lie", ["task", "state"])
async def test_an_answer_that_cannot_be_true_is_not_believed(braket: Bench, lie: str) -> None:
    vendor_id = await done(braket)
    braket.settings["fake"].lies.append(lie)
    with pytest.raises(VendorLied):
        await braket.provider.status(vendor_id, braket.lease)


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    ("lie", "why"),
    [("circuit", "another circuit"), ("rows", "row"), ("elsewhere", "another place")],
)
async def test_a_result_of_something_else_is_refused(braket: Bench, lie: str, why: str) -> None:
    fake = braket.settings["fake"]
    if lie != "elsewhere":
        fake.lies.append(lie)
    vendor_id = await done(braket)
    if lie == "elsewhere":
        fake.lies.append(lie)
    with pytest.raises(VendorLied, match=why):
        await braket.provider.result(vendor_id, braket.lease, BELL)


@pytest.mark.attack("S3")
async def test_a_result_of_another_task_is_refused(braket: Bench) -> None:
    first = await done(braket)
    other = await braket.provider.submit(braket.submission("job_b"), braket.lease)
    await braket.provider.status(other, braket.lease)
    objects = braket.settings["fake"].objects
    keys = list(objects)
    objects[keys[0]] = objects[keys[1]]
    with pytest.raises(VendorLied, match="another task"):
        await braket.provider.result(first, braket.lease, BELL)


# -- spending limits ---------------------------------------------------------------------------


async def test_limits_that_an_operator_has_set_are_told(braket: Bench) -> None:
    fake = braket.settings["fake"]
    fake.limits = {FORTE: limit_of(FORTE, "100.00", end=4e9)}
    await braket.provider.submit(braket.submission("job_a"), braket.lease)
    devices = {d.name: d for d in await braket.provider.backends(braket.lease)}
    assert devices["braket:forte-1"].vendor_limits == (
        VendorLimit(Control.MAX_COST, "device", "USD", 10_000, 830, 4 * 10**12),
    )
    assert devices["braket:sv1"].vendor_limits == ()


async def test_hardware_without_a_limit_takes_no_job(braket: Bench) -> None:
    fake = braket.settings["fake"]
    garnet = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"

    async def states() -> dict[str, str]:
        return {d.name: d.status for d in await braket.provider.backends(braket.lease)}

    fake.limits = {garnet: limit_of(garnet, "5.00", start=1, end=2)}  # over since 1970
    unlimited = "no_spending_limit"
    assert await states() == {
        "braket:sv1": "online", "braket:forte-1": unlimited, "braket:garnet": unlimited,
    }  # fmt: skip
    fake.limits = {garnet: limit_of(garnet, "5.00")}
    assert (await states())["braket:garnet"] == "online"
    # a role that may not look is one without limits
    braket.faults.add("status", 403, path="/spending-limits")
    assert (await states())["braket:garnet"] == unlimited
    assert isinstance(braket.provider, BraketProvider)
    braket.provider._without_limit = True
    assert set((await states()).values()) == {"online"}


@pytest.mark.attack("B4")
async def test_a_task_that_the_limit_has_no_room_for_is_refused_by_aws(braket: Bench) -> None:
    fake = braket.settings["fake"]
    fake.limits = {FORTE: limit_of(FORTE, "10.00")}
    await braket.provider.backends(braket.lease)
    await braket.provider.submit(braket.submission("job_a"), braket.lease)  # 8.30
    with pytest.raises(ProviderError, match=r"at most 10\.00 USD is left") as told:
        await braket.provider.submit(braket.submission("job_b"), braket.lease)
    assert (told.value.sent, told.value.retryable) == (False, False)
    assert len(fake.tasks) == 1


@pytest.mark.attack("S3")
async def test_a_program_in_other_words_is_the_same_and_another_device_is_not(
    braket: Bench,
) -> None:
    fake = braket.settings["fake"]
    vendor_id = await done(braket)
    [key] = fake.objects
    echoed = json.loads(fake.objects[key])
    source = echoed["additionalMetadata"]["action"]["source"]
    echoed["additionalMetadata"]["action"]["source"] = "// as compiled\n" + source
    fake.objects[key] = json.dumps(echoed).encode()
    assert (await braket.provider.result(vendor_id, braket.lease, BELL)).shots == 100
    fake.lies.append("device")
    assert (await braket.provider.status(vendor_id, braket.lease)).backend == "braket:garnet"


def test_the_template_limits_every_qpu_that_the_role_may_use() -> None:
    found = json.loads((PAGES / "spending-limits.json").read_text("utf-8"))
    assert found["AWSTemplateFormatVersion"] == "2010-09-09"
    limited = set()
    for resource in found["Resources"].values():
        assert resource["Type"] == "AWS::Braket::SpendingLimit"
        assert set(resource["Properties"]) == {"DeviceArn", "SpendingLimit", "TimePeriod", "Tags"}
        assert re.fullmatch(r"\d+(\.\d{1,2})?", resource["Properties"]["SpendingLimit"])
        limited.add(resource["Properties"]["DeviceArn"])
    submit = next(s for s in policy("role")["Statement"] if s["Sid"] == "Submit")
    assert limited == {arn for arn in submit["Resource"] if ":device/qpu/" in arn}
    never = next(s for s in policy("role")["Statement"] if s["Effect"] == "Deny")
    for verb in ("Create", "Update", "Delete"):
        assert f"braket:{verb}SpendingLimit" in never["Action"]


# -- the policies beside the page --------------------------------------------------------------


def policy(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((PAGES / f"{name}-policy.json").read_text("utf-8"))
    return document


@pytest.mark.parametrize("name", ["role", "trust", "user", "bucket"])
def test_a_policy_has_the_shape_that_iam_takes(name: str) -> None:
    found = policy(name)
    assert set(found) == {"Version", "Statement"}
    assert found["Version"] == "2012-10-17"
    sids = [s["Sid"] for s in found["Statement"]]
    assert len(sids) == len(set(sids))
    for statement in found["Statement"]:
        assert set(statement) <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
        assert statement["Sid"].isalnum()
        assert statement["Effect"] in ("Allow", "Deny")
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            service, _, verb = action.partition(":")
            assert service in ("braket", "s3", "sts")
            assert verb
            assert statement["Effect"] == "Deny" or "*" not in action, "least privilege"
        assert ("Principal" in statement) == (name in ("trust", "bucket"))
    assert len(json.dumps(found)) < 6144
    assert f"{name}-policy.json" in Path(ROOT / "docs/providers/braket.md").read_text("utf-8")


def test_the_role_allows_all_that_a_session_may_ask_for() -> None:
    bucket = "amazon-braket-cryogate-123456789012"
    terms = LeaseTerms("braket", "braket:forte-1", "e1", "a1")
    session = session_policy(
        terms, "123456789012", bucket=bucket, prefix="cryogate", device_arn=FORTE
    )
    look = session_policy(LeaseTerms("braket"), "123456789012", bucket="", prefix="", device_arn="")
    for statement in (*session["Statement"], *look["Statement"]):
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            for resource in [resources] if isinstance(resources, str) else resources:
                if action == "braket:TagResource" and "device" in resource:
                    continue
                one = resource.replace("*", "x") if resource != "*" else "*"
                assert allowed(policy("role"), action, one), (action, one)
    for action in (
        "braket:CreateJob",
        "braket:UpdateSpendingLimit",
        "iam:PassRole",
        "s3:ListBucket",
    ):
        allow = [s for s in policy("role")["Statement"] if s["Effect"] == "Allow"]
        assert not allowed({"Statement": allow}, action, "*")
    assert BUCKET
