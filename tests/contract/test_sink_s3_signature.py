"""S3 signatures by AWS' own code: moto checks them with botocore, and judges by policy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from tests.support.http_receivers import signed_as
from tests.support.sdks import moto
from tests.support.sinks import fetcher, setup

from cryogate.ports.sinks import Entry, SinkUnavailable
from cryogate.sinks.registry import make

ENTRY = Entry("log.example/one", 7, b'{"seq":7}', {"seq": 7})
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:PutObject",
                   "Resource": "arn:aws:s3:::audit-bucket/log/*"}],
}  # fmt: skip


@dataclass
class Account:
    url: str
    key_id: str
    secret: str


def iam(url: str, **form: str) -> str:
    body = {"Version": "2010-05-08", "UserName": "sink", **form}
    answer = httpx.post(url, data=body, headers=signed_as("iam"))
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A user who may write into one folder of one bucket; from then on moto believes nobody."""
    with moto(tmp_path_factory.mktemp("moto")) as url:
        for bucket in ("audit-bucket", "other-bucket"):
            made = httpx.put(f"{url}/{bucket}", headers=signed_as("s3"))
            assert made.status_code == 200
        iam(url, Action="CreateUser")
        iam(url, Action="PutUserPolicy", PolicyName="write", PolicyDocument=json.dumps(POLICY))
        told = iam(url, Action="CreateAccessKey")
        key_id = re.search(r"<AccessKeyId>(\w+)<", told)
        secret = re.search(r"<SecretAccessKey>([^<]+)<", told)
        assert key_id
        assert secret
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0")
        yield Account(url, key_id[1], secret[1])


async def deliver(account: Account, path: str, **more: object) -> None:
    given: dict[str, object] = {
        "user": account.key_id, "token": account.secret, "region": "us-east-1",
        "now_ms": lambda: time.time_ns() // 10**6, **more,
    }  # fmt: skip
    async with fetcher() as send:
        await make(setup(f"s3+{account.url}{path}", send, **given)).deliver([ENTRY])  # type: ignore[arg-type]


async def test_botocore_finds_our_signature_right(account: Account) -> None:
    await deliver(account, "/audit-bucket/log")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/audit-bucket/log", {"token": "another-secret"}),
        ("/audit-bucket/log", {"user": "AKIAAAAAAAAAAAAAAAAA"}),
        ("/audit-bucket/elsewhere", {}),
        ("/other-bucket/log", {}),
    ],
    ids=["secret", "key", "folder", "bucket"],
)
async def test_and_nobody_elses(account: Account, path: str, more: dict[str, object]) -> None:
    with pytest.raises(SinkUnavailable, match="answered 403"):
        await deliver(account, path, **more)
