"""Price models: what an entry of a price book may say, and the one form they all become.

A figure is text, a decimal or a fraction in whole units of the currency, exactly as the vendor
prints it ("0.08", "1/5000"). There is no float on the way from the file to the cent.

Every model becomes

    max(minimum, task + shots * (shot + gate * n + one * n1 + two * n2 + spam * s))

over one common denominator, so a quote is a handful of integer operations and grows with shots
and with every kind of gate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Annotated

import msgspec

from cryogate.circuits import Facts

Figure = Annotated[
    str, msgspec.Meta(pattern=r"\A(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12}|/[1-9][0-9]{0,11})?\Z")
]
# The scheme is spelled out, so no pattern can price vendors it was not written for.
Pattern = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9]{0,15}:[a-z0-9._*-]{1,63}\Z")]

#: How many entangling gates a gate of ours can become at most. Arbitrary two-qubit gates need
#: three (doi:10.1103/PhysRevA.69.032315); the larger ones follow their standard definitions.
ENTANGLERS: Mapping[str, int] = {
    "cx": 1, "cy": 1, "cz": 1, "ch": 1, "crx": 1, "cry": 1, "crz": 1, "cp": 1, "cu": 1, "cu3": 1,
    "csx": 1, "cs": 1, "csdg": 1, "rxx": 1, "ryy": 1, "rzz": 1, "rzx": 1, "ecr": 1, "zz": 1,
    "ms": 1, "iswap": 2, "dcx": 2, "swap": 3, "rccx": 3, "rc3x": 6, "ccx": 6, "ccz": 6,
    "cswap": 8, "c3x": 14, "c3sqrtx": 20, "c4x": 40,
}  # fmt: skip


class UncountedGate(ValueError):
    """A gate whose price is not known, so the whole program has none."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    backend: Pattern
    currency: Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    as_of: date


class Nominal(_Entry, frozen=True, tag_field="model", tag="nominal", kw_only=True):
    """Simulators of our own: a small price, so that budgets are exercised."""

    task: Figure
    shot: Figure
    gate: Figure


class PerTaskAndShot(_Entry, frozen=True, tag_field="model", tag="per_task_and_shot", kw_only=True):
    """A fee for the task and one for each shot."""

    task: Figure
    shot: Figure


class PerTaskShotAndGate(
    _Entry, frozen=True, tag_field="model", tag="per_task_shot_and_gate", kw_only=True
):
    """As `PerTaskAndShot`, and a fee for every gate of every shot, with a minimum."""

    task: Figure
    shot: Figure
    one_qubit_gate: Figure
    two_qubit_gate: Figure
    minimum: Figure
    one_qubit_per_two_qubit: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


class Hqc(_Entry, frozen=True, tag_field="model", tag="hqc", kw_only=True):
    """Quantinuum's credits; ``rate`` is the price of one in ``currency``.

    ``spam`` counts state preparations, measurements and resets.
    """

    rate: Figure
    base: Figure
    one_qubit_gate: Figure
    two_qubit_gate: Figure
    spam: Figure
    one_qubit_per_two_qubit: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


class PerSecondBound(_Entry, frozen=True, tag_field="model", tag="per_second_bound", kw_only=True):
    """Billed by time: the bound is the longest time the adapter lets the job run."""

    second: Figure
    max_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class VendorEstimate(_Entry, frozen=True, tag_field="model", tag="vendor_estimate", kw_only=True):
    """The vendor is asked for every job; its answer with headroom, if it is below the ceiling."""

    ceiling: Figure
    headroom_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


Billed = Nominal | PerTaskAndShot | PerTaskShotAndGate | Hqc | PerSecondBound
Entry = Billed | VendorEstimate


