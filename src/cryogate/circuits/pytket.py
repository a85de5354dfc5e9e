"""pytket's circuit JSON, as Quantinuum takes it, written and read.

Angles are half-turns in decimal. Ours are radians, so the quotient by pi is written with digits
enough (`_DIGITS`) that the product gives back the very double: nothing is lost on the way out and
back, and a reader that makes a double of it has the nearest one. Exponents are never written, since
to pytket an ``E`` is a number.

Bits are ``c0[0]``, qubits ``q[0]``. The first bit of a condition is its lowest, as with us.
"""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from itertools import zip_longest
from typing import Any, Final

from cryogate.circuits.angles import finite
from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.json_source import decode, index, syntax
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Condition, Operation, Program

#: Canonical name and the type of pytket's operation; what is not here is not written.
_TYPES: Final = {
    "x": "X", "y": "Y", "z": "Z", "h": "H", "s": "S", "sdg": "Sdg", "t": "T", "tdg": "Tdg",
    "sx": "SX", "sxdg": "SXdg", "rx": "Rx", "ry": "Ry", "rz": "Rz", "r": "PhasedX", "p": "U1",
    "u": "U3", "cx": "CX", "cy": "CY", "cz": "CZ", "ch": "CH", "swap": "SWAP", "crx": "CRx",
    "cry": "CRy", "crz": "CRz", "cp": "CU1", "rxx": "XXPhase", "ryy": "YYPhase", "rzz": "ZZPhase",
    "ccx": "CCX", "cswap": "CSWAP", "measure": "Measure", "reset": "Reset", "barrier": "Barrier",
}  # fmt: skip
_NAMES: Final = {kind: name for name, kind in _TYPES.items()}
_PI: Final = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
_DIGITS: Final = 21
_WORK: Final = Context(prec=60)
_ANGLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,320})(?:\.[0-9]{1,400})?")
_REGISTER: Final = re.compile(r"c(?:0|[1-9][0-9]{0,3})")
#: The members that make the circuit, whatever else stands beside them.
CIRCUIT_MEMBERS: Final = frozenset(
    {"bits", "commands", "created_qubits", "discarded_qubits", "implicit_permutation", "phase",
     "qubits"}
)  # fmt: skip


def check_pytket(program: Program) -> None:
    """Raises `CircuitError` (``unsupported``) if the format cannot say ``program``."""
    for name in program.facts.gate_set:
        if name not in _TYPES:
            raise _unsupported(f"gate {name}")
    if b") if(" in program.text:
        # the machine knows a whole register or one bit as a condition
        raise _unsupported("several conditions on one operation")


