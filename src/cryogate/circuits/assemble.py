"""From parsed operations to a program: levels, order, text and facts in a few linear passes.

An operation is the tuple ``Op``; equal statements share one object, so a million gates cost a
million pointers and not a million objects. Wires are qubits ``0, 1, ...`` and classical bits
``-1, -2, ...`` (bit ``b`` is ``~b``), so one list indexed from both ends holds the state of all.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from types import MappingProxyType

import numpy as np

from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.model import Facts
from cryogate.circuits.program import HEADER, Program

#: (canonical line, lowest wire, second wire or None, all wires if over two, kind)
#: Wires are distinct and sorted, qubits before bits. The kind is the name, "?name" if conditional.
Op = tuple[str, int, int | None, tuple[int, ...] | None, str]

CONDITIONAL = "?"
_SMALL = 256
_SLICE = 1 << 16


def make_op(line: str, wires: Sequence[int], kind: str) -> Op:
    """An `Op` from its distinct wires in any order."""
    # Complements of bits are negative, so one sort puts them first; they belong last.
    ordered = sorted(wires)
    if ordered[0] < 0:
        bits = bisect_left(ordered, 0)
        ordered = ordered[bits:] + ordered[bits - 1 :: -1]
    second = ordered[1] if len(ordered) > 1 else None
    return (line, ordered[0], second, tuple(ordered) if len(ordered) > 2 else None, kind)


def assemble(ops: list[Op], qubits: int, registers: tuple[int, ...]) -> Program:
    """The program of ``ops``; a trusted step, every operation was checked when it was made."""
    clbits = sum(registers)
    keys, levels = _levels(ops, qubits, clbits)
    declarations = "".join([f"creg c{i}[{n}];\n" for i, n in enumerate(registers)])
    header = f"{HEADER}qreg q[{qubits}];\n{declarations}"
    facts = _facts(ops, qubits, clbits, levels)
    return Program(_text(header, keys, ops), facts, registers)


def _levels(ops: list[Op], qubits: int, clbits: int) -> tuple[array[int], list[int]]:
    """Sort keys ``level * qubits + lowest wire``: unique, for wires within a level are distinct."""
    level = [0] * (qubits + clbits)
    keys = array("q")
    add = keys.append
    for _, a, b, more, _ in ops:
        top = level[a]
        add_level = top + 1
        if b is None:
            level[a] = add_level
        elif more is None:
            other = level[b]
            if other > top:
                top = other
                add_level = top + 1
            level[a] = level[b] = add_level
        else:
            top = max([level[wire] for wire in more])
            for wire in more:
                level[wire] = top + 1
        add(top * qubits + a)
    return keys, level


def _text(header: str, keys: array[int], ops: list[Op]) -> bytes:
    line = itemgetter(0)
    if len(ops) <= _SMALL:
        lines = [text for _, text in sorted(zip(keys, map(line, ops), strict=True))]
        return (header + "".join(lines)).encode("ascii")
    order = np.argsort(np.frombuffer(keys, dtype=np.int64), kind="stable")
    parts = [header.encode("ascii")]
    for start in range(0, len(order), _SLICE):
        chosen = map(ops.__getitem__, order[start : start + _SLICE].tolist())
        parts.append("".join(map(line, chosen)).encode("ascii"))
    return b"".join(parts)


def _facts(ops: list[Op], qubits: int, clbits: int, levels: list[int]) -> Facts:
    kinds: Counter[str] = Counter(map(itemgetter(4), ops))
    measurements = kinds["measure"]
    if kinds["barrier"]:
        depth = _depth(ops, len(levels), {k: int(k != "barrier") for k in kinds})
        used = _used(ops)
    else:
        depth = max(levels, default=0)
        used = sum(1 for level in levels[:qubits] if level)
    return facts_from(
        kinds,
        qubits=qubits,
        used=used,
        clbits=clbits,
        depth=depth,
        two_qubit_depth=_entangling_depth(ops, len(levels), kinds),
        early="?measure" in kinds or (measurements > 0 and _measured_early(ops, measurements)),
    )


def facts_from(
    kinds: Mapping[str, int],
    *,
    qubits: int,
    used: int,
    clbits: int,
    depth: int,
    two_qubit_depth: int,
    early: bool,
) -> Facts:
    """The facts of so many operations of each kind; ``early``: a measurement is not the end."""
    counts: Counter[str] = Counter()
    features = set()
    for kind, number in kinds.items():
        if not number:
            continue
        counts[kind.lstrip(CONDITIONAL)] += number
        if kind[0] == CONDITIONAL:
            features.add("classical_control")
    counts.pop("barrier", 0)
    measurements = counts.pop("measure", 0)
    resets = counts.pop("reset", 0)
    if resets:
        features.add("reset")
    if early:
        features.add("mid_circuit_measurement")
    by_size = [0, 0, 0]
    for name, number in counts.items():
        gate = CANONICAL[name]
        by_size[min(gate.qubits, 3) - 1] += number
        if gate.params:
            features.add("parameters")
    names = sorted(counts)
    return Facts(
        qubits=qubits,
        used_qubits=used,
        clbits=clbits,
        gate_counts=MappingProxyType({name: counts[name] for name in names}),
        gate_set=tuple(names),
        gates=sum(by_size),
        one_qubit_gates=by_size[0],
        two_qubit_gates=by_size[1],
        multi_qubit_gates=by_size[2],
        measurements=measurements,
        resets=resets,
        depth=depth,
        two_qubit_depth=two_qubit_depth,
        features=tuple(sorted(features)),
    )


def _entangling_depth(ops: list[Op], wires: int, kinds: Counter[str]) -> int:
    weight = {}
    for kind in kinds:
        gate = CANONICAL.get(kind.lstrip(CONDITIONAL))
        weight[kind] = int(gate is not None and gate.qubits > 1)
    if not any(weight.values()):
        return 0
    # Operations on one wire neither add to this depth nor join two chains.
    return _depth(compress(ops, map(_on_many, ops)), wires, weight)


def _on_many(op: Op) -> bool:
    return op[2] is not None


def _depth(ops: Iterable[Op], wires: int, weight: dict[str, int]) -> int:
    """The heaviest chain of operations, where each adds the weight of its kind."""
    level = [0] * wires
    for _, a, b, more, kind in ops:
        if b is None:
            level[a] += weight[kind]
        elif more is None:
            top = level[a]
            other = level[b]
            if other > top:
                top = other
            level[a] = level[b] = top + weight[kind]
        else:
            top = max([level[wire] for wire in more]) + weight[kind]
            for wire in more:
                level[wire] = top
    return max(level, default=0)


def _wires(op: Op) -> tuple[int, ...]:
    _, a, b, more, _ = op
    return more if more is not None else (a,) if b is None else (a, b)


def _used(ops: list[Op]) -> int:
    used: set[int] = set()
    for op in set(ops):
        if op[4] != "barrier":
            used.update(wire for wire in _wires(op) if wire >= 0)
    return len(used)


def _measured_early(ops: list[Op], measurements: int) -> bool:
    """Whether a measured qubit is acted on later, or a measured bit is read by a condition.

    Read backwards: the walk ends at the first measurement, which is soon in most circuits.
    """
    later: set[int] = set()
    for op in reversed(ops):
        kind = op[4]
        if kind == "barrier":
            continue
        if kind != "measure":
            later.update(_wires(op))
            continue
        if op[1] in later or op[2] in later:
            return True
        later.add(op[1])
        measurements -= 1
        if not measurements:
            return False
    return False
