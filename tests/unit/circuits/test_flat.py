"""The flat parser: what it accepts, what it refuses, and that it raises nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.circuits.support import HEADER, qasm2

from cryogate.circuits import (
    CircuitError,
    Format,
    NeedsRichParser,
    ParseLimits,
    Program,
    parse_flat,
    parse_ionq,
)
from cryogate.circuits.gates import words

V3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


def qasm3(body: str, header: str = V3) -> Program:
    return parse_flat((header + body).encode(), Format.OPENQASM3)


def test_openqasm3_says_the_same_as_openqasm2() -> None:
    two = qasm2(
        "qreg q[3]; creg c[2]; h q; cx q[0],q[1]; barrier q[2],q[0]; measure q[1] -> c[0];"
        "if(c==1) rz(-pi/3) q[2]; reset q[0];"
    )
    three = qasm3(
        "qubit[3] q; bit[2] c; h q; CX q[0], q[1]; barrier q[0], q[2]; c[0] = measure q[1];"
        "if (c == 1) rz(-pi/3.0) q[2]; reset q[0]; /* done; */"
    )
    assert two == three


def test_single_qubits_and_broadcast() -> None:
    program = qasm3("qubit a; qubit[2] b; bit m; cx a, b; rx(1) b; m = measure a; barrier;")
    assert [(op.name, op.qubits) for op in program.operations()] == [
        ("cx", (0, 1)),
        ("cx", (0, 2)),
        ("rx", (1,)),
        ("measure", (0,)),
        ("rx", (2,)),
        ("barrier", (0, 1, 2)),
    ]


def test_a_register_may_have_the_name_of_a_lesser_known_gate() -> None:
    assert qasm2("qreg r[1]; creg v[1]; x r[0]; measure r -> v;").facts.measurements == 1


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("qreg q[2];\ncx q[0],q[0];", "duplicate_qubit", 4),
        ("qreg q[2];\n\nx q[2];", "out_of_range", 5),
        ("qreg q[2];\nx p[0];", "undefined", 4),
        ("qreg q[2];\nfoo q[0];", "undefined", 4),
        ("qreg q[2];\nrx q[0];", "syntax", 4),
        ("qreg q[2];\nx(1) q[0];", "syntax", 4),
        ("qreg q[2];\nx q[0],q[1];", "syntax", 4),
        ("qreg q[2];\nx q[0]", "syntax", 4),
        ("qreg q[2];\n;", "syntax", 4),
        ("qreg q[2]; creg c[2];\nx c[0];", "syntax", 4),
        ("qreg q[2]; creg c[1];\nmeasure q -> c;", "syntax", 4),
        ("qreg q[2]; creg c[2];\nmeasure q;", "syntax", 4),
        ("qreg q[2]; creg c[2];\nif(c[0]==1) x q[0];", "syntax", 4),
        ("qreg q[2]; creg c[2];\nif(c==4) x q[0];", "unsupported", 4),
        ("qreg q[2]; creg c[2];\nif(c==1) measure q -> c;", "ambiguous", 4),
        ("qreg q[2];\nqreg q[1];", "redefined", 4),
        ("qreg cx[2];", "redefined", 3),
        ("qreg pi[2];", "redefined", 3),
        ("qreg q[0];", "syntax", 3),
        ("qreg q[2000];", "too_large", 3),
        ("creg c[100000];", "too_large", 3),
        ("qreg q[999999999];", "too_large", 3),
        ("qreg q[9999999999];", "syntax", 3),
        ("qreg q[2];\nrx(1/0) q[0];", "not_finite", 4),
        ("qreg q[2];\nrx(1e999) q[0];", "not_finite", 4),
        ("qreg q[2];\nrx(nan) q[0];", "undefined", 4),
        ("qreg q[2];\nrx(1_0) q[0];", "syntax", 4),
        ("qreg q[2];\nrx() q[0];", "syntax", 4),
        ("qreg q[2];\nx q[-1];", "syntax", 4),
        ("qreg q[2];\nqreg r[3];\ncx q,r;", "syntax", 5),
        ("creg c[1];", "syntax", None),
        ('qreg q[1];\ninclude "qelib1.inc";', "syntax", 4),
        ("/* no */ qreg q[1];", "syntax", 3),
    ],
)
def test_refusals_name_the_line(body: str, code: str, line: int | None) -> None:
    with pytest.raises(CircuitError) as caught:
        qasm2(body)
    assert (caught.value.code, caught.value.line) == (code, line)
    assert not isinstance(caught.value, NeedsRichParser)


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"qreg q[1];",
        b"OPENQASM 3.0; qubit q;",
        b"OPENQASM 2.0",
        b'include "qelib1.inc"; qreg q[1];',
        b"OPENQASM 2.0; qreg q[1]; x q[0];",
    ],
)
def test_the_header_is_needed(source: bytes) -> None:
    with pytest.raises(CircuitError):
        parse_flat(source, Format.OPENQASM2)


def test_without_the_include_only_the_builtin_gates_exist() -> None:
    program = qasm2("qreg q[2]; U(0,0,1) q[0]; CX q[0],q[1];", "OPENQASM 2.0;\n")
    assert program.facts.gate_set == ("cx", "u")


@pytest.mark.parametrize(
    "body",
    [
        "gate g a { x a; }",
        "qubit[2] q; ctrl @ x q[0], q[1];",
        "const int n = 2;",
        "qubit[4] q; x q[0:2];",
        "input float t;",
        "bit[2] c = measure q;",
        "for int i in [0:3] x q[i];",
        "def f(qubit q) { }",
    ],
)
def test_what_is_not_flat_is_left_to_the_worker(body: str) -> None:
    with pytest.raises(NeedsRichParser):
        qasm3(body)


def test_limits_hold_before_anything_is_built() -> None:
    small = ParseLimits(max_bytes=200, max_operations=5)
    with pytest.raises(CircuitError, match="200 bytes"):
        parse_flat(HEADER.encode() + b" " * 200, Format.OPENQASM2, small)
    with pytest.raises(CircuitError, match="5 operations"):
        parse_flat(HEADER.encode() + b"qreg q[6]; x q;", Format.OPENQASM2, small)
    with pytest.raises(CircuitError, match="5 operations"):
        parse_flat(HEADER.encode() + b"qreg q[1];" + b"x q[0];" * 6, Format.OPENQASM2, small)


def test_large_and_small_sources_have_the_same_order() -> None:
    """The two ways of sorting, and statements cut over chunks, agree."""
    body = "qreg q[9];" + "".join(f"rx({i}.25) q[{i * 7 % 9}]; h q[{i % 9}];" for i in range(9000))
    whole = qasm2(body)
    lines = whole.text.decode().splitlines()[3:]
    assert len(lines) == 18000
    assert Program.from_bytes(whole.text) == whole
    assert whole.facts.gate_counts == {"h": 9000, "rx": 9000}


_WORDS = st.sampled_from((";", ";\n", "\r\n", "\r", " ", "\x00", "\xff")) | st.sampled_from(
    words(
        'OPENQASM 2.0 3.0 include "qelib1.inc" "stdgates.inc" qreg creg qubit bit q c q[0] c[0] '
        "[2] ( ) , ; -> == = x cx rx(pi) U if(c==1) measure barrier reset gate { } // /* */ 1e9 "
        "- + * / pi @ # $0 0 99999999 ctrl for in pragma"
    )
)


@given(st.lists(_WORDS, max_size=40).map(" ".join))
@example('OPENQASM 2.0;include "qelib1.inc";qreg q[1];if(q==1) x q[0];')
@example('OPENQASM 2.0;include "qelib1.inc";qreg q[1];if(')
@example("OPENQASM 3;qubit q;measure;")
@settings(max_examples=500, deadline=None)
def test_words_raise_nothing_but_circuit_errors(text: str) -> None:
    _only_circuit_errors(text.encode("latin-1"))
    _only_circuit_errors(HEADER.encode() + b"qreg q[2];creg c[2];" + text.encode("latin-1"))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_bytes_raise_nothing_but_circuit_errors(data: bytes) -> None:
    _only_circuit_errors(data)


def _only_circuit_errors(source: bytes) -> None:
    for format_ in Format:
        refused, program = _parse(source, format_)
        if program is not None:
            assert Program.from_bytes(program.text) == program
        if refused is not None:
            assert refused.code.replace("_", "").isalpha()
            assert all(" " <= ch <= "~" for ch in refused.detail + refused.hint)
            assert len(refused.detail) < 200


def _parse(source: bytes, format_: Format) -> tuple[CircuitError | None, Program | None]:
    try:
        if format_ is Format.IONQ_JSON:
            return None, parse_ionq(source)
        return None, parse_flat(source, format_)
    except CircuitError as error:
        return error, None
