"""Google's format: what is written reads back as the same program, to the last bit of an angle."""

from __future__ import annotations

import json
import math
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.circuits.support import qasm2

from cryogate.circuits import CircuitError, Dialect, Program, emit, inexpressible, parse_cirq
from cryogate.circuits.cirq import GATES, rounded
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.operations import Builder


def random_program(seed: int, qubits: int = 5) -> Program:
    rng = random.Random(seed)
    builder = Builder()
    builder.layout.add_qubits(qubits)
    builder.layout.add_register(2)
    builder.layout.add_register(qubits)
    for _ in range(rng.randrange(30)):
        gate = CANONICAL[rng.choice(sorted(GATES))]
        angles = [rounded(rng.uniform(-7, 7)) for _ in range(gate.params)]
        builder.gate(gate.name, angles, rng.sample(range(qubits), gate.qubits))
    for qubit in range(qubits):
        builder.measure(qubit, 2 + qubit)
    return builder.program()


@given(st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_the_same_program(seed: int) -> None:
    program = random_program(seed)
    text = emit(program, Dialect.CIRQ)
    assert parse_cirq(text).text == program.text
    # members in another order, and numbers in another spelling
    again = json.dumps(json.loads(text), sort_keys=True, indent=1).encode()
    assert parse_cirq(again).text == program.text


@given(
    st.floats(
        width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100
    )
)
@settings(max_examples=200, deadline=None)
def test_every_half_turn_of_single_precision_can_be_said(exponent: float) -> None:
    builder = Builder()
    builder.layout.add_qubits(1)
    builder.layout.add_register(1)
    builder.gate("rz", [exponent * math.pi], [0])
    builder.measure(0, 0)
    program = builder.program()
    assert inexpressible(program, Dialect.CIRQ) == ""
    assert parse_cirq(emit(program, Dialect.CIRQ)).text == program.text


def test_an_angle_is_not_rounded_in_silence() -> None:
    third = qasm2("qreg q[1]; creg c[1]; rz(pi/3) q[0]; measure q -> c;")
    near = rounded(math.pi / 3)
    assert repr(near) in inexpressible(third, Dialect.CIRQ)
    assert abs(near - math.pi / 3) < 1e-7
    assert inexpressible(qasm2(f"qreg q[1]; creg c[1]; rz({near!r}) q[0]; measure q -> c;"),
                         Dialect.CIRQ) == ""  # fmt: skip
    for angle in ("pi/4", "-pi/2", "3*pi/8", "2*pi", "0"):
        source = f"qreg q[1]; creg c[1]; rx({angle}) q[0]; measure q -> c;"
        assert inexpressible(qasm2(source), Dialect.CIRQ) == ""
    huge = qasm2("qreg q[1]; creg c[1]; rz(1e300) q[0]; measure q -> c;")
    assert "large" in inexpressible(huge, Dialect.CIRQ)


@pytest.mark.parametrize(
    "body",
    [
        "h q[0]; measure q -> c;", "s q[0]; measure q -> c;", "cx q[0],q[1]; measure q -> c;",
        "barrier q; measure q -> c;", "x q[0];", "measure q[0] -> c[0]; x q[0];",
        "reset q[0]; measure q -> c;", "measure q[0] -> c[0]; measure q[1] -> c[0];",
        "measure q[0] -> c[0]; if(c==1) x q[1]; measure q[1] -> c[1];",
    ],
)  # fmt: skip
def test_what_it_cannot_say_is_refused(body: str) -> None:
    program = qasm2(f"qreg q[2]; creg c[2]; {body}")
    assert inexpressible(program, Dialect.CIRQ)
    with pytest.raises(CircuitError):
        emit(program, Dialect.CIRQ)


@pytest.mark.attack("C1")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"floatValue":0.25', b'"floatValue":0.1'),
        (b'"floatValue":0.25', b'"floatValue":"0.25"'),
        (b'"floatValue":0.25', b'"floatValue":true'),
        (b'"floatValue":0.25', b'"floatValue":1e400'),
        (b'"floatValue":0.25', b'"symbol":"a"'),
        (b'"phasedxpowgate":{"phaseExponent":{"floatValue":0.0}', b'"phasedxpowgate":{}'),
        (b'"phaseExponent":{"floatValue":0.0}', b'"phaseExponent":{"floatValue":0.25}'),
        (b'"czpowgate":{"exponent":{"floatValue":1.0', b'"czpowgate":{"exponent":{"floatValue":2'),
        (b'"czpowgate"', b'"fsimgate"'),
        (b'"qubitConstantIndex":[0,1]', b'"qubitConstantIndex":[0,0]'),
        (b'"qubitConstantIndex":[0,1]', b'"qubitConstantIndex":[0,9]'),
        (b'"qubitConstantIndex":[0,1]', b'"qubitConstantIndex":[0,1],"tags":[]'),
        (b'"stringValue":"c1"', b'"stringValue":"c9"'),
        (b'"stringValue":"c1"', b'"stringValue":"m"'),
        (b'"id":"1"', b'"id":"7"'),
        (b'"v2_5"', b'"v2"'),
        (b'"registers":[2]', b'"registers":[0]'),
        (b'"MOMENT_BY_MOMENT"', b'"AS_SOON_AS_POSSIBLE"'),
        (b'"moments":[', b'"moments":[[],'),
        (b'{"registers"', b'[{"registers"'),
        (b"{", b""),
    ],
)  # fmt: skip
def test_a_changed_circuit_is_another_or_none(old: bytes, new: bytes) -> None:
    program = qasm2(
        "qreg q[2]; creg c[2]; rx(pi/4) q[0]; cz q[0],q[1]; r(pi/2,pi) q[1]; measure q -> c;"
    )
    text = emit(program, Dialect.CIRQ)
    assert old in text
    with pytest.raises(CircuitError):
        parse_cirq(text.replace(old, new, 1))


def test_measurements_are_in_the_last_moment() -> None:
    program = qasm2(
        "qreg q[3]; creg c[3]; x q[0]; measure q[0] -> c[0]; y q[1]; cz q[1],q[2]; sx q[1];"
        "measure q[1] -> c[1]; measure q[2] -> c[2];"
    )
    moments = json.loads(emit(program, Dialect.CIRQ))["program"]["circuit"]["moments"]
    assert [len(m["operations"]) for m in moments] == [2, 1, 1, 3]
    assert all("measurementgate" in op for op in moments[-1]["operations"])
    moments[1]["operations"].append(moments[-1]["operations"].pop(0))
    document = json.loads(emit(program, Dialect.CIRQ))
    document["program"]["circuit"]["moments"] = moments
    with pytest.raises(CircuitError, match="last moment"):
        parse_cirq(json.dumps(document).encode())


def test_single_precision_is_what_the_wire_has() -> None:
    assert struct.unpack("<f", struct.pack("<f", rounded(0.1) / math.pi))[0] * math.pi == rounded(
        0.1
    )