def emit_pytket(program: Program) -> bytes:
    """``program``, found expressible before."""
    bits = [
        [f"c{number}", [bit]]
        for number, size in enumerate(program.registers)
        for bit in range(size)
    ]
    qubits = [["q", [number]] for number in range(program.qubits)]
    document = {
        "bits": bits,
        "commands": [_command(op, bits, qubits) for op in program.operations()],
        "created_qubits": [],
        "discarded_qubits": [],
        "implicit_permutation": [[qubit, qubit] for qubit in qubits],
        "phase": "0.0",
        "qubits": qubits,
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _command(op: Operation, bits: list[Any], qubits: list[Any]) -> dict[str, Any]:
    args = [qubits[q] for q in op.qubits] + [bits[c] for c in op.clbits]
    what: dict[str, Any] = {"type": _TYPES[op.name]}
    if op.params:
        what["params"] = [half_turns(angle) for angle in op.params]
    if op.name == "barrier":
        what |= {"data": "", "signature": ["Q"] * len(op.qubits)}
    if op.condition is not None:
        tested = op.condition
        args = [bits[c] for c in tested.bits] + args
        inner = {"op": what, "value": tested.value, "width": len(tested.bits)}
        what = {"conditional": inner, "type": "Conditional"}
    return {"args": args, "op": what}


def half_turns(angle: float) -> str:
    """``angle``, in radians, as a decimal number of half-turns."""
    quotient = _WORK.divide(Decimal(angle), _PI)
    return format(Context(prec=_DIGITS).plus(quotient).normalize(_WORK), "f")


def _radians(text: object) -> float:
    if type(text) is not str or not _ANGLE.fullmatch(text):
        syntax("an angle is no decimal number")
    return finite(float(_WORK.multiply(Decimal(text), _PI)))


def parse_pytket(source: bytes, limits: ParseLimits | None = None) -> Program:
    """The program of one circuit. Raises `CircuitError`, nothing else."""
    limits = limits or ParseLimits()
    document = decode(source, limits)
    if not isinstance(document, dict) or set(document) - CIRCUIT_MEMBERS:
        syntax("the circuit is no object with a circuit's members")
    commands = document.get("commands")
    if not isinstance(commands, list):
        syntax("commands must be a list")
    if len(commands) > limits.max_operations:
        raise CircuitError("too_large", f"more than {limits.max_operations} operations")
    builder = Builder(limits)
    wires = _qubits(builder, document.get("qubits")) | _bits(builder, document.get("bits"))
    _check_rest(document)
    for command in commands:
        _read(builder, command, wires)
    return builder.program()


_Wires = dict[tuple[str, int], int]


def _unit(value: object) -> tuple[str, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or type(value[0]) is not str
        or not isinstance(value[1], list)
        or len(value[1]) != 1
    ):
        syntax("a wire must be a name and one index")
    return value[0], index(value[1][0], "a wire's index")


def _units(value: object, what: str) -> list[tuple[str, int]]:
    if not isinstance(value, list):
        syntax(f"{what} must be a list")
    found = [_unit(entry) for entry in value]
    if len(set(found)) != len(found):
        syntax(f"{what} names a wire twice")
    return found


def _qubits(builder: Builder, value: object) -> _Wires:
    found = _units(value, "qubits")
    if sorted(found) != [("q", number) for number in range(len(found))]:
        syntax("the qubits are not q[0], q[1] and so on")
    builder.layout.add_qubits(len(found))
    return {unit: unit[1] for unit in found}


def _bits(builder: Builder, value: object) -> _Wires:
    sizes: dict[str, list[int]] = {}
    for name, number in _units(value, "bits"):
        if not _REGISTER.fullmatch(name):
            syntax("a register has another name than c0, c1 and so on")
        sizes.setdefault(name, []).append(number)
    wires: _Wires = {}
    for number in range(len(sizes)):
        name = f"c{number}"
        if sorted(sizes.get(name, [])) != list(range(len(sizes.get(name, [])))):
            syntax("a register has gaps")
        start = builder.layout.add_register(len(sizes.get(name, [])))
        wires |= {(name, bit): start + bit for bit in sizes[name]}
    return wires


def _check_rest(document: dict[str, Any]) -> None:
    if document.get("created_qubits") or document.get("discarded_qubits"):
        raise CircuitError("unsupported", "qubits that are made or dropped")
    swaps = document.get("implicit_permutation") or []
    if not isinstance(swaps, list) or any(
        not isinstance(pair, list) or len(pair) != 2 or pair[0] != pair[1] for pair in swaps
    ):
        raise CircuitError("unsupported", "qubits that change places")


def _read(builder: Builder, command: object, wires: _Wires) -> None:
    if not isinstance(command, dict) or not isinstance(command.get("op"), dict):
        syntax("a command must be an object with an operation")
    if not isinstance(command.get("args"), list):
        syntax("a command must name its wires")
    op, units = command["op"], _units(command["args"], "a command")
    if any(unit not in wires for unit in units):
        raise CircuitError("undefined", "a command names a wire that there is not")
    condition = None
    if op.get("type") == "Conditional":
        op, condition, units = _conditional(op.get("conditional"), units, wires)
    name = _NAMES.get(op["type"]) if isinstance(op.get("type"), str) else None
    if name is None:
        raise CircuitError("unsupported", f"unknown operation {shown(str(op.get('type')))}")
    qubits = [wires[unit] for unit in units if unit[0] == "q"]
    bits = [wires[unit] for unit in units if unit[0] != "q"]
    if bits and (name != "measure" or units[0][0] != "q"):
        syntax("only a measurement has a bit, after its qubit")
    _operation(builder, name, op, qubits, bits, condition)


def _operation(
    builder: Builder, name: str, op: dict[str, Any], qubits: list[int], bits: list[int],
    condition: Condition | None,
) -> None:  # fmt: skip
    angles = op.get("params", [])
    if not isinstance(angles, list) or len(angles) > 4:
        syntax("angles must be a short list")
    if name == "measure":
        if len(qubits) != 1 or len(bits) != 1 or angles:
            syntax("a measurement has one qubit and one bit")
        builder.measure(qubits[0], bits[0], condition)
    elif name == "reset":
        if len(qubits) != 1 or angles:
            syntax("a reset has one qubit")
        builder.reset(qubits[0], condition)
    elif name == "barrier":
        if condition is not None or not qubits or angles:
            syntax("a barrier has qubits and nothing else")
        builder.barrier(qubits)
    else:
        builder.gate(name, [_radians(angle) for angle in angles], qubits, condition)


def _conditional(
    value: object, units: list[tuple[str, int]], wires: _Wires
) -> tuple[dict[str, Any], Condition, list[tuple[str, int]]]:
    if not isinstance(value, dict) or not isinstance(value.get("op"), dict):
        syntax("a condition must have an operation")
    width, wanted = index(value.get("width"), "a condition's width"), value.get("value")
    tested, rest = units[:width], units[width:]
    if not tested or len(tested) != width or any(unit[0] == "q" for unit in tested):
        syntax("a condition must test bits")
    if type(wanted) is not int or not 0 <= wanted < 1 << width:
        syntax("a condition's value does not fit its bits")
    bits = [wires[unit] for unit in tested]
    ordered = sorted(bits)
    value_of = {bit: wanted >> place & 1 for place, bit in enumerate(bits)}
    number = sum(value_of[bit] << place for place, bit in enumerate(ordered))
    return value["op"], Condition(tuple(ordered), number), rest


def same_circuit(one: Program, other: Program, *, half_turn_tolerance: float = 1e-6) -> bool:
    """Whether they are one circuit but for what pytket does to angles.

    It keeps some fifteen digits and drops whole turns, which changes nothing that can be measured.
    """
    if (one.qubits, one.registers) != (other.qubits, other.registers):
        return False
    for a, b in zip_longest(one.operations(), other.operations()):
        if a is None or b is None or a._replace(params=()) != b._replace(params=()):
            return False
        for x, y in zip(a.params, b.params, strict=True):
            away = float(_WORK.divide(Decimal(x) - Decimal(y), _PI)) % 2.0
            if not min(away, 2.0 - away) <= half_turn_tolerance:
                return False
    return True


def _unsupported(what: str) -> CircuitError:
    return CircuitError("unsupported", f"pytket's circuit format cannot express {what}")
