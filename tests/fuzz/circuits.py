"""Coverage-guided fuzzing of everything that reads a circuit (``.ci/fuzz`` runs it).

Whatever the bytes are: a parser answers with a program or a `CircuitError`; a program reads back as
itself and from every dialect that can say it; where two parsers accept the same text, they see the
same program.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["cryogate.circuits"]):
    from cryogate.circuits.emission import emit, inexpressible
    from cryogate.circuits.errors import CircuitError
    from cryogate.circuits.flat import parse_flat
    from cryogate.circuits.ionq import parse_ionq
    from cryogate.circuits.model import Dialect, Format, ParseLimits
    from cryogate.circuits.program import Program
    from cryogate.circuits.pytket import parse_pytket
    from cryogate.circuits.qpy_reader import check_header
    from cryogate.circuits.quil import parse_quil
    from cryogate.circuits.refusals import read_refusal
    from cryogate.circuits.rich.entry import parse_rich

LIMITS = ParseLimits(max_bytes=4096, max_qubits=48, max_clbits=96, max_operations=1500)
FORMATS = (Format.OPENQASM2, Format.OPENQASM3, Format.IONQ_JSON, Format.QPY)
#: Readers of what we write ourselves; vendors give one of them back.
OWN = {
    Dialect.IONQ_JSON: parse_ionq,
    Dialect.PYTKET: parse_pytket,
    Dialect.QUIL: parse_quil,
}
KINDS: tuple[Format | Dialect, ...] = (*FORMATS, Dialect.PYTKET, Dialect.QUIL)
READERS = {
    Dialect.OPENQASM2: Format.OPENQASM2,
    Dialect.OPENQASM3: Format.OPENQASM3,
    Dialect.BRAKET: Format.OPENQASM3,
}


def one_input(data: bytes) -> None:
    """The first byte says what the rest is."""
    format_, source = KINDS[data[0] % len(KINDS)] if data else KINDS[0], data[1:]
    if isinstance(format_, Dialect):
        _holds(_answered(OWN[format_], source, LIMITS))
    elif format_ is Format.QPY:
        _answered(check_header, source)
        read_refusal(source)
    elif format_ is Format.IONQ_JSON:
        _holds(_answered(parse_ionq, source, LIMITS))
    else:
        flat = _answered(parse_flat, source, format_, LIMITS)
        rich = _answered(parse_rich, source, format_, LIMITS, {})
        assert flat is None or rich is None or flat.text == rich.text, "two parsers, two programs"
        _holds(flat or rich)


def _answered(parse: Callable[..., Any], *arguments: object) -> Any:
    try:
        return parse(*arguments)
    except CircuitError as error:
        shown = str(error)
        assert shown.isascii(), "a refusal that is not ASCII"
        assert shown.isprintable(), "a refusal that is not printable"
        return None


def _holds(program: Program | None) -> None:
    if program is None:
        return
    facts = program.facts
    assert facts.gates + facts.measurements + facts.resets <= LIMITS.max_operations
    assert facts.qubits <= LIMITS.max_qubits
    assert Program.from_bytes(program.text) == program, "it does not read back as itself"
    for dialect, format_ in READERS.items():
        if not inexpressible(program, dialect):
            again = parse_flat(emit(program, dialect), format_)
            assert again.text == program.text, f"{dialect} says something else"
    for dialect, reader in OWN.items():
        if not inexpressible(program, dialect):
            again = reader(emit(program, dialect))
            assert again.text == program.text, f"{dialect} says something else"


def seeds(directory: Path) -> None:
    """Small programs of every kind, for the fuzzer to begin with."""
    from tests.corpus.hostile import corpus
    from tests.unit.circuits.support import PYTKET_GATES, QUIL_GATES, random_program

    directory.mkdir(parents=True, exist_ok=True)
    places = {format_.value: number for number, format_ in enumerate(FORMATS)}
    for item in corpus():
        if len(item.source) < 1500:
            data = bytes([places[item.format]]) + item.source
            (directory / item.name).write_bytes(data)
    for number, dialect in enumerate(KINDS):
        for seed in range(20 if isinstance(dialect, Dialect) else 0):
            names = PYTKET_GATES if dialect is Dialect.PYTKET else QUIL_GATES
            text = emit(random_program(random.Random(seed), names, 3), Dialect(dialect))
            if len(text) < 3000:
                (directory / f"{dialect}-{seed}").write_bytes(bytes([number]) + text)
    examples = Path(__file__).parents[1] / "corpus" / "openqasm3"
    for path in examples.glob("*.qasm"):
        (directory / path.stem).write_bytes(b"\x01" + path.read_bytes()[:3000])


if __name__ == "__main__":
    if sys.argv[1] == "--seeds":
        seeds(Path(sys.argv[2]))
    else:
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
