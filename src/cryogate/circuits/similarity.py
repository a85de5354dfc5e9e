"""Structural similarity of two programs; what it means is in ``docs/similarity.md``."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from cryogate.circuits.program import Program

_MAX_OPERATIONS = 20_000


Features = Counter[tuple[str, ...]]


def similarity(a: Program, b: Program) -> float:
    """How alike two programs are built, from 0.0 to 1.0; 1.0 for equal structure.

    Weighted Jaccard index of two bags of features: each operation's name, and each pair of
    neighbours on a wire. Angles and the numbering of qubits do not count. Symmetric, linear in
    the operations, and reads at most the first 20,000 of each program.
    """
    return 1.0 if a == b else alike(features(a), features(b))


def alike(left: Features, right: Features) -> float:
    """The same of two bags."""
    keys = left.keys() | right.keys()
    if not keys:
        return 1.0
    shared = sum(min(left[k], right[k]) for k in keys)
    return shared / sum(max(left[k], right[k]) for k in keys)


def features(program: Program) -> Features:
    """The bag of a program."""
    bag: Features = Counter()
    last: dict[int, tuple[str, int]] = {}
    for op in islice(program.operations(), _MAX_OPERATIONS):
        if op.name == "barrier":
            continue
        name = op.name if op.condition is None else "if " + op.name
        bag[(name,)] += 1
        for role, qubit in enumerate(op.qubits):
            before, before_role = last.get(qubit, ("", 0))
            bag[(before, str(before_role), name, str(role))] += 1
            last[qubit] = (name, role)
    return bag