@dataclass(frozen=True, slots=True)
class Formula:
    """An entry in the one form: integer weights over ``unit`` (weights / unit = cents)."""

    unit: int
    minimum: int
    task: int
    shot: int
    gate: int
    one: int
    two: int
    spam: int
    one_per_two: int
    text: str

    def exact(self, facts: Facts, shots: int) -> Fraction:
        """The exact bound in cents, before rounding."""
        return Fraction(self._weight(facts, shots), self.unit)

    def cents(self, facts: Facts, shots: int) -> int:
        """The bound in cents, rounded up: a bound must never be too small.

        Raises:
            UncountedGate: the price depends on a gate that cannot be counted.
        """
        return -(-self._weight(facts, shots) // self.unit)

    def _weight(self, facts: Facts, shots: int) -> int:
        each = self.shot + self.gate * facts.gates
        if self.one or self.two:
            two = entanglers(facts)
            each += self.two * two
            each += self.one * (facts.one_qubit_gates + self.one_per_two * two)
        if self.spam:
            each += self.spam * (facts.qubits + facts.measurements + facts.resets)
        return max(self.minimum, self.task + shots * each)


def entanglers(facts: Facts) -> int:
    """Upper bound of entangling gates after compilation.

    Raises:
        UncountedGate: some gate on several qubits is not in `ENTANGLERS`.
    """
    total = counted = 0
    for name, count in facts.gate_counts.items():
        each = ENTANGLERS.get(name)
        if each is not None:
            total += each * count
            counted += count
    if counted < facts.two_qubit_gates + facts.multi_qubit_gates:
        raise UncountedGate("a gate on several qubits has no known price")
    return total


def formula(entry: Billed) -> Formula:
    """``entry`` in the one form."""
    code = entry.currency
    if isinstance(entry, PerTaskAndShot):
        text = f"{entry.task} + {entry.shot} x shots {code}"
        return _common(text, task=entry.task, shot=entry.shot)
    if isinstance(entry, Nominal):
        text = f"{entry.task} + shots x ({entry.shot} + {entry.gate} x gates) {code}"
        return _common(text, task=entry.task, shot=entry.shot, gate=entry.gate)
    if isinstance(entry, PerSecondBound):
        text = f"{entry.second} x {entry.max_seconds} seconds at most {code}"
        task = Fraction(entry.second) * entry.max_seconds
        return _common(text, task=str(task))
    ratio = entry.one_qubit_per_two_qubit
    ones = f"(n1 + {ratio} x n2)" if ratio else "n1"
    gates = f"{entry.one_qubit_gate} x {ones} + {entry.two_qubit_gate} x n2"
    if isinstance(entry, PerTaskShotAndGate):
        text = f"{entry.task} + shots x ({entry.shot} + {gates}) {code}"
        if Fraction(entry.minimum) > Fraction(entry.task):
            text = f"at least {entry.minimum}: {text}"
        return _common(
            text,
            minimum=entry.minimum,
            task=entry.task,
            shot=entry.shot,
            one=entry.one_qubit_gate,
            two=entry.two_qubit_gate,
            one_per_two=ratio,
        )
    text = f"{entry.rate} {code}/HQC x ({entry.base} + shots x ({gates} + {entry.spam} x spam))"
    rate = Fraction(entry.rate)
    return _common(
        text,
        task=str(rate * Fraction(entry.base)),
        one=str(rate * Fraction(entry.one_qubit_gate)),
        two=str(rate * Fraction(entry.two_qubit_gate)),
        spam=str(rate * Fraction(entry.spam)),
        one_per_two=ratio,
    )


def _common(
    text: str,
    *,
    minimum: str = "0",
    task: str = "0",
    shot: str = "0",
    gate: str = "0",
    one: str = "0",
    two: str = "0",
    spam: str = "0",
    one_per_two: int = 0,
) -> Formula:
    figures = (minimum, task, shot, gate, one, two, spam)
    cents = [Fraction(figure) * 100 for figure in figures]
    unit = math.lcm(*(figure.denominator for figure in cents))
    w = [figure.numerator * (unit // figure.denominator) for figure in cents]
    return Formula(unit, w[0], w[1], w[2], w[3], w[4], w[5], w[6], one_per_two, text)
