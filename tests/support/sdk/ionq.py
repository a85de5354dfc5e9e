"""IonQ's own clients, unmodified, against the URL that is given. Runs in the SDKs' environment."""

from __future__ import annotations

import json
import sys


def with_qiskit(url: str, key: str) -> dict[str, int]:
    from qiskit import QuantumCircuit
    from qiskit_ionq import IonQProvider

    backend = IonQProvider(key, url=f"{url}/v0.4").get_backend("ionq_simulator")
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    job = backend.run(circuit, shots=1000)
    counts: dict[str, int] = dict(job.get_counts())
    return counts


def with_cirq(url: str, key: str) -> dict[str, int]:
    import cirq
    import cirq_ionq

    service = cirq_ionq.Service(api_key=key, remote_host=url)
    first, second = cirq.LineQubit.range(2)
    circuit = cirq.Circuit(
        cirq.H(first), cirq.CNOT(first, second), cirq.measure(first, second, key="m")
    )
    result = service.run(circuit, repetitions=1000, target="simulator")
    return {f"{state:02b}": int(n) for state, n in result.histogram(key="m").items()}


def with_core(url: str, key: str) -> dict[str, object]:
    """The generated client checks every answer against IonQ's schema as it reads it."""
    from ionq_core import IonQClient
    from ionq_core.api.backends import get_backends
    from ionq_core.api.default import (
        create_job,
        estimate_job_cost,
        get_job,
        get_job_cost,
        get_job_probabilities,
        get_jobs,
    )
    from ionq_core.models import CircuitJobCreationPayload

    client = IonQClient(api_key=key, base_url=f"{url}/v0.4")
    payload = CircuitJobCreationPayload.from_dict({
        "type": "ionq.circuit.v1", "backend": "qpu.forte-1", "shots": 100, "name": "core",
        "metadata": {"a": "b"},
        "input": {"gateset": "qis", "qubits": 2, "circuit": [
            {"gate": "h", "target": 0}, {"gate": "cnot", "target": 1, "control": 0}]},
    })  # fmt: skip
    made = create_job.sync(client=client, body=payload)
    while True:
        job = get_job.sync(made.id, client=client)
        if job.status == "completed":
            break
    devices = get_backends.sync(client=client)
    cost = get_job_cost.sync(made.id, client=client)
    estimate = estimate_job_cost.sync(client=client, backend="qpu.forte-1", shots=100)
    chances = get_job_probabilities.sync(made.id, client=client)
    listed = get_jobs.sync(client=client)
    return {
        "devices": sorted(d.backend for d in devices),
        "cost": cost.cost.value,
        "unit": estimate.estimated_unit,
        "chances": chances.to_dict(),
        "listed": listed.jobs[0].id == made.id,
    }


if __name__ == "__main__":
    which = {"qiskit": with_qiskit, "cirq": with_cirq, "core": with_core}[sys.argv[1]]
    print(json.dumps(which(sys.argv[2], sys.argv[3])))  # noqa: T201
