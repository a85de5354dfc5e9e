"""A small state-vector simulator, so that fakes answer with something true.

Up to `MOST` qubits, for the gates of vendors' native and standard sets; measured at the end.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cryogate.circuits import Program

MOST: Final = 14
Matrix = NDArray[np.complexfloating[Any, Any]]
_R: Final = 1 / math.sqrt(2)


def _m(*rows: tuple[complex, ...]) -> Matrix:
    return np.array(rows, dtype=np.complex128)


def _rotation(axis: Matrix) -> Callable[[float], Matrix]:
    one = np.eye(len(axis), dtype=np.complex128)

    def of(angle: float) -> Matrix:
        found: Matrix = math.cos(angle / 2) * one - 1j * math.sin(angle / 2) * axis
        return found

    return of


def _u(theta: float, phi: float, lam: float) -> Matrix:
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return _m(
        (c, -cmath.exp(1j * lam) * s),
        (cmath.exp(1j * phi) * s, cmath.exp(1j * (phi + lam)) * c),
    )


def _turn(turns: float) -> complex:
    return cmath.exp(2j * math.pi * turns)


def _gpi(phase: float) -> Matrix:
    return _m((0, _turn(-phase)), (_turn(phase), 0))


def _gpi2(phase: float) -> Matrix:
    return _m((_R, -1j * _R * _turn(-phase)), (-1j * _R * _turn(phase), _R))


def _ms(first: float, second: float, angle: float) -> Matrix:
    # both halves turn about the axes that the phases name
    axis: Matrix = np.kron(_gpi(second), _gpi(first))
    return _rotation(axis)(2 * math.pi * angle)


def _controlled(matrix: Matrix) -> Matrix:
    size = len(matrix)
    found = np.eye(2 * size, dtype=np.complex128)
    # the first operand is the lowest bit, and the control
    index = [2 * i + 1 for i in range(size)]
    found[np.ix_(index, index)] = matrix
    return found


_X, _Y, _Z = _m((0, 1), (1, 0)), _m((0, -1j), (1j, 0)), _m((1, 0), (0, -1))
_H = _m((_R, _R), (_R, -_R))
_SX = 0.5 * _m((1 + 1j, 1 - 1j), (1 - 1j, 1 + 1j))
_SWAP = _m((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1))


def _phase(angle: float) -> Matrix:
    return _m((1, 0), (0, cmath.exp(1j * angle)))


_FIXED: Final[Mapping[str, Matrix]] = {
    "id": np.eye(2, dtype=np.complex128), "x": _X, "y": _Y, "z": _Z, "h": _H, "sx": _SX,
    "s": _phase(math.pi / 2), "sdg": _phase(-math.pi / 2), "t": _phase(math.pi / 4),
    "tdg": _phase(-math.pi / 4), "sxdg": _SX.conj().T, "cx": _controlled(_X),
    "cy": _controlled(_Y), "cz": _controlled(_Z), "ch": _controlled(_H), "swap": _SWAP,
    "ccx": _controlled(_controlled(_X)), "ccz": _controlled(_controlled(_Z)),
    "cswap": _controlled(_SWAP), "csx": _controlled(_SX),
}  # fmt: skip
_ANGLED: Final[Mapping[str, Callable[..., Matrix]]] = {
    "rx": _rotation(_X), "ry": _rotation(_Y), "rz": _rotation(_Z), "p": _phase, "u": _u,
    "rxx": _rotation(np.kron(_X, _X)), "ryy": _rotation(np.kron(_Y, _Y)),
    "rzz": _rotation(np.kron(_Z, _Z)), "crx": lambda a: _controlled(_rotation(_X)(a)),
    "cry": lambda a: _controlled(_rotation(_Y)(a)), "crz": lambda a: _controlled(_rotation(_Z)(a)),
    "cp": lambda a: _controlled(_phase(a)), "gpi": _gpi, "gpi2": _gpi2, "ms": _ms,
    "zz": lambda turns: _rotation(np.kron(_Z, _Z))(2 * math.pi * turns),
    "r": lambda a, b: _u(a, b - math.pi / 2, math.pi / 2 - b),
}  # fmt: skip


def probabilities(program: Program) -> dict[int, float]:
    """The chance of each state of the qubits (qubit 0 is bit 0), without those that are none.

    A program that is too wide or has other gates reads all zeros: a fake must answer something.
    """
    used = sorted({qubit for op in program.operations() for qubit in op.qubits})
    width, place = len(used), {qubit: number for number, qubit in enumerate(used)}
    if width > MOST:
        return {0: 1.0}
    state: Matrix = np.zeros((2,) * width, dtype=np.complex128)
    state[(0,) * width] = 1
    for op in program.operations():
        if op.name in ("measure", "barrier"):
            continue
        matrix = _FIXED.get(op.name)
        if matrix is None and op.name in _ANGLED:
            matrix = _ANGLED[op.name](*op.params)
        if matrix is None or op.condition is not None:
            return {0: 1.0}
        state = _apply(state, matrix, tuple(place[qubit] for qubit in op.qubits))
    chances = np.abs(state.transpose(tuple(reversed(range(width)))).reshape(-1)) ** 2
    found = {}
    for number in map(int, np.nonzero(chances > 1e-12)[0]):
        whole = sum(1 << qubit for bit, qubit in enumerate(used) if number >> bit & 1)
        found[whole] = float(chances[number])
    return found


def _apply(state: Matrix, matrix: Matrix, qubits: tuple[int, ...]) -> Matrix:
    count = len(qubits)
    gate = matrix.reshape((2,) * (2 * count))
    # the gate's highest bit stands first in its index, and belongs to the last operand
    axes = tuple(reversed(qubits))
    moved = np.tensordot(gate, state, axes=(tuple(range(count, 2 * count)), axes))
    return np.moveaxis(moved, tuple(range(count)), axes)


def sampled(program: Program, shots: int, seed: int) -> dict[str, int]:
    """Counts over the classical bits, bit 0 rightmost."""
    chances = probabilities(program)
    states = list(chances)
    weights = np.array([chances[s] for s in states])
    drawn = np.random.default_rng(seed).multinomial(shots, weights / weights.sum())
    bits: list[int | None] = [None] * program.clbits
    for op in program.operations():
        if op.name == "measure":
            bits[op.clbits[0]] = op.qubits[0]
    counts: dict[str, int] = {}
    for state, count in zip(states, drawn, strict=True):
        if count:
            text = "".join("1" if q is not None and state >> q & 1 else "0" for q in reversed(bits))
            counts[text] = counts.get(text, 0) + int(count)
    return counts
