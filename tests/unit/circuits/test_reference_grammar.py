"""Our grammar accepts nothing that the language does not: its reference parser reads it too.

Our parser is our own for its speed and its bounds (ADR 12); this keeps it inside the language.
"""

from __future__ import annotations

import openqasm3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.hostile import corpus
from tests.unit.circuits.test_rich import rich
from tests.unit.circuits.test_summary import HEAD, Writer

from cryogate.circuits import CircuitError, Format, ParseLimits, emit
from cryogate.circuits.model import Dialect
from cryogate.circuits.reference_reader import read_openqasm3
from cryogate.circuits.rich.entry import parse_rich


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_we_accept_is_the_language_and_what_we_write_means_the_same(seed: int) -> None:
    source = HEAD + Writer(seed).program()
    try:
        program = parse_rich(source.encode(), Format.OPENQASM3, ParseLimits(), {})
    except CircuitError:
        return
    openqasm3.parse(source)
    if program.facts.gates < 300:
        text = emit(program, Dialect.OPENQASM3)
        assert read_openqasm3(text, ParseLimits()).fingerprint == program.fingerprint


def test_no_hostile_file_that_we_accept_is_outside_the_language() -> None:
    for item in corpus():
        if item.format == "openqasm3" and len(item.source) < 4000:
            try:
                parse_rich(item.source, Format.OPENQASM3, ParseLimits(max_operations=2000), {})
            except CircuitError:
                continue
            openqasm3.parse(item.source.decode())


_RESULTS = (
    "def f(qubit[2] b, float t) -> bit { rx(t) b; return measure b[0]; } qubit[4] q;"
    "bit c = f(q[1:2], 0.5); c = f(q[0:1], -1);"
)


@pytest.mark.parametrize(
    "body",
    [
        _RESULTS,
        "qubit[4] q; let a = q[{1, 3}] ++ q[0:0]; h a;",
        "qubit[4] q; bit c; c = measure q[0]; if (bool(c) && !(c == 0)) x q[1];",
        "qubit[2] q; uint[4] a = 5; a <<= 1; if ((a & 2) == 2 || a >> 3 == 1) x q[0];",
        "qubit q; for uint[8] i in {1, 2} rx(i * 0.5) q;",
    ],
)
def test_each_construct(body: str) -> None:
    assert rich(body).qubits
    openqasm3.parse(HEAD + body)
