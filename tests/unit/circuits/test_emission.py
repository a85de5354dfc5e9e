"""What is written parses back to the same program, by our parser and by another."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import Operator
from tests.unit.circuits.support import (
    PYTKET_GATES,
    QUIL_GATES,
    qasm2,
    random_program,
    random_source,
)

from cryogate.circuits import (
    SECOND_OPINION_ENTRYPOINT,
    CircuitError,
    Dialect,
    Format,
    GuardedPool,
    Program,
    emit,
    parse_flat,
    parse_ionq,
    second_opinion,
)
from cryogate.circuits.definitions import OPENQASM2_DEFINITIONS, OPENQASM3_DEFINITIONS
from cryogate.circuits.gates import CANONICAL, NATIVE_NAMES, words
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.pytket import half_turns, parse_pytket, same_circuit
from cryogate.circuits.qiskit_bridge import to_qiskit
from cryogate.circuits.quil import parse_quil
from cryogate.circuits.rich.entry import parse_rich
from cryogate.circuits.second_opinion_worker import reread

IONQ_GATES = words(
    "x y z h s sdg t tdg sx sxdg rx ry rz swap cx cy cz ch ccx rxx ryy rzz crx cry crz id"
)
BRAKET_GATES = words(
    "x y z h s sdg t tdg sx sxdg rx ry rz p cx cy cz ccx swap cp u rxx iswap ecr r"
)


@given(st.integers(0, 2**32), st.integers(0, 50), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_openqasm_2_and_3_say_the_same(seed: int, count: int, qubits: int) -> None:
    program = parse_flat(random_source(seed, count, qubits, rich=True), Format.OPENQASM2)
    assert emit(program, Dialect.OPENQASM2) == program.text
    if "rc3x" not in program.facts.gate_counts:
        three = emit(program, Dialect.OPENQASM3)
        assert parse_flat(three, Format.OPENQASM3).fingerprint == program.fingerprint
        limits = ParseLimits()
        assert parse_rich(three, Format.OPENQASM3, limits, {}).fingerprint == program.fingerprint


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_gates_without_a_library_come_with_a_definition(seed: int) -> None:
    names = [name for name in CANONICAL if name not in NATIVE_NAMES and name != "rc3x"]
    program = random_program(random.Random(seed), names)
    for dialect, format_ in (
        (Dialect.OPENQASM2, Format.OPENQASM2),
        (Dialect.OPENQASM3, Format.OPENQASM3),
    ):
        assert parse_flat(emit(program, dialect), format_).text == program.text


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_braket_and_ionq_say_the_same(seed: int) -> None:
    rng = random.Random(seed)
    braket = random_program(rng, BRAKET_GATES)
    assert parse_flat(emit(braket, Dialect.BRAKET), Format.OPENQASM3).text == braket.text
    ionq = random_program(rng, IONQ_GATES)
    assert parse_ionq(emit(ionq, Dialect.IONQ_JSON)).text == ionq.text
    native = random_program(rng, sorted(NATIVE_NAMES))
    assert parse_ionq(emit(native, Dialect.IONQ_JSON)).text == native.text


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_pytket_and_quil_say_the_same(seed: int) -> None:
    rng = random.Random(seed)
    pytket = random_program(rng, PYTKET_GATES)
    assert parse_pytket(emit(pytket, Dialect.PYTKET)).text == pytket.text
    quil = random_program(rng, QUIL_GATES)
    assert parse_quil(emit(quil, Dialect.QUIL)).text == quil.text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
@settings(max_examples=300, deadline=None)
def test_an_angle_survives_half_turns_to_the_last_bit(angle: float) -> None:
    builder = Builder()
    builder.layout.add_qubits(1)
    builder.gate("rz", [angle], [0])
    program = builder.program()
    assert "e" not in half_turns(angle).lower()
    assert parse_pytket(emit(program, Dialect.PYTKET)).text == program.text


def test_pytket_says_conditions_resets_and_registers() -> None:
    program = qasm2(
        "qreg q[3]; creg a[2]; creg b[1]; r(0.3,0.1) q[0]; measure q[0] -> a[1]; if(a==2) x q[1];"
        "barrier q[1],q[2]; reset q[0]; if(b==1) measure q[1] -> a[0]; rzz(0.25) q[0],q[2];"
    )
    text = emit(program, Dialect.PYTKET)
    assert parse_pytket(text) == program
    # what pytket gives back: fewer digits, whole turns gone, other order of bits
    near = qasm2(
        "qreg q[3]; creg a[2]; creg b[1]; r(0.3,6.38318530717958) q[0]; measure q[0] -> a[1];"
        "if(a==2) x q[1]; barrier q[1],q[2]; reset q[0]; if(b==1) measure q[1] -> a[0];"
        "rzz(0.2500000000000001) q[0],q[2];"
    )
    assert same_circuit(program, near)
    assert not same_circuit(program, parse_pytket(text.replace(b'"ZZPhase"', b'"XXPhase"')))
    assert not same_circuit(
        program, parse_pytket(text.replace(b'"params":["0.0', b'"params":["0.1'))
    )
    assert not same_circuit(program, qasm2("qreg q[3]; creg a[2]; creg b[1]; r(0.3,0.1) q[0];"))


@pytest.mark.attack("C1")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"type":"X"', b'"type":"Y2"'),
        (b'["q",[0]]', b'["q",[7]]'),
        (b'["q",[0]]', b'["r",[0]]'),
        (b'"params":["', b'"params":["pi*'),
        (b'"params":["', b'"params":["1e'),
        (b'"params":["', b'"params":[0,"'),
        (b'"created_qubits":[]', b'"created_qubits":[["q",[0]]]'),
        (
            b'"implicit_permutation":[[["q",[0]],["q",[0]]]',
            b'"implicit_permutation":[[["q",[0]],["q",[1]]]',
        ),
        (b'"value":2', b'"value":4'),
        (b'"width":2', b'"width":3'),
        (b'"phase"', b'"phases"'),
        (b'"commands":[', b'"commands":[[],'),
        (b'"bits":[', b'"bits":[["c9",[0]],'),
        (b'"bits":[["c0",[0]],', b'"bits":['),
        (b"{", b""),
    ],
)
def test_a_changed_pytket_circuit_is_refused(old: bytes, new: bytes) -> None:
    program = qasm2("qreg q[2]; creg c[2]; rz(0.5) q[0]; measure q[0] -> c[0]; if(c==2) x q[1];")
    text = emit(program, Dialect.PYTKET)
    assert old in text
    with pytest.raises(CircuitError):
        parse_pytket(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"DECLARE ro BIT[2]", b"DECLARE ro BIT[3]"),
        (b"H 0", b"H 7"),
        (b"H 0", b"H 0 1"),
        (b"H 0", b"JUMP @X"),
        (b"H 0", b"DAGGER H 0"),
        (b"RX(0.5)", b"RX(theta)"),
        (b"RX(0.5)", b"RX(1.2.3)"),
        (b"ro[1]", b"ro[2]"),
        (b"# qubits 2", b"# qubits 0"),
        (b"# registers 2", b"# registers"),
    ],
)
def test_a_changed_quil_text_is_refused(old: bytes, new: bytes) -> None:
    program = qasm2("qreg q[2]; creg c[2]; h q[0]; rx(0.5) q[1]; cx q[0],q[1]; measure q -> c;")
    text = emit(program, Dialect.QUIL)
    assert old in text
    with pytest.raises(CircuitError):
        parse_quil(text.replace(old, new, 1))


@pytest.mark.parametrize("version", [2, 3])
def test_every_definition_is_the_gate(version: int) -> None:
    table = OPENQASM2_DEFINITIONS if version == 2 else OPENQASM3_DEFINITIONS
    for name, line in table.items():
        gate = CANONICAL[name]
        angles = [0.3 + 0.7 * i for i in range(gate.params)]
        text = f"({','.join(map(repr, angles))})" if angles else ""
        wires = ",".join(f"q[{i}]" for i in range(gate.qubits))
        library, kind = ("qelib1", "2.0") if version == 2 else ("stdgates", "3.0")
        head = f'OPENQASM {kind};\ninclude "{library}.inc";\n'
        # Under another name it is not recognised, so its body is inlined.
        body = line.replace(f"gate {name}", "gate other", 1)
        source = f"{head}{body}\nqreg q[{gate.qubits}];\nother{text} {wires};\n"
        format_ = Format.OPENQASM2 if version == 2 else Format.OPENQASM3
        inlined = parse_rich(source.encode(), format_, ParseLimits(), {})
        builder = Builder()
        builder.layout.add_qubits(gate.qubits)
        builder.gate(name, angles, range(gate.qubits))
        ours, theirs = Operator(to_qiskit(inlined)), Operator(to_qiskit(builder.program()))
        assert inlined.facts.gate_set != (name,) or name in ("c3x", "c4x", "c3sqrtx")
        assert ours.equiv(theirs), name


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    return [
        qasm2("qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; rz(-1e-7) q[1]; measure q -> c;"),
        qasm2(
            "qreg q[5]; creg c[2]; creg d[1]; u(1,2,3) q[0]; ryy(0.5) q[0],q[1]; barrier q[2],q[1];"
            "measure q[0] -> d[0]; if(d==1) x q[1]; if(c==2) rzx(1.5) q[1],q[0]; reset q[2];"
            "c3sqrtx q[0],q[1],q[2],q[3]; cu3(1,2,3) q[0],q[1]; iswap q[3],q[4]; sxdg q[0];"
        ),
    ]


@pytest.fixture
async def pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(SECOND_OPINION_ENTRYPOINT, size=1, max_jobs=100, request_timeout_s=60.0)
    yield made
    await made.close()


@pytest.mark.attack("C5")
async def test_another_parser_agrees(pool: GuardedPool, programs: list[Program]) -> None:
    for program in programs:
        for dialect in (Dialect.OPENQASM2, Dialect.OPENQASM3):
            assert await second_opinion(program, dialect, pool) == emit(program, dialect)
        assert (await second_opinion(program, Dialect.QISKIT, pool)).startswith(b"QISKIT")
    for dialect in (Dialect.BRAKET, Dialect.IONQ_JSON, Dialect.PYTKET, Dialect.QUIL):
        assert await second_opinion(programs[0], dialect, pool) == emit(programs[0], dialect)


@pytest.mark.attack("C5")
async def test_without_agreement_nothing_is_sent(programs: list[Program]) -> None:
    echo = "tests.unit.circuits.entrypoints:echo"
    liar = GuardedPool(echo, size=1, max_jobs=9, request_timeout_s=30.0)
    with pytest.raises(CircuitError) as caught:
        await second_opinion(programs[0], Dialect.OPENQASM2, liar)
    await liar.close()
    assert caught.value.code == "disagreement"
    broken = "tests.unit.circuits.entrypoints:dies"
    crashing = GuardedPool(broken, size=1, max_jobs=9, request_timeout_s=30.0)
    with pytest.raises(CircuitError) as caught:
        await second_opinion(programs[0], Dialect.OPENQASM2, crashing)
    await crashing.close()
    assert caught.value.code == "unconfirmed"


@pytest.mark.attack("C5")
@pytest.mark.parametrize("dialect", [Dialect.OPENQASM2, Dialect.OPENQASM3])
def test_the_other_parser_sees_a_changed_text(dialect: Dialect, programs: list[Program]) -> None:
    program = programs[1]
    text = emit(program, dialect)
    assert reread(text, dialect) == program
    changed = text.replace(b"ryy(0.5)", b"ryy(0.25)")
    assert reread(changed, dialect).fingerprint != program.fingerprint


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ("reset q[0]; measure q -> c;", Dialect.BRAKET),
        ("ch q[0],q[1]; measure q -> c;", Dialect.BRAKET),
        ("if(c==1) x q[0];", Dialect.BRAKET),
        ("x q[0];", Dialect.IONQ_JSON),
        ("barrier q; measure q -> c;", Dialect.IONQ_JSON),
        ("u(1,2,3) q[0]; measure q -> c;", Dialect.IONQ_JSON),
        ("measure q -> c; x q[0];", Dialect.IONQ_JSON),
        ("measure q[0] -> c[0]; measure q[1] -> c[0];", Dialect.IONQ_JSON),
        ("rc3x q[0],q[1],q[2],q[3];", Dialect.OPENQASM3),
        ("rc3x q[0],q[1],q[2],q[3];", Dialect.PYTKET),
        ("creg d[1]; if(c==1) x q[0];", Dialect.QUIL),
        ("sx q[0]; measure q -> c;", Dialect.QUIL),
        ("x q[0];", Dialect.QUIL),
        ("reset q[0]; measure q -> c;", Dialect.QUIL),
        ("barrier q; measure q -> c;", Dialect.QUIL),
        ("measure q[0] -> c[0]; measure q[1] -> c[0];", Dialect.QUIL),
    ],
)
def test_nothing_is_approximated(body: str, dialect: Dialect) -> None:
    program = qasm2("qreg q[4]; creg c[4];" + body)
    with pytest.raises(CircuitError) as caught:
        emit(program, dialect)
    assert caught.value.code == "unsupported"


def test_native_gates_have_no_openqasm() -> None:
    gate = b'{"gate":"gpi","phase":0.1,"target":0}'
    native = parse_ionq(b'{"gateset":"native","qubits":1,"circuit":[' + gate + b"]}")
    for dialect in (Dialect.OPENQASM2, Dialect.OPENQASM3, Dialect.BRAKET, Dialect.QISKIT):
        with pytest.raises(CircuitError):
            emit(native, dialect)
    assert Program.from_bytes(native.text) == native
