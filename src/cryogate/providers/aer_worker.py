"""Runs one program on qiskit-aer; imported only inside a guarded worker.

A job is a JSON head line (shots, noise, seed) and the canonical text; the reply is counts as JSON.
The text is read again here, so the simulator runs what was checked and nothing else.
"""

from __future__ import annotations

import io
import json
from collections import Counter

from qiskit import QuantumCircuit, qasm2, qpy, transpile
from qiskit_aer import AerSimulator

from cryogate.circuits import CircuitError, Dialect, Program, emit
from cryogate.providers.aer_noise import BASIS, noise_model

_SIMULATOR = AerSimulator(method="automatic", max_parallel_threads=1)


def entrypoint(payload: bytes) -> bytes:
    """Counts by bit string, classical bit 0 rightmost, registers joined without spaces."""
    head, _, text = payload.partition(b"\n")
    asked = json.loads(head)
    shots = int(asked["shots"])
    program = Program.from_bytes(text)
    if not program.facts.measurements:
        # Bits that nothing writes read 0, as on hardware; the simulator would refuse the circuit.
        return json.dumps({"0" * program.clbits: shots}).encode("ascii")
    options = {"shots": shots, "seed_simulator": asked.get("seed")}
    if asked.get("noise") is None:
        circuit = transpile(_circuit(program), _SIMULATOR, optimization_level=0)
    else:
        # into gates that have an error, and no further: nothing is optimized away
        circuit = transpile(_circuit(program), basis_gates=list(BASIS), optimization_level=0)
        options["noise_model"] = noise_model(*map(float, asked["noise"]))
    found = _SIMULATOR.run(circuit, **options).result().get_counts()
    counts: Counter[str] = Counter()
    for outcome, count in found.items():
        counts[outcome.replace(" ", "")] += int(count)
    return json.dumps(counts).encode("ascii")


def _circuit(program: Program) -> QuantumCircuit:
    try:
        text = emit(program, Dialect.OPENQASM2).decode("ascii")
    except CircuitError:
        # OpenQASM 2 has no condition on one bit of a register.
        return qpy.load(io.BytesIO(emit(program, Dialect.QISKIT)))[0]
    return qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
