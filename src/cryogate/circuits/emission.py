"""Writing a program out in a vendor's dialect; what is written parses back to the same program.

A construct that a dialect cannot say is refused (``unsupported``): nothing is approximated,
re-ordered, or left out, since what was verified is what must run (C5).
"""

from __future__ import annotations

from collections.abc import Callable

from cryogate.circuits.definitions import OPENQASM2_DEFINITIONS, OPENQASM3_DEFINITIONS
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import BRAKET_ALIASES, QELIB1, STDGATES, words
from cryogate.circuits.ionq import emit_ionq
from cryogate.circuits.model import Dialect
from cryogate.circuits.program import HEADER, Operation, Program

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
    return _EMITTERS[dialect](program)


def _emit_openqasm2(program: Program) -> bytes:
    text = program.text
    if b"]==" in text:
        raise _unsupported("a condition on one bit of a register", "OpenQASM 2")
    definitions = _definitions(program, set(QELIB1), OPENQASM2_DEFINITIONS, "OpenQASM 2")
    if not definitions:
        return text
    header = HEADER.encode("ascii")
    return header + definitions.encode("ascii") + text[len(header) :]


def _definitions(program: Program, library: set[str], table: dict[str, str], dialect: str) -> str:
    lines = []
    for name in program.facts.gate_set:
        if name in library:
            continue
        if name not in table:
            raise _unsupported(f"gate {name}", dialect)
        lines.append(table[name] + "\n")
    return "".join(lines)


def _emit_openqasm3(program: Program) -> bytes:
    names = _OPENQASM3_NAMES
    definitions = _definitions(program, set(names), OPENQASM3_DEFINITIONS, "OpenQASM 3")
    names = names | {name: name for name in program.facts.gate_set if name not in names}
    head = f'OPENQASM 3.0;\ninclude "stdgates.inc";\n{definitions}'
    return (head + _declarations(program) + _body(program, names)).encode("ascii")


def _emit_braket(program: Program) -> bytes:
    for name in program.facts.gate_set:
        if name not in _BRAKET_NAMES:
            hint = "compile to Braket's gates first"
            raise _unsupported(f"gate {name}", "Braket's OpenQASM", hint)
    refused = set(program.facts.features) - {"parameters"}
    if refused:
        raise _unsupported(min(refused).replace("_", " "), "Braket's OpenQASM")
    text = "OPENQASM 3.0;\n" + _declarations(program) + _body(program, _BRAKET_NAMES)
    return text.encode("ascii")


def _declarations(program: Program) -> str:
    bits = "".join([f"bit[{size}] c{i};\n" for i, size in enumerate(program.registers)])
    return f"{bits}qubit[{program.qubits}] q;\n"


def _body(program: Program, names: dict[str, str]) -> str:
    bits = [f"c{i}[{b}]" for i, size in enumerate(program.registers) for b in range(size)]
    spans: dict[tuple[int, ...], str] = {}
    start = 0
    for i, size in enumerate(program.registers):
        spans[tuple(range(start, start + size))] = f"c{i}"
        start += size
    return "".join([_statement(op, names, bits, spans) for op in program.operations()])


def _statement(
    op: Operation, names: dict[str, str], bits: list[str], spans: dict[tuple[int, ...], str]
) -> str:
    prefix = ""
    if op.condition is not None:
        tested = spans.get(op.condition.bits) or bits[op.condition.bits[0]]
        prefix = f"if({tested}=={op.condition.value}) "
    qubits = ",".join([f"q[{i}]" for i in op.qubits])
    if op.name == "measure":
        return f"{prefix}{bits[op.clbits[0]]} = measure {qubits};\n"
    if op.name in ("barrier", "reset"):
        return f"{prefix}{op.name} {qubits};\n"
    angles = f"({','.join(map(repr, op.params))})" if op.params else ""
    return f"{prefix}{names[op.name]}{angles} {qubits};\n"


def _emit_qiskit(program: Program) -> bytes:
    from cryogate.circuits.qiskit_bridge import to_qpy

    return to_qpy(program)


def _unsupported(what: str, dialect: str, hint: str = "") -> CircuitError:
    return CircuitError("unsupported", f"{dialect} cannot express {what}", hint=hint)


_EMITTERS: dict[Dialect, Callable[[Program], bytes]] = {
    Dialect.OPENQASM2: _emit_openqasm2,
    Dialect.OPENQASM3: _emit_openqasm3,
    Dialect.BRAKET: _emit_braket,
    Dialect.IONQ_JSON: emit_ionq,
    Dialect.QISKIT: _emit_qiskit,
}
