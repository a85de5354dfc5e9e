"""The example programs of the OpenQASM 3 repository: accepted, or refused with the reason by name.

Each is read by the flat parser or the rich one, as ``load`` would. What is accepted has the number
of gates that a person counts in it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cryogate.circuits import (
    CircuitError,
    Format,
    NeedsRichParser,
    ParseLimits,
    Program,
    parse_flat,
)
from cryogate.circuits.rich.entry import parse_rich

EXAMPLES = Path(__file__).parents[2] / "corpus" / "openqasm3"
ACCEPTED = {
    "adder": (30, 5), "inverseqft1": (19, 4), "inverseqft2": (14, 4), "qft": (12, 4), "qpt": (1, 1),
    "rb": (7, 2), "teleport": (7, 3),
}  # fmt: skip
REFUSED = {
    "alignment": (8, "stretch"),
    "arrays": (97, "directive"),
    "cphase": (1, "U+03B8"),
    "dd": (8, "physical qubits"),
    "defcal": (3, "physical qubits"),
    "gateteleport": (6, "extern"),
    "ipe": (7, "float of any width but 64"),
    "msd": (22, "a result of type bool"),
    "qec": (24, "a condition that can never hold"),
    "rus": (27, "a bit is set only by a measurement"),
    "scqec": (14, "without a value"),
    "t1": (28, "physical qubits"),
    "varteleport": (31, "bellprep is a subroutine, not a gate"),
    "vqe": (17, "extern"),
}


def _read(name: str) -> Program:
    source = (EXAMPLES / f"{name}.qasm").read_bytes()
    try:
        return parse_flat(source, Format.OPENQASM3)
    except NeedsRichParser:
        return parse_rich(source, Format.OPENQASM3, ParseLimits(), {})


def test_every_example_is_here() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.qasm")}
    assert names == {*ACCEPTED, *REFUSED}
    assert len(names) == 21


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_accepted(name: str) -> None:
    facts = _read(name).facts
    assert (facts.gates, facts.measurements) == ACCEPTED[name]


@pytest.mark.attack("C4")
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_by_name_and_line(name: str) -> None:
    with pytest.raises(CircuitError) as caught:
        _read(name)
    line, word = REFUSED[name]
    assert caught.value.line == line
    assert word in caught.value.detail


@pytest.mark.parametrize(
    ("name", "old", "new", "gates"),
    [
        # The two that are refused for one word each are read once that word is right.
        ("qec", "int[2](syn)", "uint[2](syn)", 8),
        ("varteleport", "bellprep bp;", "bellprep(bp);", 63),
    ],
)
def test_one_word_away(name: str, old: str, new: str, gates: int) -> None:
    text = (EXAMPLES / f"{name}.qasm").read_text().replace(old, new)
    program = parse_rich(text.encode(), Format.OPENQASM3, ParseLimits(), {})
    assert program.facts.gates == gates
