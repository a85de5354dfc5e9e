"""Writing a program out in a vendor's dialect; what is written parses back to the same program.

A construct that a dialect cannot say is refused (``unsupported``): nothing is approximated,
re-ordered, or left out, since what was verified is what must run (C5).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from cryogate.circuits.cirq import check_cirq, emit_cirq
from cryogate.circuits.conditions import prefix
from cryogate.circuits.definitions import OPENQASM2_DEFINITIONS, OPENQASM3_DEFINITIONS
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import (
    BRAKET_ALIASES,
    CANONICAL,
    NATIVE_NAMES,
    QELIB1,
    STDGATES,
    words,
)
from cryogate.circuits.ionq import check_ionq, emit_ionq
from cryogate.circuits.model import Dialect
from cryogate.circuits.program import HEADER, Operation, Program
from cryogate.circuits.pytket import check_pytket, emit_pytket
from cryogate.circuits.quil import check_quil, emit_quil

_BRAKET_NAMES = {
    **{name: name for name in words("x y z h s t rx ry rz cy cz swap cswap iswap ecr")},
    **{name: alias for alias, name in BRAKET_ALIASES.items()},
    "u": "U",
}
_OPENQASM3_NAMES = {gate.name: gate.name for gate in STDGATES.values()} | {"u": "U"}


def emit(program: Program, dialect: Dialect) -> bytes:
    """``program`` in ``dialect``. Raises `CircuitError` (``unsupported``).

    ``Dialect.QISKIT`` is QPY, and needs qiskit in this process: only a guarded worker has it.
    """
    _CHECKS[dialect](program)
    return _EMITTERS[dialect](program)


def inexpressible(program: Program, dialect: Dialect) -> str:
    """Why ``dialect`` cannot say ``program``; empty if it can. Nothing is written to find out."""
    try:
        _CHECKS[dialect](program)
    except CircuitError as error:
        return error.detail
    return ""


def _check_openqasm2(program: Program) -> None:
    if b"]==" in program.text:
        raise _unsupported("a condition on one bit of a register", "OpenQASM 2")
    if b") if(" in program.text:
        raise _unsupported("several conditions on one operation", "OpenQASM 2")
    _check_gates(program, QELIB1.keys() | OPENQASM2_DEFINITIONS.keys(), "OpenQASM 2")


def _check_openqasm3(program: Program) -> None:
    _check_gates(program, _OPENQASM3_NAMES.keys() | OPENQASM3_DEFINITIONS.keys(), "OpenQASM 3")


def _check_qiskit(program: Program) -> None:
    _check_gates(program, CANONICAL.keys() - NATIVE_NAMES, "Qiskit")


def _check_braket(program: Program) -> None:
    hint = "compile to Braket's gates first"
    _check_gates(program, _BRAKET_NAMES.keys(), "Braket's OpenQASM", hint)
    refused = set(program.facts.features) - {"parameters"}
    if refused:
        raise _unsupported(min(refused).replace("_", " "), "Braket's OpenQASM")


def _check_gates(program: Program, known: Collection[str], dialect: str, hint: str = "") -> None:
    for name in program.facts.gate_set:
        if name not in known:
            raise _unsupported(f"gate {name}", dialect, hint)


def _emit_openqasm2(program: Program) -> bytes:
    text = program.text
    definitions = _definitions(program, QELIB1.keys(), OPENQASM2_DEFINITIONS)
    if not definitions:
        return text
    header = HEADER.encode("ascii")
    return header + definitions.encode("ascii") + text[len(header) :]


def _definitions(program: Program, library: Collection[str], table: dict[str, str]) -> str:
    return "".join([table[name] + "\n" for name in program.facts.gate_set if name not in library])


def _emit_openqasm3(program: Program) -> bytes:
    names = _OPENQASM3_NAMES
    definitions = _definitions(program, names.keys(), OPENQASM3_DEFINITIONS)
    names = names | {name: name for name in program.facts.gate_set if name not in names}
    head = f'OPENQASM 3.0;\ninclude "stdgates.inc";\n{definitions}'
    return (head + _declarations(program) + _body(program, names)).encode("ascii")


def _emit_braket(program: Program) -> bytes:
    text = "OPENQASM 3.0;\n" + _declarations(program) + _body(program, _BRAKET_NAMES)
    return text.encode("ascii")


def _declarations(program: Program) -> str:
    bits = "".join([f"bit[{size}] c{i};\n" for i, size in enumerate(program.registers)])
    return f"{bits}qubit[{program.qubits}] q;\n"


def _body(program: Program, names: dict[str, str]) -> str:
    bits = [f"c{i}[{b}]" for i, size in enumerate(program.registers) for b in range(size)]
    registers = program.registers
    return "".join([_statement(op, names, bits, registers) for op in program.operations()])


def _statement(
    op: Operation, names: dict[str, str], bits: list[str], registers: tuple[int, ...]
) -> str:
    tested = "" if op.condition is None else prefix(op.condition, registers)
    qubits = ",".join([f"q[{i}]" for i in op.qubits])
    if op.name == "measure":
        return f"{tested}{bits[op.clbits[0]]} = measure {qubits};\n"
    if op.name in ("barrier", "reset"):
        return f"{tested}{op.name} {qubits};\n"
    angles = f"({','.join(map(repr, op.params))})" if op.params else ""
    return f"{tested}{names[op.name]}{angles} {qubits};\n"


def _emit_qiskit(program: Program) -> bytes:
    from cryogate.circuits.qiskit_bridge import to_qpy

    return to_qpy(program)


def _unsupported(what: str, dialect: str, hint: str = "") -> CircuitError:
    return CircuitError("unsupported", f"{dialect} cannot express {what}", hint=hint)


_CHECKS: dict[Dialect, Callable[[Program], None]] = {
    Dialect.OPENQASM2: _check_openqasm2,
    Dialect.OPENQASM3: _check_openqasm3,
    Dialect.BRAKET: _check_braket,
    Dialect.IONQ_JSON: check_ionq,
    Dialect.PYTKET: check_pytket,
    Dialect.QUIL: check_quil,
    Dialect.CIRQ: check_cirq,
    Dialect.QISKIT: _check_qiskit,
}
_EMITTERS: dict[Dialect, Callable[[Program], bytes]] = {
    Dialect.OPENQASM2: _emit_openqasm2,
    Dialect.OPENQASM3: _emit_openqasm3,
    Dialect.BRAKET: _emit_braket,
    Dialect.IONQ_JSON: emit_ionq,
    Dialect.PYTKET: emit_pytket,
    Dialect.QUIL: emit_quil,
    Dialect.CIRQ: emit_cirq,
    Dialect.QISKIT: _emit_qiskit,
}
