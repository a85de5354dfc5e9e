"""The rich path: right by Qiskit's matrices and parser, exact in its counts, strict in the rest."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm2
from qiskit.circuit import library as lib
from qiskit.quantum_info import Operator

from cryogate.circuits import CircuitError, Format, ParseLimits, Program, parse_flat
from cryogate.circuits.gates import words
from cryogate.circuits.qiskit_bridge import to_qiskit
from cryogate.circuits.qiskit_reader import from_qiskit
from cryogate.circuits.rich.entry import parse_rich

LIMITS = ParseLimits()


HEADS = {
    2: 'OPENQASM 2.0;\ninclude "qelib1.inc";\n',
    3: 'OPENQASM 3.0;\ninclude "stdgates.inc";\n',
}


def rich(body: str, version: int = 3, parameters: Mapping[str, float] | None = None) -> Program:
    format_ = Format.OPENQASM2 if version == 2 else Format.OPENQASM3
    return parse_rich((HEADS[version] + body).encode(), format_, LIMITS, parameters or {})


def lines(program: Program) -> list[str]:
    return [x for x in program.text.decode().splitlines()[2:] if not x.startswith(("qreg", "creg"))]


def _random_definitions(rng: random.Random) -> str:
    """OpenQASM 2 with nested definitions."""
    out = []
    known: list[tuple[str, int, int]] = [("rx", 1, 1), ("cx", 0, 2), ("h", 0, 1), ("u2", 2, 1)]
    known += [("cu1", 1, 2), ("ccx", 0, 3)]
    for number in range(rng.randint(1, 5)):
        params = [f"t{i}" for i in range(rng.randint(0, 2))]
        qubits = [f"a{i}" for i in range(3)]
        body = ""
        for _ in range(rng.randint(0, 4)):
            name, angles, size = rng.choice(known)
            values = [
                rng.choice([*params, "pi", "0.5"]) + rng.choice(["", "/3", "*2", "+1", "^2"])
                for _ in range(angles)
            ]
            text = f"({','.join(values)})" if values else ""
            body += f"{name}{text} {','.join(rng.sample(qubits, size))}; "
        head = f"({','.join(params)})" if params else ""
        out.append(f"gate g{number}{head} {','.join(qubits)} {{ {body}}}")
        known.append((f"g{number}", len(params), 3))
    out.append("qreg q[4];")
    for _ in range(4):
        name, angles, size = rng.choice(known)
        text = f"({','.join(repr(rng.uniform(-3, 3)) for _ in range(angles))})" if angles else ""
        out.append(f"{name}{text} " + ",".join(f"q[{i}]" for i in rng.sample(range(4), size)) + ";")
    return "\n".join(out)


@given(st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_definitions_are_inlined_as_qiskit_does(seed: int) -> None:
    body = _random_definitions(random.Random(seed))
    source = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n' + body
    theirs = from_qiskit(qasm2.loads(source, include_path=()))
    ours = rich(body, 2)
    # Qiskit multiplies angles as symbols, so a last place may differ; matrices do not.
    assert ours.facts.gate_counts == theirs.facts.gate_counts
    assert Operator(to_qiskit(ours)).equiv(Operator(to_qiskit(theirs)))


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("ctrl @ x", lib.CXGate()),
        ("ctrl @ ctrl @ x", lib.CCXGate()),
        ("ctrl(2) @ z", lib.CCZGate()),
        ("inv @ s", lib.SdgGate()),
        ("ctrl @ inv @ t", lib.CPhaseGate(-math.pi / 4)),
        ("pow(3) @ t", lib.TGate().power(3)),
        ("pow(-2) @ rx(0.3)", lib.RXGate(-0.6)),
        ("negctrl @ x", lib.XGate().control(1, ctrl_state=0)),
        ("ctrl @ rz(0.3)", lib.CRZGate(0.3)),
        ("ctrl @ gphase(0.7)", lib.PhaseGate(0.7)),
        ("ctrl(2) @ gphase(0.7)", lib.CPhaseGate(0.7)),
        ("inv @ u2(0.1, 0.2)", lib.U2Gate(0.1, 0.2).inverse()),
        ("inv @ U(0.1, 0.2, 0.3)", lib.UGate(0.1, 0.2, 0.3).inverse()),
        ("inv @ cu(0.1, 0.2, 0.3, 0.4)", lib.CUGate(0.1, 0.2, 0.3, 0.4).inverse()),
        ("ctrl(3) @ x", lib.C3XGate()),
        ("ctrl @ swap", lib.CSwapGate()),
    ],
)
def test_modifiers_are_exact(text: str, gate: object) -> None:
    expected = QuantumCircuit(gate.num_qubits)  # type: ignore[attr-defined]
    expected.append(gate, range(expected.num_qubits))
    wires = ",".join(f"q[{i}]" for i in range(expected.num_qubits))
    program = rich(f"qubit[{expected.num_qubits}] q; {text} {wires};")
    assert Operator(to_qiskit(program)).equiv(Operator(expected))


@pytest.mark.parametrize("text", ["inv @ ctrl @ sx", "negctrl @ ctrl @ rz(0.3)", "ctrl @ u2(1, 2)"])
def test_what_has_no_name_is_refused(text: str) -> None:
    with pytest.raises(CircuitError) as caught:
        rich(f"qubit[3] q; {text} {','.join(f'q[{i}]' for i in range(1 + text.count('ctrl')))};")
    assert caught.value.code == "unsupported"


def test_modifiers_of_definitions() -> None:
    program = rich(
        "gate g(t) a, b { h a; cx a, b; rz(t) b; gphase(t); } qubit[3] q;"
        "inv @ g(0.5) q[0], q[1]; ctrl @ g(0.5) q[2], q[0], q[1];"
    )
    inner = QuantumCircuit(2)
    inner.h(0)
    inner.cx(0, 1)
    inner.rz(0.5, 1)
    inner.global_phase = 0.5
    expected = QuantumCircuit(3)
    expected.append(inner.to_gate().inverse(), [0, 1])
    expected.append(inner.to_gate().control(1, annotated=False), [2, 0, 1])
    assert Operator(to_qiskit(program)).equiv(Operator(expected))


def test_loops_and_variables() -> None:
    program = rich(
        "const int n = 3; int k = 0; qubit[n] q;"
        "for int i in [0:n-1] { rx(i * 0.5) q[i]; k = k + 1; }"
        "for uint i in {2, 0} { x q[i]; } for int i in [2:-1:1] h q[i];"
        "if (k == 3) { z q[0]; } else { y q[0]; }"
    )
    assert lines(program) == [
        "rx(0.0) q[0];", "rx(0.5) q[1];", "rx(1.0) q[2];", "x q[0];", "h q[1];", "x q[2];",
        "z q[0];", "h q[2];",
    ]  # fmt: skip


def test_subroutines() -> None:
    program = rich(
        "def pair(qubit a, qubit[2] b, float t) { cx a, b[1]; rx(t / 2) b; }"
        "qubit q; qubit[2] r; pair(q, r, 3);"
    )
    assert lines(program) == ["cx q[0],q[2];", "rx(1.5) q[1];", "rx(1.5) q[2];"]
    part = rich("def f(qubit[2] b) { cx b[0], b[1]; } qubit[5] q; f(q[1:2]); f(q[4:-2:2]);")
    assert lines(part) == ["cx q[1],q[2];", "cx q[4],q[2];"]


def test_inputs_are_bound_once_and_completely() -> None:
    body = "input float theta; input int k; qubit[2] q; rx(theta*2) q[k];"
    assert lines(rich(body, 3, {"theta": 0.25, "k": 1})) == ["rx(0.5) q[1];"]
    wrong: tuple[dict[str, float], ...] = (
        {},
        {"theta": 1.0},
        {"theta": 1.0, "k": 0.5},
        {"theta": 1.0, "k": 1, "x": 1},
    )
    for parameters in wrong:
        with pytest.raises(CircuitError):
            rich(body, 3, parameters)


def test_conditions() -> None:
    program = rich(
        "qubit[2] q; bit[2] c; bit b; c[0] = measure q[0];"
        "if (c[0]) { x q[1]; z q[1]; } else y q[1];"
        "if (!c[1]) h q[0]; if (c == 3) { x q[0]; } if (b != 1) reset q[0]; c = measure q;"
    )
    text = program.text.decode()
    for expected in (
        "if(c0[0]==1) x q[1];", "if(c0[0]==1) z q[1];", "if(c0[0]==0) y q[1];",
        "if(c0[1]==0) h q[0];", "if(c0==3) x q[0];", "if(c1==0) reset q[0];",
    ):  # fmt: skip
        assert expected in text
    assert Program.from_bytes(program.text) == program


def test_conditions_are_conjunctions_with_one_spelling() -> None:
    head = "qubit[2] q; bit[2] c; bit b; c = measure q; b = measure q[0];"
    nested = rich(head + "if (c[0]) { if (b == 0) { x q[0]; z q[1]; } else y q[0]; }")
    assert lines(nested)[3:] == [
        "if(c0[0]==1) if(c1==0) x q[0];", "if(c0[0]==1) if(c1==0) z q[1];",
        "if(c0[0]==1) if(c1==1) y q[0];",
    ]  # fmt: skip
    assert Program.from_bytes(nested.text) == nested
    for same in (
        "if (c[0]) if (c[1]) x q[0];", "if (c[1] && true && c[0]) x q[0];", "if (c == 3) x q[0];",
        "if (c[1] == 1) { if (uint[2](c) == 3) x q[0]; }",
        "if (bool(c[0]) && !(c[1] != 1)) x q[0];",
    ):  # fmt: skip
        assert lines(rich(head + same))[3:] == ["if(c0==3) x q[0];"], same
    assert lines(rich(head + "if (false && c[0]) x q[0]; else z q[0];"))[3:] == ["z q[0];"]


def test_aliases_name_the_same_qubits() -> None:
    program = rich(
        "qubit[4] q; bit[2] c; let odd = q[{1, 3}]; let all = q[2:3] ++ q[0:1]; let one = odd[1];"
        "h odd; x all[0]; cx one, all[2]; let d = c[1:1]; d = measure q[0]; if (d[0]) y one;"
        "for int i in [0:1] { let pair = q[{2*i, 2*i + 1}]; cz pair[0], pair[1]; }"
    )
    assert sorted(lines(program)) == sorted(
        [
            "h q[1];", "h q[3];", "x q[2];", "cx q[3],q[0];", "measure q[0] -> c0[1];",
            "if(c0[1]==1) y q[3];", "cz q[0],q[1];", "cz q[2],q[3];",
        ]
    )  # fmt: skip


def test_results_are_measured_into_the_bits_of_the_caller() -> None:
    program = rich(
        "const int n = 2; def ymeasure(qubit q) -> bit { s q; h q; return measure q; }"
        "def both(qubit[n] q) -> bit[n] { bit[n] b; b[0] = ymeasure(q[0]); b[1] = measure q[1];"
        "if (b[0]) x q[1]; return b; }"
        "qubit[n] q; qubit r; bit[n] c; bit d = ymeasure(r); c = both(q); both(q);"
    )
    assert program.registers == (2, 1, 2)
    text = program.text.decode()
    assert "measure q[2] -> c1[0];" in text
    assert text.count("if(c0[0]==1) x q[1];") == 1
    assert text.count("measure q[0] -> c0[0];") == 1
    # A result that nobody takes is measured all the same, into bits of its own.
    assert text.count("measure q[0] -> c2[0];") == 1


def test_bits_of_a_block_are_new_each_time() -> None:
    program = rich("qubit[2] q; for int i in [0:1] { bit b = measure q[i]; if (b) x q[1 - i]; }")
    assert program.registers == (1, 1)
    assert program.facts.measurements == 2


def test_whole_numbers_have_bits() -> None:
    program = rich(
        "qubit[4] q; uint[4] a = 5; int k = 1; k += 2; k <<= 1; a ^= 3;"
        "for uint i in [0:3] { if (bool(a[i])) x q[i]; } if ((k & 4) == 4 && k >> 1 == 3) z q[0];"
    )
    assert sorted(lines(program)) == ["x q[1];", "x q[2];", "z q[0];"]


def test_the_version_line_of_openqasm_3_may_be_left_out() -> None:
    for source in (b"qubit q; U(0,0,0) q;", b'include "stdgates.inc"; qubit q; x q;'):
        assert parse_flat(source, Format.OPENQASM3).facts.gates == 1
        assert parse_rich(source, Format.OPENQASM3, LIMITS, {}).facts.gates == 1
        with pytest.raises(CircuitError):
            parse_flat(source, Format.OPENQASM2)


_SOMETIMES = "def f(qubit a) -> bit { bit b; bit e = measure a; if (e) b = measure a; return b; }"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("qubit q; bit c; if (c) { c = measure q; x q; }", "ambiguous"),
        ("qubit q; bit[2] c; if (c == 1) { x q; } else { z q; }", "unsupported"),
        ("qubit q; bit c; int i = 0; if (c) i = 1;", "unsupported"),
        ("qubit q; while (true) x q;", "unsupported"),
        ("qubit q; rx(3/2) q;", "ambiguous"),
        ("qubit q; rx(-2**2) q;", "ambiguous"),
        ("qubit[2] q; x q[-1];", "out_of_range"),
        ("qubit[2] q; x q[0:2];", "out_of_range"),
        ("qubit[2] q; cx q[0], q[0];", "duplicate_qubit"),
        ("qubit[2] q; ctrl @ U(1,2,3) q[0], q[1];", "unsupported"),
        ("gate g a { h b; } qubit q; g q;", "undefined"),
        ("gate g a { g a; } qubit q; g q;", "undefined"),
        ("gate g a, a { h a; }", "redefined"),
        ("gate g a { reset a; }", "syntax"),
        ("gate g a { h a; } gate g a { x a; }", "redefined"),
        ("def f(qubit[2] q) { x q; } qubit[3] r; f(r);", "syntax"),
        ("def f(qubit a, qubit b) { cx a, b; } qubit q; f(q, q);", "duplicate_qubit"),
        ("input angle[8] t;", "unsupported"),
        ("const int n = 3; n = 4; qubit q;", "syntax"),
        ("qubit q; rx(sqrt(0-1)) q;", "not_finite"),
        ("qubit q; rx(1/0) q;", "not_finite"),
        ("qubit q; int i = 1.5;", "ambiguous"),
        ("qubit q; pow(0.5) @ x q;", "unsupported"),
        ("output float x;", "unsupported"),
        ("bit c; if (true) { qubit q; }", "unsupported"),
        ("let a = q[0];", "undefined"),
        ("qubit[2] q; bit c; let a = q ++ c;", "syntax"),
        ("qubit[2] q; let a = q[0:1] ++ q[1];", "duplicate_qubit"),
        ("qubit q; bit c; if (c) { if (!c) x q; }", "unsupported"),
        ("qubit q; bit[2] c; if (c[0] || c[1]) x q;", "unsupported"),
        ("qubit q; bit[2] c; if (c[0] ^ c[1]) x q;", "unsupported"),
        ("qubit q; bit[2] c; if (c) x q;", "unsupported"),
        ("qubit q; bit[2] c; if (int[2](c) == 2) x q;", "unsupported"),
        ("qubit q; bit[2] c; if (int[1](c) == 0) x q;", "unsupported"),
        ("qubit q; bit[2] c; if (c[0]) { if (c[1]) { c[0] = measure q; x q; } }", "ambiguous"),
        ("qubit q; if (true) { bit b; if (b) x q; }", "unbound"),
        ("qubit q; bit c; if (true) { bit b; if (c) b = measure q; if (b) x q; }", "unbound"),
        ("qubit q; bit c; c = 1;", "unsupported"),
        ("qubit q; bit c; c ^= 1;", "unsupported"),
        ("qubit q; bit c = 0;", "unsupported"),
        ("qubit q; uint[2] k = 4;", "out_of_range"),
        ("qubit q; int[2] k = 1; k += 1;", "out_of_range"),
        ("qubit q; int k;", "unsupported"),
        ("qubit q; int k = ~1;", "unsupported"),
        ("qubit q; while (true) { x q; }", "unsupported"),
        ("qubit q; switch (1) { case 1 { x q; } }", "unsupported"),
        ("x $0;", "forbidden"),
        ("qubit q; def f() { x q; } f();", "undefined"),
        ("qubit q; bit c; def f(qubit a) -> bit { bit b; return b; } c = f(q);", "unsupported"),
        (f"qubit q; bit c; {_SOMETIMES} c = f(q);", "unsupported"),
        ("qubit q; bit c; def f(qubit a) -> bit { return a; } c = f(q);", "unsupported"),
        ("qubit q; bit[2] c; def f(qubit a) -> bit { return measure a; } c = f(q);", "syntax"),
        ("qubit q; bit c; def f(qubit a) { x a; } c = f(q);", "syntax"),
        ("def f(qubit a) -> bit { if (true) { return measure a; } }", "unsupported"),
        ("def f(qubit a) -> bit { x a; }", "unsupported"),
        ("def f(qubit a) -> int { return 1; }", "unsupported"),
        ("def f(bit a) { }", "unsupported"),
        ("return 1;", "syntax"),
        (
            "qubit q; bit c; def f(qubit a) -> bit { return measure a; } if (f(q)) x q;",
            "unsupported",
        ),
        ("gate g(t) a { pow(t) @ x a; } qubit q; g(1000000000000) q;", "unsupported"),
    ],
)
def test_refusals(body: str, code: str) -> None:
    with pytest.raises(CircuitError) as caught:
        rich(body)
    assert caught.value.code == code


_GATES = [f"gate g{i} a {{ g{i - 1} a; g{i - 1} a; }}" for i in range(1, 41)]
_SUBROUTINES = [f"def f{i}(qubit q) {{ f{i - 1}(q); f{i - 1}(q); }}" for i in range(1, 31)]


@pytest.mark.attack("C1")
@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("gate g0 a { x a; }" + "".join(_GATES) + "qubit q; g40 q;", 2**40),
        ("def f0(qubit q) { x q; }" + "".join(_SUBROUTINES) + "qubit q; f30(q);", 2**30),
        ("qubit q; for int i in [1:1000000000000] { x q; }", 10**12),
        ("qubit q; for int i in [1:1000000] for int j in [1:1000000] x q;", 10**12),
        ("qubit[3] q; pow(1000000000000) @ x q[0];", 10**12),
        ("qubit[3] q; for int i in [1:1000000] { h q; cx q[0], q[1]; }", 4 * 10**6),
    ],
)
def test_sizes_are_counted_exactly_without_expanding(body: str, count: int) -> None:
    with pytest.raises(CircuitError) as caught:
        rich(body)
    assert caught.value.code == "too_large"
    assert f"{count} operations" in caught.value.detail


_WORDS = st.sampled_from(
    words(
        "qubit q; bit c; [2] gate g a { } ( ) x a; q[0] cx , ; for int i in [0:2] if (c) else def "
        "f(qubit r) ctrl @ inv pow(2) = measure -> 1 2.5 + - ** / ! == input float t; const"
    )
)


@given(st.lists(_WORDS, max_size=40).map(" ".join))
@settings(max_examples=400, deadline=None)
def test_words_raise_nothing_but_circuit_errors(text: str) -> None:
    for version in (2, 3):
        try:
            program = rich("qreg z[3]; creg y[2];" + text, version)
        except CircuitError:
            continue
        assert Program.from_bytes(program.text) == program


def test_trigonometry() -> None:
    program = rich("qreg q[1]; gate g(t) a { rx(sin(t)^2 + 3/2) a; } g(0.5) q[0];", 2)
    (op,) = program.operations()
    assert op.params == (math.sin(0.5) ** 2 + 1.5,)
