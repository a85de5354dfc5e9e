"""Quil for Rigetti's targets: gates, then measurements into one region ``ro``; written and read.

Rigetti's machines run no control flow through this door and measure at the end, so nothing else is
written. Quil knows one region of bits where we have registers: a comment in the second line keeps
their sizes. It changes nothing that runs; like the map of bits for IonQ, it is ours to apply.
"""

from __future__ import annotations

import re
from typing import Final

from cryogate.circuits.angles import finite
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.json_source import syntax
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Operation, Program

#: Canonical name and Quil's standard gate; ``DAGGER`` is Quil's modifier for an inverse.
_GATES: Final = {
    "id": "I", "x": "X", "y": "Y", "z": "Z", "h": "H", "s": "S", "sdg": "DAGGER S", "t": "T",
    "tdg": "DAGGER T", "rx": "RX", "ry": "RY", "rz": "RZ", "p": "PHASE", "cx": "CNOT", "cz": "CZ",
    "cp": "CPHASE", "swap": "SWAP", "iswap": "ISWAP", "ccx": "CCNOT", "cswap": "CSWAP",
}  # fmt: skip
_NAMES: Final = {quil: name for name, quil in _GATES.items()}
_REGISTERS: Final = re.compile(r"# registers((?: [1-9][0-9]{0,6}){1,4096})")
_DECLARE: Final = re.compile(r"DECLARE ro BIT\[([1-9][0-9]{0,6})\]")
_MEASURE: Final = re.compile(r"MEASURE ([0-9]{1,7}) ro\[([0-9]{1,7})\]")
_GATE: Final = re.compile(
    r"((?:DAGGER )?[A-Z]{1,8})(?:\((-?[0-9.]{1,30}(?:e[+-]?[0-9]{1,3})?)\))?((?: [0-9]{1,7}){1,3})"
)
_QUBITS: Final = re.compile(r"# qubits ([1-9][0-9]{0,6})")


def check_quil(program: Program) -> None:
    """Raises `CircuitError` (``unsupported``) if the format cannot say ``program``."""
    facts = program.facts
    if not facts.measurements or set(facts.features) - {"parameters"}:
        raise _unsupported("anything but measurement at the very end")
    if b"\nbarrier " in program.text:
        raise _unsupported("barrier")
    for name in facts.gate_set:
        if name not in _GATES:
            raise _unsupported(f"gate {name}")
    targets = [op.clbits for op in program.operations() if op.name == "measure"]
    if len(set(targets)) != len(targets):
        raise _unsupported("two measurements into one bit")


def emit_quil(program: Program) -> bytes:
    """``program``, found expressible before."""
    sizes = "".join([f" {size}" for size in program.registers])
    head = f"# qubits {program.qubits}\n# registers{sizes}\nDECLARE ro BIT[{program.clbits}]\n"
    lines = [_line(op) for op in program.operations()]
    return (head + "".join(lines)).encode("ascii")


def _line(op: Operation) -> str:
    if op.name == "measure":
        return f"MEASURE {op.qubits[0]} ro[{op.clbits[0]}]\n"
    angle = f"({op.params[0]!r})" if op.params else ""
    return f"{_GATES[op.name]}{angle} {' '.join(map(str, op.qubits))}\n"


def parse_quil(source: bytes, limits: ParseLimits | None = None) -> Program:
    """The program of one text as `emit_quil` writes it. Raises `CircuitError`, nothing else."""
    limits = limits or ParseLimits()
    if len(source) > limits.max_bytes:
        raise CircuitError("too_large", f"the source is over {limits.max_bytes} bytes")
    if not source.isascii() or not source.endswith(b"\n"):
        raise CircuitError("encoding", "only whole lines of ASCII are accepted")
    lines = source.decode("ascii")[:-1].split("\n")
    if len(lines) > limits.max_operations + 3:
        raise CircuitError("too_large", f"more than {limits.max_operations} operations")
    if len(lines) < 3:
        syntax("the text has no head")
    qubits, sizes, bits = (
        kind.fullmatch(line)
        for kind, line in zip((_QUBITS, _REGISTERS, _DECLARE), lines[:3], strict=True)
    )
    if qubits is None or sizes is None or bits is None:
        syntax("the head is another one")
    builder = Builder(limits)
    builder.layout.add_qubits(int(qubits[1]))
    for size in sizes[1].split():
        builder.layout.add_register(int(size))
    if builder.layout.clbits != int(bits[1]):
        syntax("the registers do not fill the region")
    for line in lines[3:]:
        _read(builder, line)
    return builder.program()


def _read(builder: Builder, line: str) -> None:
    measured = _MEASURE.fullmatch(line)
    if measured is not None:
        builder.measure(int(measured[1]), int(measured[2]))
        return
    found = _GATE.fullmatch(line)
    if found is None or found[1] not in _NAMES:
        raise CircuitError("unsupported", "a line is no gate and no measurement")
    angles = [_angle(found[2])] if found[2] is not None else []
    builder.gate(_NAMES[found[1]], angles, [int(qubit) for qubit in found[3].split()])


def _angle(text: str) -> float:
    try:
        return finite(float(text))
    except ValueError:
        syntax("an angle is no number")


def _unsupported(what: str) -> CircuitError:
    return CircuitError("unsupported", f"Quil as Rigetti runs it cannot express {what}")
