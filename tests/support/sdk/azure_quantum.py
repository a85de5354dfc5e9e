"""Microsoft's own client, unmodified, against the given URL. Runs in the SDKs' environment."""

from __future__ import annotations

import json
import sys
from typing import Any


def run(url: str, key: str, place: str) -> dict[str, Any]:
    from azure.core.credentials import AzureKeyCredential
    from azure.quantum import Workspace
    from azure.quantum.target.rigetti import Result, Rigetti

    words = place.split("/")
    # a workspace's key, since this client sends no bearer token without TLS
    workspace = Workspace(
        subscription_id=words[2], resource_group=words[4], name=words[8], location="eastus",
        credential=AzureKeyCredential(key), _quantum_endpoint=url,
    )  # fmt: skip
    circuit = {"gateset": "qis", "qubits": 2, "circuit": [
        {"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}]}  # fmt: skip
    job = workspace.get_targets("ionq.simulator").submit(circuit, name="sdk", shots=100)
    result = job.get_results(timeout_secs=60)
    second = workspace.get_targets("ionq.simulator").submit(circuit, name="stop", shots=100)
    workspace.cancel_job(second)
    quil = Rigetti(workspace=workspace, name="rigetti.sim.qvm")
    bell = "DECLARE ro BIT[2]\n\nH 0\nCNOT 0 1\n\nMEASURE 0 ro[0]\nMEASURE 1 ro[1]\n"
    ran = quil.submit(bell, name="quil", shots=50)
    ran.wait_until_completed(timeout_secs=60)
    return {
        "ro": sorted({tuple(row) for row in Result(ran)["ro"]}),
        "rows": len(Result(ran)["ro"]),
        "targets": [target.name for target in workspace.get_targets()],
        "result": result,
        "stopped": workspace.get_job(second.id).details.status,
    }


if __name__ == "__main__":
    told = json.dumps(run(*sys.argv[1:]))
    print("\n" + told)  # noqa: T201 - the client shows dots while it waits
