"""The session policy of a Braket lease: one device, one folder, nothing else.

Pure: terms in, a policy document out, so that a test can hold it against AWS's limits and docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryogate.ports.credentials import LeaseTerms


def session_policy(
    terms: LeaseTerms, account: str, *, bucket: str, prefix: str, device_arn: str
) -> Mapping[str, Any]:
    """What the lease may do. Without a device it may only look at devices."""
    look = {
        "Sid": "Look",
        "Effect": "Allow",
        "Action": ["braket:GetDevice", "braket:SearchDevices", "braket:SearchSpendingLimits"],
        "Resource": "*",
    }
    if not device_arn:
        return {"Version": "2012-10-17", "Statement": [look]}
    tasks = f"arn:aws:braket:*:{account}:quantum-task/*"
    folder = f"arn:aws:s3:::{bucket}/{prefix}/{terms.experiment_id}/*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Submit",
                "Effect": "Allow",
                "Action": ["braket:CreateQuantumTask", "braket:TagResource"],
                "Resource": [device_arn, tasks],
            },
            {
                "Sid": "Follow",
                "Effect": "Allow",
                "Action": ["braket:GetQuantumTask", "braket:CancelQuantumTask"],
                "Resource": tasks,
            },
            {
                "Sid": "Find",
                "Effect": "Allow",
                "Action": "braket:SearchQuantumTasks",
                "Resource": "*",
            },
            {
                "Sid": "Results",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": folder,
            },
        ],
    }
