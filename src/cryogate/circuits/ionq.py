"""IonQ's circuit JSON (``ionq.circuit.v1`` input objects), read and written.

IonQ measures every qubit at the end; ``registers`` says which qubit each classical bit reports.
Without it, bit ``i`` of one register reports qubit ``i``. Angles: radians for the ``qis`` gate
set, turns for ``native``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from cryogate.circuits.angles import finite
from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.gates import words
from cryogate.circuits.json_source import decode, index, syntax
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Operation, Program

MAX_CIRCUITS = 1000
#: (IonQ name, number of controls) -> canonical name
_QIS: dict[tuple[str, int], str] = {
    **{(name, 0): name for name in words("id x y z h s t rx ry rz swap")},
    ("si", 0): "sdg", ("ti", 0): "tdg", ("v", 0): "sx", ("vi", 0): "sxdg",
    ("xx", 0): "rxx", ("yy", 0): "ryy", ("zz", 0): "rzz",
    ("x", 1): "cx", ("y", 1): "cy", ("z", 1): "cz", ("h", 1): "ch", ("v", 1): "csx",
    ("x", 2): "ccx", ("z", 2): "ccz", ("swap", 1): "cswap", ("x", 3): "c3x", ("x", 4): "c4x",
    ("rx", 1): "crx", ("ry", 1): "cry", ("rz", 1): "crz", ("s", 1): "cs", ("si", 1): "csdg",
}  # fmt: skip
_QIS_NAMES = {name: key for key, name in _QIS.items()}
_TARGET = re.compile(rb"-> (c\d+\[\d+\]);")
_NATIVE = frozenset({"gpi", "gpi2", "ms", "zz"})
_ROTATIONS = frozenset({"rx", "ry", "rz", "xx", "yy", "zz"})
_GATE_KEYS = frozenset(
    {"gate", "target", "targets", "control", "controls", "rotation", "phase", "phases", "angle"}
)
_INPUT_KEYS = frozenset({"format", "gateset", "qubits", "circuit", "registers", "name"})


def parse_ionq(source: bytes, limits: ParseLimits | None = None) -> Program:
    """The program of one IonQ input object. Raises `CircuitError`, nothing else."""
    limits = limits or ParseLimits()
    document = decode(source, limits)
    if not isinstance(document, dict):
        syntax("the circuit is not an object")
    return _program(document, limits)


def _program(document: dict[str, Any], limits: ParseLimits) -> Program:
    unknown = set(document) - _INPUT_KEYS
    if unknown:
        raise CircuitError("unsupported", f"unknown member {shown(min(unknown))}")
    gateset = document.get("gateset", "qis")
    if gateset not in ("qis", "native"):
        raise CircuitError("unsupported", "gateset must be qis or native")
    circuit = document.get("circuit")
    if not isinstance(circuit, list):
        syntax("circuit must be a list of gates")
    if len(circuit) > limits.max_operations:
        raise CircuitError("too_large", f"more than {limits.max_operations} operations")
    builder = Builder(limits)
    builder.layout.add_qubits(index(document.get("qubits"), "qubits"))
    for entry in circuit:
        _gate(builder, entry, native=gateset == "native")
    _measure(builder, document.get("registers"))
    return builder.program()


def parse_ionq_batch(source: bytes, limits: ParseLimits | None = None) -> tuple[Program, ...]:
    """The programs of a multi-circuit input object, one for each circuit. Raises `CircuitError`.

    ``limits`` hold for each circuit, and its operation limit for all of them together.
    """
    limits = limits or ParseLimits()
    document = decode(source, limits)
    circuits = document.get("circuits") if isinstance(document, dict) else None
    if not isinstance(circuits, list) or not circuits or len(circuits) > MAX_CIRCUITS:
        syntax(f"circuits must be a list of 1 to {MAX_CIRCUITS} circuits")
    if set(document) - _INPUT_KEYS - {"circuits"}:
        raise CircuitError("unsupported", "unknown member beside circuits")
    shared = {k: v for k, v in document.items() if k != "circuits"}
    programs, room = [], limits.max_operations
    for circuit in circuits:
        if not isinstance(circuit, dict):
            syntax("a circuit is not an object")
        left = replace(limits, max_operations=max(room, 0))
        programs.append(_program({**shared, **circuit}, left))
        facts = programs[-1].facts
        room -= facts.gates + facts.measurements
    return tuple(programs)


def _number(value: object, what: str) -> float:
    if type(value) not in (int, float):
        syntax(f"{what} must be a number")
    return finite(value)  # type: ignore[arg-type]


def _several(entry: dict[str, Any], one: str, many: str) -> list[int]:
    if one in entry and many in entry:
        syntax(f"a gate has both {one} and {many}")
    if one in entry:
        return [index(entry[one], one)]
    values = entry.get(many, [])
    if not isinstance(values, list) or len(values) > 8:
        syntax(f"{many} must be a short list")
    return [index(x, many) for x in values]


def _gate(builder: Builder, entry: object, *, native: bool) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("gate"), str):
        syntax("a gate must be an object with a name")
    if set(entry) - _GATE_KEYS:
        raise CircuitError("unsupported", f"unknown member in gate {shown(entry['gate'])}")
    name = entry["gate"]
    targets = _several(entry, "target", "targets")
    controls = _several(entry, "control", "controls")
    if native:
        if name not in _NATIVE or controls:
            raise CircuitError("unsupported", f"unknown native gate {shown(name)}")
        builder.gate(name, _native_angles(name, entry), targets)
        return
    base = "x" if name in ("cnot", "not") else name
    canonical = _QIS.get((base, len(controls)))
    if canonical is None or (name == "cnot" and not controls):
        raise CircuitError("unsupported", f"unknown gate {shown(name)}")
    foreign = {"phase", "phases", "angle"} | (set() if base in _ROTATIONS else {"rotation"})
    if foreign & set(entry):
        syntax(f"gate {name} has a member that does not belong to it")
    params = [_number(entry.get("rotation"), "rotation")] if base in _ROTATIONS else []
    builder.gate(canonical, params, controls + targets)


def _native_angles(name: str, entry: dict[str, Any]) -> list[float]:
    if name in ("gpi", "gpi2"):
        allowed, angles = {"phase"}, [_number(entry.get("phase"), "phase")]
    elif name == "zz":
        allowed, angles = {"angle"}, [_number(entry.get("angle", 0.25), "angle")]
    else:
        phases = entry.get("phases")
        if not isinstance(phases, list) or len(phases) != 2:
            syntax("ms needs two phases")
        allowed = {"phases", "angle"}
        angles = [_number(x, "phase") for x in phases]
        angles.append(_number(entry.get("angle", 0.25), "angle"))
    if set(entry) - allowed - {"gate", "target", "targets"}:
        syntax(f"gate {name} has a member that does not belong to it")
    return angles


def _measure(builder: Builder, registers: object) -> None:
    if registers is None:
        registers = {"c0": list(range(builder.layout.qubits))}
    if not isinstance(registers, dict) or not registers:
        syntax("registers must name at least one register")
    for reported in registers.values():
        if not isinstance(reported, list) or not reported:
            syntax("a register must be a list of qubits")
        start = builder.layout.add_register(len(reported))
        for bit, qubit in enumerate(reported):
            if qubit is not None:
                builder.measure(index(qubit, "a measured qubit"), start + bit)


def check_ionq(program: Program) -> None:
    """Raises `CircuitError` (``unsupported``) if IonQ's format cannot say ``program``."""
    facts = program.facts
    if not facts.measurements or set(facts.features) - {"parameters"}:
        raise _unsupported("anything but measurement at the very end")
    if b"\nbarrier " in program.text:
        raise _unsupported("barrier")
    used = set(facts.gate_set)
    if used & _NATIVE:
        for name in sorted(used - _NATIVE):
            raise _unsupported(f"gate {name} beside native gates")
    for name in sorted(used - _NATIVE - _QIS_NAMES.keys()):
        raise _unsupported(f"gate {name}")
    if len(set(_TARGET.findall(program.text))) != facts.measurements:
        raise _unsupported("two measurements into one bit")


