"""Google's own packages, unmodified: the Engine's generated client, and Cirq's reader of circuits.

Runs in the SDKs' environment. Cirq's `Engine` speaks gRPC alone (its client is the asynchronous
one, which has no REST transport); the generated client beside it has one.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def client(url: str, token: str) -> Any:
    from cirq_google.cloud.quantum_v1alpha1.services.quantum_engine_service import (
        QuantumEngineServiceClient,
    )
    from cirq_google.cloud.quantum_v1alpha1.services.quantum_engine_service.transports import (
        QuantumEngineServiceRestTransport,
    )
    from google.oauth2.credentials import Credentials

    transport = QuantumEngineServiceRestTransport(
        host=url.removeprefix("http://"), url_scheme="http", credentials=Credentials(token)
    )
    return QuantumEngineServiceClient(transport=transport)


def program_of(document: dict[str, Any], qubits: list[str]) -> Any:
    from cirq_google.api import v2
    from google.protobuf import json_format

    program = document["program"]
    program["constants"] = [{"qubit": {"id": name}} for name in qubits]
    found = v2.program_pb2.Program()
    json_format.ParseDict(program, found)
    return found


def read(document: dict[str, Any]) -> dict[str, float]:
    """The chance of each outcome, bit 0 rightmost, by Cirq's reader and simulator."""
    import cirq
    import cirq_google

    size = len(document["program"]["constants"])
    names = [f"{number // 3 + 4}_{number % 3 + 2}" for number in range(size)]
    circuit = cirq_google.CIRCUIT_SERIALIZER.deserialize(program_of(document, names))
    bits = {key: op.qubits[0] for op in circuit.all_operations()
            for key in [cirq.measurement_key_name(op, default=None)] if key}  # fmt: skip
    bare = circuit[:-1]
    order = [cirq.GridQubit(*map(int, name.split("_"))) for name in names]
    state = cirq.Simulator(dtype="complex128").simulate(bare, qubit_order=order).final_state_vector
    chances: dict[str, float] = {}
    keys = sorted(bits, key=lambda key: -int(key[1:]))
    for number, amplitude in enumerate(state):
        where = {q: number >> (size - 1 - place) & 1 for place, q in enumerate(order)}
        text = "".join(str(where[bits[key]]) for key in keys)
        chances[text] = chances.get(text, 0.0) + float(abs(amplitude) ** 2)
    return {text: chance for text, chance in chances.items() if chance > 1e-9}


def run(url: str, token: str, project: str, document: dict[str, Any]) -> dict[str, Any]:
    """Devices, and a job from its making to its counts, by the generated client."""
    import cirq_google
    from cirq_google.api import v2
    from cirq_google.cloud import quantum
    from google.protobuf import any_pb2

    service, home = client(url, token), f"projects/{project}"
    listed = [p.name for p in service.list_quantum_processors({"parent": home})]
    spec = v2.device_pb2.DeviceSpecification()
    assert service.get_quantum_processor({"name": listed[0]}).device_spec.Unpack(spec)
    device = cirq_google.GridDevice.from_proto(spec)
    size = len(document["program"]["constants"])
    qubits = [str(q) for q in sorted(device.metadata.qubit_set)][:size]
    names = [name.strip("q()").replace(", ", "_") for name in qubits]
    program = program_of(document, names)
    device.validate_circuit(cirq_google.CIRCUIT_SERIALIZER.deserialize(program))
    code, context = any_pb2.Any(), any_pb2.Any()
    code.Pack(program)
    sweep = v2.run_context_pb2.RunContext()
    sweep.parameter_sweeps.add(repetitions=200)
    context.Pack(sweep)
    made = service.create_quantum_program(quantum.CreateQuantumProgramRequest(
        parent=home,
        quantum_program=quantum.QuantumProgram(name=f"{home}/programs/sdk", code=code),
    ))  # fmt: skip
    selector = quantum.SchedulingConfig.ProcessorSelector(processor=listed[0])
    job = service.create_quantum_job(quantum.CreateQuantumJobRequest(
        parent=made.name,
        quantum_job=quantum.QuantumJob(
            name=f"{made.name}/jobs/sdk", run_context=context,
            scheduling_config=quantum.SchedulingConfig(processor_selector=selector),
            labels={"cryogate_job": "sdk"},
        ),
    ))  # fmt: skip
    while True:
        state = service.get_quantum_job({"name": job.name}).execution_status.state
        if state == quantum.ExecutionStatus.State.SUCCESS:
            break
    answer = v2.result_pb2.Result()
    assert service.get_quantum_result({"parent": job.name}).result.Unpack(answer)
    [[found]] = v2.results_from_proto(answer)
    keys = sorted(found.measurements, key=lambda key: -int(key[1:]))
    counts: dict[str, int] = {}
    for row in zip(*(found.measurements[key][:, 0] for key in keys), strict=True):
        text = "".join(str(int(bit)) for bit in row)
        counts[text] = counts.get(text, 0) + 1
    budget = next(iter(service.list_quantum_reservation_budgets({"parent": home})))
    kept = service.get_quantum_program({"name": made.name, "return_code": True})
    echoed = v2.program_pb2.Program()
    assert kept.code.Unpack(echoed)
    return {
        "processors": sorted(name.rpartition("/")[2] for name in listed),
        "counts": counts,
        "granted_s": budget.granted_duration.seconds,
        "echoed": echoed == program,
    }


if __name__ == "__main__":
    fed = json.loads(sys.stdin.read())
    done = {
        "run": run(sys.argv[1], sys.argv[2], sys.argv[3], fed[-1]),
        "read": [read(document) for document in fed],
    }
    print(json.dumps(done))  # noqa: T201
