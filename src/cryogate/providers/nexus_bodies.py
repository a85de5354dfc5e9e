"""What Quantinuum Nexus is sent: resources of JSON:API, and how a job is to be run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from cryogate.ports.credentials import Lease
from cryogate.ports.provider import ProviderError, Submission
from cryogate.providers.nexus_wire import Held

_HARDWARE: Final = re.compile(r"H[0-9]-[0-9]")


def held(lease: Lease) -> Held:
    """What ``lease`` holds.

    Raises:
        ProviderError: not what Nexus needs.
    """
    try:
        return msgspec.json.decode(lease.secret.reveal(), type=Held)
    except msgspec.MsgspecError:
        raise ProviderError("the lease holds no token", sent=False, retryable=False) from None


def resource(kind: str, attributes: Mapping[str, Any], project: str) -> Mapping[str, Any]:
    """A new thing in the project."""
    inside = {"project": {"data": {"id": project, "type": "project"}}}
    return {"data": {"attributes": attributes, "relationships": inside, "type": kind}}


def execution(
    name: str, device: str, item: Mapping[str, Any], tags: Mapping[str, str], user_group: str
) -> Mapping[str, Any]:
    """A job that runs one circuit as it stands: nothing compiles, swaps or optimises it."""
    return {
        "name": name,
        "description": "",
        "properties": tags,
        "job_type": "execute",
        "definition": {
            "job_definition_type": "execute_job_definition",
            "backend_config": _machine(device),
            "user_group": user_group or None,
            "target_region": None,
            "valid_check": True,
            "language": "AUTO",
            "wasm_module_id": None,
            "gpu_decoder_config_id": None,
            "credential_name": None,
            "items": [item],
        },
    }


def _machine(device: str) -> Mapping[str, Any]:
    config: dict[str, Any] = {
        "type": "QuantinuumConfig", "device_name": device, "machine_debug": False,
        "attempt_batching": False, "allow_implicit_swaps": False, "postprocess": False,
        "no_opt": True, "allow_2q_gate_rebase": False, "leakage_detection": False,
        "simplify_initial": False,
    }  # fmt: skip
    if not _HARDWARE.fullmatch(device):
        config |= {"simulator": "state-vector", "noisy_simulation": True}
    return config


def properties(submission: Submission, lease: Lease) -> Mapping[str, str]:
    """What the job is for, as the project's properties."""
    return {
        "cryogate_job": submission.job_id,
        "cryogate_program": submission.program.fingerprint,
        "cryogate_experiment": submission.experiment_id,
        "cryogate_cost_center": lease.terms.cost_center or "none",
    }
