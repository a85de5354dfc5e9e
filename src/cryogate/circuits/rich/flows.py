"""What a block does to counts and depths, as a value that can be composed and raised to a power.

Depth is a longest path, so a block acts on the depths of its wires as a matrix does on a vector,
with "the larger of" for plus and "plus" for times. Such matrices compose as blocks do: a loop of
10^12 turns is a power, found by some 40 squarings, and a definition is one matrix wherever it is
applied. Counts are big integers. Nothing here is approximated; depths stop at `SATURATED`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryogate.circuits.errors import CircuitError

SATURATED = 1 << 60
_NEVER = -(1 << 62)
_WIDEST = 128
#: Wire a path came from -> (operations on the longest path, gates on many qubits on the longest).
Row = Mapping[int, tuple[int, int]]
_Matrix = npt.NDArray[np.int64]


class Flow(NamedTuple):
    """A block: how often it does what, and its longest paths from each wire to each.

    A wire without a row is left alone. ``acts`` are wires used by more than barriers, ``measured``
    qubits and bits of measurements, ``early`` whether one of those is used again inside.
    """

    counts: Mapping[str, int]
    rows: Mapping[int, Row]
    acts: frozenset[int]
    measured: frozenset[int]
    early: bool

    def at(self, places: Mapping[int, int]) -> Flow:
        """The same block on other wires."""
        rows = {
            places[out]: {places[source]: way for source, way in row.items()}
            for out, row in self.rows.items()
        }
        acts = frozenset([places[wire] for wire in self.acts])
        measured = frozenset([places[wire] for wire in self.measured])
        return Flow(self.counts, rows, acts, measured, self.early)

    def inverse(self, rename: Callable[[str], str]) -> Flow:
        """Every path the other way round, every operation under its inverse's name."""
        rows: dict[int, dict[int, tuple[int, int]]] = {out: {} for out in self.rows}
        for out, row in self.rows.items():
            for source, way in row.items():
                rows.setdefault(source, {})[out] = way
        counts: Counter[str] = Counter()
        for name, number in self.counts.items():
            counts[rename(name)] += number
        return Flow(counts, rows, self.acts, self.measured, self.early)

    def power(self, times: int, budget: Budget) -> Flow:
        """The block ``times`` times over. Raises `CircuitError` where that is too wide to find."""
        if times == 0:
            return NOTHING
        if times == 1:
            return self
        counts = {name: number * times for name, number in self.counts.items()}
        rows: dict[int, Row] = {}
        for wires in self._together():
            if len(wires) == 1:
                (wire,) = wires
                depth, entangling = self.rows[wire][wire]
                longest = (min(depth * times, SATURATED), min(entangling * times, SATURATED))
                rows[wire] = {wire: longest}
                continue
            if len(wires) > _WIDEST:
                raise CircuitError("too_large", f"a loop that joins over {_WIDEST} wires")
            budget.spend(times.bit_length() * (40 + len(wires) ** 3 // 500))
            rows |= _sparse(wires, _raised(self._matrix(wires), times))
        early = self.early or bool(self.measured & self.acts)
        return Flow(counts, rows, self.acts, self.measured, early)

    def _together(self) -> list[list[int]]:
        """The wires in groups that no path joins."""
        leader: dict[int, int] = {}

        def find(wire: int) -> int:
            while leader.setdefault(wire, wire) != wire:
                leader[wire] = leader[leader[wire]]
                wire = leader[wire]
            return wire

        for out, row in self.rows.items():
            for source in row:
                leader[find(source)] = find(out)
        groups: dict[int, list[int]] = {}
        for wire in sorted(leader):
            groups.setdefault(find(wire), []).append(wire)
        return list(groups.values())

    def _matrix(self, wires: list[int]) -> _Matrix:
        place = {wire: i for i, wire in enumerate(wires)}
        out = np.full((2, len(wires), len(wires)), _NEVER, dtype=np.int64)
        for wire in wires:
            row = self.rows.get(wire, {wire: (0, 0)})
            for source, way in row.items():
                out[:, place[wire], place[source]] = way
        return out


NOTHING = Flow({}, {}, frozenset(), frozenset(), False)


def _raised(base: _Matrix, times: int) -> _Matrix:
    result: _Matrix | None = None
    while True:
        if times & 1:
            result = base if result is None else _after(result, base)
        times >>= 1
        if not times:
            assert result is not None  # noqa: S101 - times was at least 1
            return result
        base = _after(base, base)


def _after(second: _Matrix, first: _Matrix) -> _Matrix:
    """Paths of both blocks in their order; entries stay far from the ends of 64 bits."""
    out = np.full_like(first, _NEVER)
    for middle in range(first.shape[1]):
        ways = second[:, :, middle, None] + first[:, None, middle, :]
        np.maximum(out, ways, out=out)
    np.minimum(out, SATURATED, out=out)
    out[out < 0] = _NEVER
    return out


def _sparse(wires: list[int], matrix: _Matrix) -> dict[int, Row]:
    depth, entangling = matrix.tolist()
    return {
        wire: {
            source: (depth[i][j], entangling[i][j])
            for j, source in enumerate(wires)
            if depth[i][j] >= 0
        }
        for i, wire in enumerate(wires)
    }


class Frame:
    """A block while it is read. With ``start`` set, all wires start from there at depth 0."""

    def __init__(self, budget: Budget, start: int | None = None) -> None:
        self._budget = budget
        self._start = start
        self.counts: Counter[str] = Counter()
        self.rows: dict[int, Row] = {}
        self.acts: set[int] = set()
        self.measured: set[int] = set()
        self.early = False

    def row(self, wire: int) -> Row:
        """The longest paths to a wire."""
        found = self.rows.get(wire)
        return {wire if self._start is None else self._start: (0, 0)} if found is None else found

    def operation(self, kind: str, name: str, wires: list[int], qubits: int, gate: bool) -> None:
        """One operation on qubits and complements of bits, the operation's own qubits first."""
        self.counts[kind] += 1
        step = (0, 0) if name == "barrier" else (1, int(gate and qubits > 1))
        joined = self._joined([self.row(wire) for wire in wires], step)
        for wire in wires:
            self.rows[wire] = joined
        if name == "barrier":
            return
        if name == "measure":
            self._act(wires[:1] + wires[2:])
            self.measured.update(wires[:2])
            self.early = self.early or kind != name
        else:
            self._act(wires)

    def play(self, flow: Flow) -> None:
        """A whole block."""
        for name, number in flow.counts.items():
            self.counts[name] += number
        new = {}
        for out, row in flow.rows.items():
            new[out] = self._composed(row)
        self.rows.update(new)
        self.early = self.early or flow.early
        self._act(flow.acts)
        self.measured |= flow.measured

    def flow(self) -> Flow:
        """What was read, as a block."""
        acts, measured = frozenset(self.acts), frozenset(self.measured)
        return Flow(dict(self.counts), dict(self.rows), acts, measured, self.early)

    def _act(self, wires: list[int] | frozenset[int]) -> None:
        self.early = self.early or not self.measured.isdisjoint(wires)
        self.acts.update(wires)

    def _joined(self, rows: list[Row], step: tuple[int, int]) -> Row:
        out: dict[int, tuple[int, int]] = {}
        for row in rows:
            self._budget.spend(len(row))
            for source, (a, b) in row.items():
                c, d = out.get(source, (0, 0))
                out[source] = (max(a, c), max(b, d))
        return {source: (a + step[0], b + step[1]) for source, (a, b) in out.items()}

    def _composed(self, row: Row) -> Row:
        out: dict[int, tuple[int, int]] = {}
        for middle, (a, b) in row.items():
            before = self.row(middle)
            self._budget.spend(len(before))
            for source, (c, d) in before.items():
                e, f = out.get(source, (0, 0))
                out[source] = (max(a + c, e), max(b + d, f))
        return out


class Budget:
    """Bounds the work of finding facts, so that a refusal is never slow."""

    def __init__(self, units: int) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """Raises `CircuitError` when there is nothing left."""
        self._left -= units
        if self._left < 0:
            raise CircuitError("too_large", "its facts take too long to find")
