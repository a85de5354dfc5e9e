"""Google's ``cirq.google.api.v2.Program`` in protobuf's JSON, as the Quantum Engine takes it.

Exponents are half-turns in **single precision**: the format has no other. Nothing is rounded here,
since what was verified is what must run: an angle that single precision does not hold is refused,
and `rounded` says the nearest one that it does.

Each message of the format is one gate of ours, so that reading gives back what was written:

==============  =======================================================================
x, sx, sxdg     ``xpowgate`` of 1, 1/2, -1/2
y               ``ypowgate`` of 1
rx, ry          ``phasedxpowgate`` about phase 0 and 1/2
r               ``phasedxzgate`` with no turn about z
rz              ``zpowgate``; s, t and z are to be written so
cz              ``czpowgate`` of 1
==============  =======================================================================

Qubit ``i`` is the constant ``i``, called ``i``: an adapter gives it the name of a device's qubit.
Classical bit ``n`` is the measurement key ``cn``. Registers are no part of the program; they stand
beside it. All measurements are in the last moment.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any, Final

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.json_source import decode, index, syntax
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Operation, Program

GATES: Final = frozenset({"x", "sx", "sxdg", "y", "rx", "ry", "r", "rz", "cz"})
LANGUAGE: Final = {"gateSet": "v2_5", "argFunctionLanguage": "exp"}
_STRATEGY: Final = "MOMENT_BY_MOMENT"
_NESTING: Final = 12
_FLOAT: Final = struct.Struct("<f")
_X: Final = {1.0: "x", 0.5: "sx", -0.5: "sxdg"}
_X_OF: Final = {name: exponent for exponent, name in _X.items()}
_PHASE: Final = {0.0: "rx", 0.5: "ry"}
_PHASE_OF: Final = {name: phase for phase, name in _PHASE.items()}
_KEY: Final = re.compile(r"c(0|[1-9][0-9]{0,6})")
_TARGET: Final = re.compile(rb"-> (c\d+\[\d+\]);")


def rounded(angle: float) -> float:
    """The angle, in radians, nearest to ``angle`` that the format holds. Raises `CircuitError`."""
    return _single(angle / math.pi) * math.pi


def _single(value: float) -> float:
    try:
        found: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    except OverflowError:
        raise _unsupported("so large an angle") from None
    return found


def _exponent(angle: float) -> float:
    """``angle`` in half-turns, exactly."""
    found = _single(angle / math.pi)
    if found * math.pi != angle:
        raise _unsupported(
            f"the angle {angle!r} exactly: it takes half-turns in single precision, "
            f"the nearest is {found * math.pi!r}"
        )
    return found


def check_cirq(program: Program) -> None:
    """Raises `CircuitError` (``unsupported``) if the format cannot say ``program``."""
    facts = program.facts
    if not facts.measurements or set(facts.features) - {"parameters"}:
        raise _unsupported("anything but measurement at the very end")
    if b"\nbarrier " in program.text:
        raise _unsupported("barrier")
    for name in facts.gate_set:
        if name not in GATES:
            raise _unsupported(f"gate {name}")
    if len(set(_TARGET.findall(program.text))) != facts.measurements:
        raise _unsupported("two measurements into one bit")
    if "parameters" in facts.features:
        for op in program.operations():
            for angle in op.params:
                _exponent(angle)


def emit_cirq(program: Program) -> bytes:
    """``program``, found expressible before."""
    moments: list[list[dict[str, Any]]] = []
    last: list[dict[str, Any]] = []
    level = [0] * program.qubits
    for op in program.operations():
        written = {**_written(op), "qubitConstantIndex": list(op.qubits)}
        if op.name == "measure":
            last.append(written)
            continue
        at = max(level[q] for q in op.qubits)
        for q in op.qubits:
            level[q] = at + 1
        if at == len(moments):
            moments.append([])
        moments[at].append(written)
    circuit = {
        "schedulingStrategy": _STRATEGY,
        "moments": [{"operations": operations} for operations in (*moments, last)],
    }
    constants = [{"qubit": {"id": str(number)}} for number in range(program.qubits)]
    document = {
        "registers": list(program.registers),
        "program": {"language": LANGUAGE, "circuit": circuit, "constants": constants},
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _written(op: Operation) -> dict[str, Any]:
    if op.name == "measure":
        return {"measurementgate": {"key": {"argValue": {"stringValue": f"c{op.clbits[0]}"}}}}
    if op.name in _X_OF:
        return {"xpowgate": {"exponent": _arg(_X_OF[op.name])}}
    if op.name == "y":
        return {"ypowgate": {"exponent": _arg(1.0)}}
    if op.name == "cz":
        return {"czpowgate": {"exponent": _arg(1.0)}}
    angles = [_exponent(angle) for angle in op.params]
    if op.name == "rz":
        return {"zpowgate": {"exponent": _arg(angles[0])}}
    if op.name == "r":
        return {
            "phasedxzgate": {
                "xExponent": _arg(angles[0]),
                "zExponent": _arg(0.0),
                "axisPhaseExponent": _arg(angles[1]),
            }
        }
    phase = _arg(_PHASE_OF[op.name])
    return {"phasedxpowgate": {"phaseExponent": phase, "exponent": _arg(angles[0])}}


def _arg(value: float) -> dict[str, float]:
    return {"floatValue": value}


def parse_cirq(source: bytes, limits: ParseLimits | None = None) -> Program:
    """The program of one document as `emit_cirq` writes them. Raises `CircuitError`, nothing else.

    Numbers may be written in another way, and members may stand in another order.
    """
    limits = limits or ParseLimits()
    document = decode(source, limits, nesting=_NESTING)
    registers = _members(document, "the document", "registers", "program")["registers"]
    program = _members(document["program"], "the program", "language", "circuit", "constants")
    if program["language"] != LANGUAGE:
        syntax("the program is in another language")
    circuit = _members(program["circuit"], "the circuit", "schedulingStrategy", "moments")
    if circuit["schedulingStrategy"] not in (_STRATEGY, 1):
        syntax("the circuit is scheduled in another way")
    builder = Builder(limits)
    _wires(builder, program["constants"], registers)
    moments = _list(circuit["moments"], "moments")
    for number, moment in enumerate(moments):
        _moment(builder, moment, last=number == len(moments) - 1)
    return builder.program()


def _wires(builder: Builder, constants: object, registers: object) -> None:
    names = [
        _members(_members(c, "a constant", "qubit")["qubit"], "a qubit", "id")["id"]
        for c in _list(constants, "constants")
    ]
    if names != [str(number) for number in range(len(names))]:
        syntax("the constants are not the qubits 0, 1, …")
    builder.layout.add_qubits(len(names))
    for size in _list(registers, "registers"):
        builder.layout.add_register(index(size, "a register's size"))


def _moment(builder: Builder, moment: object, *, last: bool) -> None:
    operations = _list(
        _members(moment, "a moment", "operations")["operations"], "a moment's operations"
    )
    seen: set[int] = set()
    for operation in operations:
        if not isinstance(operation, dict) or len(operation) != 2:
            syntax("an operation must be a gate and its qubits")
        qubits = [
            index(q, "a qubit") for q in _list(operation.get("qubitConstantIndex"), "an operation")
        ]
        if seen.intersection(qubits):
            syntax("a qubit is used twice in one moment")
        seen.update(qubits)
        kind = next((name for name in operation if name != "qubitConstantIndex"), "")
        if (kind == "measurementgate") != last:
            syntax("measurements must be in the last moment, and nothing else")
        _operation(builder, kind, operation[kind], qubits)


def _operation(builder: Builder, kind: str, body: object, qubits: list[int]) -> None:
    if kind == "measurementgate":
        key = _members(_members(body, "a measurement", "key")["key"], "a key", "argValue")
        text = _members(key["argValue"], "a key", "stringValue")["stringValue"]
        if type(text) is not str or not _KEY.fullmatch(text) or len(qubits) != 1:
            syntax("a measurement must have one qubit and a key for its bit")
        builder.measure(qubits[0], int(text[1:]))
    elif kind == "xpowgate":
        builder.gate(_named(_X, _number(body, "exponent")), [], qubits)
    elif kind in ("ypowgate", "czpowgate"):
        name = _named({1.0: "y" if kind == "ypowgate" else "cz"}, _number(body, "exponent"))
        builder.gate(name, [], qubits)
    elif kind == "zpowgate":
        builder.gate("rz", [_number(body, "exponent") * math.pi], qubits)
    elif kind == "phasedxpowgate":
        exponent, phase = _number(body, "exponent", "phaseExponent"), _phase(body)
        builder.gate(phase, [exponent * math.pi], qubits)
    elif kind == "phasedxzgate":
        members = ("xExponent", "zExponent", "axisPhaseExponent")
        turn, about_z, axis = (_float(_members(body, kind, *members)[m]) for m in members)
        if about_z != 0:
            raise CircuitError("unsupported", "a turn about z inside another gate")
        builder.gate("r", [turn * math.pi, axis * math.pi], qubits)
    else:
        raise CircuitError("unsupported", f"unknown gate {shown(kind)}")


def _phase(body: object) -> str:
    members = _members(body, "phasedxpowgate", "phaseExponent", "exponent")
    return _named(_PHASE, _float(members["phaseExponent"]))


def _number(body: object, member: str, *others: str) -> float:
    return _float(_members(body, "a gate", member, *others)[member])


def _named(names: dict[float, str], value: float) -> str:
    found = names.get(value)
    if found is None:
        raise CircuitError("unsupported", "a power of a gate that there is no name for")
    return found


def _float(value: object) -> float:
    number = _members(value, "an angle", "floatValue")["floatValue"]
    if type(number) not in (int, float):
        syntax("an angle must be a number")
    found = float(number)
    if _single(found) != found:
        syntax("an angle is not in single precision")
    return found


def _members(value: object, what: str, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        syntax(f"{what} must have {', '.join(names)} and nothing else")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        syntax(f"{what} must be a list")
    return value


def _unsupported(what: str) -> CircuitError:
    return CircuitError("unsupported", f"Google's circuit format cannot express {what}")
