"""Gate names: which are known, what they take, and their one canonical spelling.

The tables are ``qelib1.inc`` (OpenQASM 2, arXiv:1707.03429, with Qiskit's additions),
``stdgates.inc`` (OpenQASM 3), Braket's built-in names, and trapped-ion native gates. A canonical
name may never change its meaning: fingerprints and approvals are made of these names.
"""

from __future__ import annotations

from typing import NamedTuple


class Gate(NamedTuple):
    """A canonical gate: its name, number of angles, number of qubits."""

    name: str
    params: int
    qubits: int


def words(text: str) -> tuple[str, ...]:
    """The words of a table row."""
    return tuple(text.split())


def _table(*rows: tuple[str, int, int]) -> dict[str, Gate]:
    return {n: Gate(n, p, q) for names, p, q in rows for n in names.split()}


_SHARED = _table(
    ("id x y z h s sdg t tdg sx", 0, 1),
    ("rx ry rz p", 1, 1),
    ("u2", 2, 1),
    ("u", 3, 1),
    ("cx cy cz ch swap", 0, 2),
    ("crx cry crz cp", 1, 2),
    ("cu", 4, 2),
    ("ccx cswap", 0, 3),
)
_QELIB_ONLY = _table(
    ("sxdg", 0, 1),
    ("csx", 0, 2),
    ("rxx rzz", 1, 2),
    ("cu3", 3, 2),
    ("rccx", 0, 3),
    ("rc3x c3x c3sqrtx", 0, 4),
    ("c4x", 0, 5),
)
#: Gates with a canonical name but in neither standard library; emitted with a definition.
_EXTRA = _table(
    ("iswap ecr dcx cs csdg", 0, 2),
    ("ryy rzx", 1, 2),
    ("r", 2, 1),
    ("ccz", 0, 3),
)
#: Native trapped-ion gates; angles are in turns. They have no OpenQASM library.
_NATIVE = _table(("gpi gpi2", 1, 1), ("zz", 1, 2), ("ms", 3, 2))

CANONICAL: dict[str, Gate] = {**_SHARED, **_QELIB_ONLY, **_EXTRA, **_NATIVE}
NATIVE_NAMES = frozenset(_NATIVE)


def _with(base: dict[str, Gate], aliases: dict[str, str]) -> dict[str, Gate]:
    return {**base, **{alias: CANONICAL[name] for alias, name in aliases.items()}}


#: OpenQASM 2 with ``include "qelib1.inc"``; without it only ``U`` and ``CX`` exist.
OPENQASM2_BUILTIN = _with({}, {"U": "u", "CX": "cx"})
QELIB1 = _with(
    {**_SHARED, **_QELIB_ONLY},
    {"u1": "p", "u3": "u", "cu1": "cp", **{k: v.name for k, v in OPENQASM2_BUILTIN.items()}},
)
OPENQASM2 = {**QELIB1, **_EXTRA}
STDGATES = _with(
    _SHARED,
    {"U": "u", "CX": "cx", "u1": "p", "u3": "u", "phase": "p", "cphase": "cp"},
)
BRAKET_ALIASES = {
    "cnot": "cx", "ccnot": "ccx", "i": "id", "si": "sdg", "ti": "tdg", "v": "sx", "vi": "sxdg",
    "phaseshift": "p", "cphaseshift": "cp", "cv": "csx", "xx": "rxx", "yy": "ryy", "zz": "rzz",
    "prx": "r",
}  # fmt: skip
#: OpenQASM 3, where Braket's built-in names are also understood.
OPENQASM3 = _with({**STDGATES, **_QELIB_ONLY, **_EXTRA}, BRAKET_ALIASES)

#: Names no program may define: they mean something, with or without the include (C3).
PROTECTED = frozenset(QELIB1) | frozenset(STDGATES)
#: Names no register may have, by language version: there, they are gates.
GATE_NAMES = {2: frozenset(QELIB1), 3: PROTECTED}