def emit_ionq(program: Program) -> bytes:
    """``program``, found expressible before, as an IonQ input object."""
    native = bool(set(program.facts.gate_set) & _NATIVE)
    gates: list[dict[str, Any]] = []
    bits: list[int | None] = [None] * program.clbits
    for op in program.operations():
        if op.name == "measure":
            bits[op.clbits[0]] = op.qubits[0]
        else:
            gates.append(_native(op) if native else _qis(op))
    registers, start = {}, 0
    for number, size in enumerate(program.registers):
        registers[f"c{number}"] = bits[start : start + size]
        start += size
    document = {
        "gateset": "native" if native else "qis",
        "qubits": program.qubits,
        "circuit": gates,
        "registers": registers,
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _unsupported(what: str) -> CircuitError:
    return CircuitError("unsupported", f"IonQ's circuit format cannot express {what}")


def _qis(op: Operation) -> dict[str, Any]:
    name, count = _QIS_NAMES[op.name]
    controls, targets = list(op.qubits[:count]), list(op.qubits[count:])
    entry: dict[str, Any] = {"gate": "cnot" if op.name == "cx" else name}
    entry |= {"target": targets[0]} if len(targets) == 1 else {"targets": targets}
    if count == 1:
        entry["control"] = controls[0]
    elif count:
        entry["controls"] = controls
    if op.params:
        entry["rotation"] = op.params[0]
    return entry


def _native(op: Operation) -> dict[str, Any]:
    if op.name in ("gpi", "gpi2"):
        return {"gate": op.name, "phase": op.params[0], "target": op.qubits[0]}
    targets = list(op.qubits)
    if op.name == "zz":
        return {"gate": "zz", "angle": op.params[0], "targets": targets}
    phases = list(op.params[:2])
    return {"gate": "ms", "phases": phases, "angle": op.params[2], "targets": targets}
