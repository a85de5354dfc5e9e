"""AWS's own clients, unmodified, against the URL that is given. Runs in the SDKs' environment."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any
from unittest import mock


def with_braket(url: str, key_id: str, secret: str) -> dict[str, Any]:
    """The Braket SDK: device capabilities, a task, its result from S3."""
    import boto3
    from braket.aws import AwsQuantumTask, AwsSession
    from braket.circuits import Circuit

    os.environ["AWS_ENDPOINT_URL"] = url
    session = boto3.Session(key_id, secret, region_name="us-east-1")
    client = session.client("braket")
    aws = AwsSession(session, braket_client=client, default_bucket="amazon-braket-test")
    arn = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"
    task = AwsQuantumTask.create(
        aws, arn, Circuit().h(0).cnot(0, 1), ("amazon-braket-test", "tasks"), shots=100,
        tags={"cryogate:job": "sdk"}, poll_interval_seconds=0.05,
    )  # fmt: skip
    counts = task.result().measurement_counts
    listed = client.search_quantum_tasks(filters=[])["quantumTasks"]
    limits = client.search_spending_limits()["spendingLimits"]
    spent = {limit["deviceArn"]: limit["queuedSpend"] for limit in limits}
    return {"counts": dict(counts), "found": listed[0]["tags"], "queued": spent[arn]}


def with_moto(url: str) -> dict[str, Any]:
    """A role in moto, which AssumeRole can be asked for."""
    import boto3

    iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1",
                       aws_access_key_id="a" * 16, aws_secret_access_key="b" * 16)  # fmt: skip
    role = iam.create_role(RoleName="cryogate-braket", AssumeRolePolicyDocument="{}")
    arn: str = role["Role"]["Arn"]
    return {"role": arn}


def signed(asked: dict[str, Any]) -> str:
    """The Authorization header that botocore makes of a request."""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = Credentials(asked["key_id"], asked["secret"], asked["token"] or None)
    request = AWSRequest(asked["method"], asked["url"], headers=asked["headers"],
                         data=asked["body"].encode())  # fmt: skip
    kind = S3SigV4Auth if asked["service"] == "s3" else SigV4Auth
    at = datetime.fromtimestamp(asked["now_ms"] / 1000, UTC).replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at, create=True):
        kind(keys, asked["service"], asked["region"]).add_auth(request)
    header: str = request.headers["Authorization"]
    return header


if __name__ == "__main__":
    found: Any
    if sys.argv[1] == "signed":
        found = [signed(asked) for asked in json.loads(sys.stdin.read())]
    elif sys.argv[1] == "moto":
        found = with_moto(sys.argv[2])
    else:
        found = with_braket(*sys.argv[2:])
    print(json.dumps(found))  # noqa: T201
