"""The canonical form: one spelling per program, whatever order it was written in."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.circuits.support import HEADER, qasm2, random_source, random_statements, source_of

from cryogate.circuits import CircuitError, Format, Operation, Program, parse_flat
from cryogate.circuits.assemble import CONDITIONAL
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.operations import Builder

SEEDS = st.integers(min_value=0, max_value=2**32)


@given(SEEDS, st.integers(0, 60), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_canonical_text_reads_back_as_itself(seed: int, count: int, qubits: int) -> None:
    program = parse_flat(random_source(seed, count, qubits, rich=True), Format.OPENQASM2)
    again = Program.from_bytes(program.to_bytes())
    assert again.text == program.text
    assert again.fingerprint == program.fingerprint
    assert again.facts == program.facts
    assert again.registers == program.registers == (3, 1)


def _wires(line: str) -> set[str]:
    """Every register element a statement touches; conditions and bare registers expanded."""
    text = line
    for register, size in (("a", 3), ("b", 1)):
        text = text.replace(
            f"({register}==", "(" + "".join(f" {register}[{i}]," for i in range(size))
        )
    parts = text.replace("(", " ").replace(",", " ").replace(";", " ").split()
    return {part for part in parts if part[:2] in ("q[", "a[", "b[")}


def _reordered(statements: list[str], rng: random.Random) -> list[str]:
    """A random topological order: statements that share a wire keep their order."""
    waiting = list(range(len(statements)))
    touched = [_wires(s) for s in statements]
    out = []
    while waiting:
        ready = [
            i
            for place, i in enumerate(waiting)
            if all(touched[i].isdisjoint(touched[j]) for j in waiting[:place])
        ]
        chosen = rng.choice(ready)
        waiting.remove(chosen)
        out.append(statements[chosen])
    return out


@given(SEEDS, st.integers(0, 40), st.integers(2, 7))
@settings(max_examples=120, deadline=None)
def test_the_order_of_independent_operations_does_not_matter(
    seed: int, count: int, qubits: int
) -> None:
    rng = random.Random(seed)
    statements = random_statements(rng, count, qubits, rich=True)
    program = parse_flat(source_of(statements, qubits), Format.OPENQASM2)
    other = parse_flat(source_of(_reordered(statements, rng), qubits), Format.OPENQASM2)
    assert other.fingerprint == program.fingerprint
    assert other.facts == program.facts


@given(SEEDS, st.integers(1, 30))
@settings(max_examples=120, deadline=None)
def test_any_mutation_changes_the_fingerprint(seed: int, count: int) -> None:
    rng = random.Random(seed)
    program = parse_flat(random_source(seed, count, 5, rich=True), Format.OPENQASM2)
    lines = program.text.decode().splitlines(keepends=True)
    at = rng.randrange(5, len(lines)) if len(lines) > 5 else 4
    mutants = [
        lines[:at] + lines[at + 1 :],
        [*lines[:at], lines[at], *lines[at:]],
        [*lines, "x q[0];\n"],
        [line.replace("qreg q[5]", "qreg q[6]") for line in lines],
        [line.replace("creg c0[3]", "creg c0[4]") for line in lines],
    ]
    for mutant in mutants:
        text = "".join(mutant).encode()
        if mutant == lines or (b"creg c0[4]" in text and b"==" in text):
            continue
        try:
            other = parse_flat(text, Format.OPENQASM2)
        except CircuitError:
            continue
        # Only a barrier beside an equal barrier may be written twice without being another one.
        assert other.fingerprint != program.fingerprint


def _rebuilt(operations: list[Operation], qubits: int, registers: tuple[int, ...]) -> Program:
    builder = Builder()
    builder.layout.add_qubits(qubits)
    for size in registers:
        builder.layout.add_register(size)
    for op in operations:
        if op.name == "measure":
            builder.measure(op.qubits[0], op.clbits[0], op.condition)
        elif op.name == "reset":
            builder.reset(op.qubits[0], op.condition)
        elif op.name == "barrier":
            builder.barrier(op.qubits)
        else:
            builder.gate(op.name, op.params, op.qubits, op.condition)
    return builder.program()


def _changed(op: Operation, rng: random.Random) -> Operation:
    """``op`` with one thing changed that no reading may take for the same."""
    kinds = ["name"] if op.name in CANONICAL else []
    kinds += ["params"] * bool(op.params) + ["clbits"] * bool(op.clbits)
    kinds += ["condition"] * (op.condition is not None) + ["qubits"] * (op.name != "barrier")
    kind = rng.choice(kinds or ["barrier"])
    if kind == "params":
        at = rng.randrange(len(op.params))
        turned = math.nextafter(op.params[at], rng.choice([-100.0, 100.0]))
        return op._replace(params=(*op.params[:at], turned, *op.params[at + 1 :]))
    if kind == "clbits":
        return op._replace(clbits=((op.clbits[0] + 1) % 4,))
    if kind == "condition":
        assert op.condition is not None
        return op._replace(condition=op.condition._replace(value=op.condition.value ^ 1))
    if kind == "name":
        gate = CANONICAL[op.name]
        alike = [g.name for g in CANONICAL.values() if g[1:] == gate[1:] and g != gate]
        return op._replace(name=rng.choice(alike)) if alike else op._replace(qubits=op.qubits[::-1])
    if kind == "qubits":
        at, other = rng.randrange(len(op.qubits)), rng.choice([0, 1, 2, 3, 4, 5])
        if other in op.qubits:
            return (
                op._replace(qubits=(5,))
                if len(op.qubits) == 1
                else op._replace(qubits=tuple(5 if q == op.qubits[at] else q for q in op.qubits))
            )
        return op._replace(qubits=(*op.qubits[:at], other, *op.qubits[at + 1 :]))
    return op._replace(qubits=(5,) if op.qubits != (5,) else (4,))


@given(SEEDS, st.integers(1, 30))
@settings(max_examples=300, deadline=None)
def test_one_change_to_one_operation_is_another_program(seed: int, count: int) -> None:
    rng = random.Random(seed)
    source = random_source(seed, count, 5, rich=True).replace(b"qreg q[5]", b"qreg q[6]")
    program = parse_flat(source, Format.OPENQASM2)
    operations = list(program.operations())
    assert _rebuilt(operations, 6, program.registers) == program
    if not operations:
        return
    at = rng.randrange(len(operations))
    changed = _changed(operations[at], rng)
    if changed == operations[at]:
        return
    mutant = [*operations[:at], changed, *operations[at + 1 :]]
    assert _rebuilt(mutant, 6, program.registers).fingerprint != program.fingerprint
    for other in ([*operations[:at], *operations[at + 1 :]], [*operations, operations[at]]):
        assert _rebuilt(other, 6, program.registers).fingerprint != program.fingerprint


@given(SEEDS, st.integers(2, 30))
@settings(max_examples=100, deadline=None)
def test_exchanging_operations_that_share_a_wire_is_another_program(seed: int, count: int) -> None:
    program = parse_flat(random_source(seed, count, 3, rich=True), Format.OPENQASM2)
    operations = list(program.operations())
    for first in range(len(operations) - 1):
        one, two = operations[first : first + 2]
        if one == two or not set(one.qubits) & set(two.qubits):
            continue
        other = [*operations[:first], two, one, *operations[first + 2 :]]
        assert _rebuilt(other, 3, program.registers).fingerprint != program.fingerprint


def test_one_unit_in_the_last_place_is_another_program() -> None:
    a = qasm2("qreg q[1]; rz(0.1) q[0];")
    b = qasm2("qreg q[1]; rz(0.10000000000000002) q[0];")
    c = qasm2("qreg q[1]; rz(1e-1) q[0];")
    assert a.fingerprint != b.fingerprint
    assert a.fingerprint == c.fingerprint


def test_angles_keep_their_turns_and_lose_the_sign_of_zero() -> None:
    program = qasm2("qreg q[1]; rz(7*pi) q[0]; rz(-0.0) q[0];")
    assert [op.params for op in program.operations()] == [(21.991148575128552,), (0.0,)]
    assert b"rz(-0" not in program.text


def test_aliases_have_one_name() -> None:
    one = qasm2("qreg q[2]; u1(1) q[0]; u3(1,2,3) q[0]; CX q[0],q[1]; cu1(1) q[0],q[1];")
    two = qasm2("qreg q[2]; p(1) q[0]; U(1,2,3) q[0]; cx q[0],q[1]; cp(1) q[0],q[1];")
    assert one == two
    assert hash(one) == hash(two)
    assert one.facts.gate_set == ("cp", "cx", "p", "u")


def test_registers_are_flattened_and_their_sizes_kept() -> None:
    program = qasm2("qreg a[2]; creg m[1]; qreg b[1]; creg n[2]; x b[0]; measure b[0] -> n[1];")
    assert (
        program.text
        == (
            HEADER + "qreg q[3];\ncreg c0[1];\ncreg c1[2];\nx q[2];\nmeasure q[2] -> c1[1];\n"
        ).encode()
    )


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "qreg q[2];\nx q[1];\nx q[0];\n",
        HEADER + "qreg q[1];\nrz(0.50) q[0];\n",
        HEADER + "qreg q[1];\nu1(0.5) q[0];\n",
        HEADER + "qreg r[1];\nx r[0];\n",
        HEADER + "qreg q[1];\nx q[0];",
        HEADER + "qreg q[1];\r\nx q[0];\r\n",
        HEADER + "qreg q[1];\nx q[0]; // why\n",
    ],
)
def test_only_canonical_text_is_read_back(text: str) -> None:
    with pytest.raises(CircuitError) as caught:
        Program.from_bytes(text.encode())
    assert caught.value.code in ("not_canonical", "undefined")


def test_a_program_cannot_be_changed() -> None:
    program = qasm2("qreg q[1]; x q[0];")
    for name in ("text", "facts", "fingerprint", "qubits"):
        with pytest.raises(AttributeError):
            setattr(program, name, None)
    with pytest.raises(TypeError):
        program.facts.gate_counts["x"] = 2  # type: ignore[index]


def test_operations_are_those_of_the_text() -> None:
    program = qasm2(
        "qreg q[2]; creg a[2]; creg b[1]; cu(1,2,3,4) q[1],q[0]; if(a==2) rz(0.5) q[0];"
        "if(b==1) measure q[1] -> a[1];"
    )
    first, second, third = program.operations()
    assert (first.name, first.params, first.qubits) == ("cu", (1.0, 2.0, 3.0, 4.0), (1, 0))
    assert second.condition is not None
    assert (second.condition.bits, second.condition.value) == ((0, 1), 2)
    assert third.clbits == (1,)
    assert third.condition is not None
    assert third.condition.bits == (2,)
    assert CONDITIONAL not in first.name
