"""IBM's own client, unmodified, against the URL that is given. Runs in the SDKs' environment."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def with_runtime(url: str, key: str, crn: str) -> dict[str, Any]:
    os.environ |= {"IAM_URL": url, "GLOBAL_SEARCH_URL": url, "GLOBAL_CATALOG_URL": url}
    from qiskit import QuantumCircuit, transpile
    from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2

    service = QiskitRuntimeService(
        channel="ibm_quantum_platform", token=key, instance=crn,
        url=f"{url}/experimental/ibm/api/v1",
    )  # fmt: skip
    backend = service.backend("ibm_torino")
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    from qiskit import ClassicalRegister

    circuit.add_register(ClassicalRegister(2, "c"))
    circuit.measure([0, 1], [0, 1])
    sampler = SamplerV2(mode=backend)
    sampler.options.max_execution_time = 60
    job = sampler.run([transpile(circuit, backend, optimization_level=0)], shots=200)
    counts = job.result()[0].data.c.get_counts()
    return {"counts": dict(counts), "usage": job.usage(), "status": str(job.status())}


if __name__ == "__main__":
    print(json.dumps(with_runtime(*sys.argv[1:])))  # noqa: T201
