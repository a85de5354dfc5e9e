"""AWS credentials for one lease: cut down to it, for a quarter of an hour, and never shown."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.governance import World, world
from tests.support.sdks import moto, run

from cryogate.credentials import EnvelopeSealer, StoredSecrets
from cryogate.credentials.aws_sts import AwsSts
from cryogate.credentials.master_key import master_key
from cryogate.dev.aws import allowed
from cryogate.dev.braket import BUCKET, BraketFake
from cryogate.dev.serving import served
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import SystemClock
from cryogate.ports.credentials import LeaseTerms, LeaseUnavailable
from cryogate.providers.braket_policy import session_policy

FORTE = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"
TERMS = LeaseTerms("braket", "braket:forte-1", "e1", "a1", "s1", "cost <center>")
ROLE = "arn:aws:iam::123456789012:role/cryogate-braket"


def policy_of(terms: LeaseTerms, account: str) -> Mapping[str, Any]:
    device = FORTE if terms.backend else ""
    return session_policy(terms, account, bucket=BUCKET, prefix="cryogate", device_arn=device)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as found:
        yield found


async def source(made: World, url: str, root: Mapping[str, str]) -> AwsSts:
    sealer = EnvelopeSealer(master_key(Secret(b"k" * 32)))
    secrets = StoredSecrets(made.store, sealer, made.clock)
    value = Secret(json.dumps({"role_arn": ROLE, **root}).encode())
    await secrets.add("braket", "", value, "operator:admin")
    return AwsSts(
        secrets=secrets, clock=SystemClock(), url=url, region="us-east-1", policy=policy_of
    )


def root_of(fake: BraketFake) -> dict[str, str]:
    root = fake.accounts.root
    return {"access_key_id": root.key_id, "secret_access_key": root.secret}


async def test_a_lease_is_a_session_of_the_role_cut_down_to_it(made: World) -> None:
    fake = BraketFake()
    with served(fake.app) as url:
        sts = await source(made, url, root_of(fake))
        minted = await sts.mint("lea_abc", TERMS, 300)
        await sts.end(minted.handle)
        await sts.close()
    held = json.loads(minted.secret.reveal())
    session = fake.accounts.sessions[held["access_key_id"]]
    assert session.name == "lea-abc"
    assert session.tags == {"cryogate-experiment": "e1", "cryogate-agent": "a1",
                            "cryogate-cost-center": "cost _center_"}  # fmt: skip
    assert session.policy == policy_of(TERMS, "123456789012")
    life_ms = minted.expires_ms - SystemClock().now_ms()
    assert 800_000 < life_ms <= 900_000, "the shortest that STS gives"


@pytest.mark.parametrize(
    ("action", "resource", "may"),
    [
        ("braket:CreateQuantumTask", FORTE, True),
        ("braket:CreateQuantumTask", FORTE.replace("Forte-1", "Aria-1"), False),
        ("braket:CancelQuantumTask", "arn:aws:braket:us-east-1:123456789012:quantum-task/1", True),
        ("braket:GetQuantumTask", "arn:aws:braket:us-east-1:999999999999:quantum-task/1", False),
        ("braket:SearchQuantumTasks", "*", True),
        ("braket:CreateJob", "*", False),
        ("braket:DeleteSpendingLimit", "*", False),
        ("braket:UpdateSpendingLimit", "*", False),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/cryogate/e1/x/results.json", True),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/cryogate/e2/x/results.json", False),
        ("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/cryogate/e1/x/results.json", False),
        ("iam:PassRole", "*", False),
        ("sts:AssumeRole", ROLE, False),
    ],
)
def test_a_session_can_do_this_and_nothing_else(action: str, resource: str, may: bool) -> None:
    policy = policy_of(TERMS, "123456789012")
    assert allowed(policy, action, resource) is may
    assert len(json.dumps(policy)) < 2048
    look = policy_of(LeaseTerms("braket"), "123456789012")
    assert not allowed(look, action, resource)
    assert allowed(look, "braket:SearchDevices", "*")


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "breaks",
    [
        lambda fake: setattr(fake.accounts, "refuse", True),
        lambda fake: fake.faults.add("status", 500, path="/"),
        lambda fake: fake.faults.add("huge", 1 << 20, path="/"),
        lambda fake: fake.faults.add("malformed", path="/"),
        lambda fake: fake.faults.add("redirect", path="/"),
        lambda fake: fake.accounts.sessions.clear(),
    ],
)
async def test_whatever_goes_wrong_there_is_no_credential_and_nothing_is_told(
    made: World, breaks: Callable[[BraketFake], None], caplog: pytest.LogCaptureFixture
) -> None:
    fake = BraketFake()
    with served(fake.app) as url:
        sts = await source(made, url, root_of(fake))
        breaks(fake)
        with caplog.at_level(logging.DEBUG), pytest.raises(LeaseUnavailable) as told:
            await sts.mint("lea_abc", TERMS, 300)
        await sts.close()
    assert fake.accounts.root.secret not in caplog.text + str(told.value) + repr(told.value)


@pytest.mark.attack("S1")
async def test_a_secret_of_another_shape_is_refused_without_telling_it(made: World) -> None:
    sts = await source(made, "http://127.0.0.1:9", {"access_key_id": "canary-key"})
    with pytest.raises(LeaseUnavailable, match="access_key_id") as told:
        await sts.mint("lea_abc", TERMS, 300)
    assert "canary-key" not in str(told.value)
    assert told.value.__cause__ is None
    await sts.close()


@pytest.mark.slow
async def test_another_sts_gives_a_session_too(made: World, tmp_path: Path) -> None:
    with moto(tmp_path) as url:
        role = run("aws.py", "moto", url)["role"]
        root = {"access_key_id": "A" * 16, "secret_access_key": "b" * 16, "role_arn": role}
        sts = await source(made, url, root)
        minted = await sts.mint("lea_abc", TERMS, 300)
        await sts.close()
    held = json.loads(minted.secret.reveal())
    assert held["access_key_id"].startswith("ASIA")
    assert minted.expires_ms > SystemClock().now_ms()
