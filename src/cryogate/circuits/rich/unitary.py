"""What ``inv``, ``pow`` and ``ctrl`` do to a primitive gate, exactly, the global phase included.

A control makes a global phase visible, so a gate whose phase parsers disagree on (``U``, ``u2``,
``u3``) is never controlled here: it is refused.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import words


class Leaf(NamedTuple):
    """A primitive gate, a ``barrier``, or a ``gphase`` (no qubits), ready to be emitted."""

    name: str
    params: tuple[float, ...]
    qubits: tuple[int, ...]


_SELF_INVERSE = frozenset(
    words("id x y z h cx cy cz ch swap ccx cswap ccz ecr c3x c4x barrier gpi")
)
_PAIRS = {"s": "sdg", "t": "tdg", "sx": "sxdg", "cs": "csdg"}
_PAIRS |= {b: a for a, b in _PAIRS.items()}
_NEGATED = frozenset(words("rx ry rz p crx cry crz cp rxx ryy rzz rzx gphase"))
_CONTROLLED = {
    ("x", 1): "cx", ("x", 2): "ccx", ("x", 3): "c3x", ("x", 4): "c4x",
    ("cx", 1): "ccx", ("cx", 2): "c3x", ("cx", 3): "c4x", ("ccx", 1): "c3x", ("ccx", 2): "c4x",
    ("c3x", 1): "c4x", ("y", 1): "cy", ("z", 1): "cz", ("z", 2): "ccz", ("cz", 1): "ccz",
    ("h", 1): "ch", ("swap", 1): "cswap", ("s", 1): "cs", ("sdg", 1): "csdg", ("sx", 1): "csx",
    ("sx", 3): "c3sqrtx", ("csx", 2): "c3sqrtx", ("p", 1): "cp", ("rx", 1): "crx",
    ("ry", 1): "cry", ("rz", 1): "crz",
}  # fmt: skip
_EIGHTHS = {"t": math.pi / 4, "tdg": -math.pi / 4}


def inverse(leaf: Leaf) -> Leaf:
    """The inverse gate. Raises `CircuitError` (``unsupported``)."""
    name, params, qubits = leaf
    if name in _SELF_INVERSE:
        return leaf
    if name in _PAIRS:
        return Leaf(_PAIRS[name], params, qubits)
    if name in _NEGATED:
        return Leaf(name, (-params[0],), qubits)
    if name == "u2":
        return Leaf("u", (-math.pi / 2, -params[1], -params[0]), qubits)
    if name in ("u", "cu3"):
        return Leaf(name, (-params[0], -params[2], -params[1]), qubits)
    if name == "cu":
        return Leaf(name, (-params[0], -params[2], -params[1], -params[3]), qubits)
    if name == "r":
        return Leaf(name, (-params[0], params[1]), qubits)
    if name == "dcx":
        return Leaf(name, params, (qubits[1], qubits[0]))
    raise CircuitError("unsupported", f"the inverse of gate {name} has no name")


def controlled(leaf: Leaf, controls: tuple[int, ...]) -> list[Leaf]:
    """The gate under all of ``controls``. Raises `CircuitError` (``unsupported``)."""
    name, params, qubits = leaf
    if name == "gphase":
        if len(controls) > 2:
            raise CircuitError("unsupported", "a phase under more than two controls")
        return [Leaf("p" if len(controls) == 1 else "cp", params, controls)]
    if name == "id":
        return [leaf]
    if name in _EIGHTHS and len(controls) == 1:
        return [Leaf("cp", (_EIGHTHS[name],), controls + qubits)]
    target = _CONTROLLED.get((name, len(controls)))
    if target is None:
        raise CircuitError(
            "unsupported",
            f"gate {name} under {len(controls)} controls has no name",
            hint="write it with gates of the standard library",
        )
    return [Leaf(target, params, controls + qubits)]
