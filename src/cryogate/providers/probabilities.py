"""Counts from probabilities, for vendors that tell nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cryogate.ports.provider import VendorLied

_TOLERANCE = 1e-3


def counts_of(states: Mapping[str, float], shots: int, qubits: int) -> dict[int, int]:
    """How often each state came up, summing to ``shots``: largest remainders, then lowest states.

    Raises:
        VendorLied: not a distribution over ``qubits`` qubits.
    """
    if not 0 < shots < 1 << 31 or len(states) > 1 << 20:
        raise VendorLied("its result has no possible number of shots or states")
    exact: list[tuple[int, float]] = []
    for name, chance in states.items():
        if not (name.isascii() and name.isdigit() and len(name) < 320):
            raise VendorLied("its result has a state that is no number")
        state = int(name)
        if state >> qubits:
            raise VendorLied("its result has more qubits than the program")
        if not (math.isfinite(chance) and -_TOLERANCE <= chance <= 1 + _TOLERANCE):
            raise VendorLied("its result has a chance that is none")
        exact.append((state, max(chance, 0.0) * shots))
    total = sum(amount for _, amount in exact)
    if abs(total - shots) > _TOLERANCE * shots:
        raise VendorLied("the chances in its result do not add up to one")
    counts = {state: int(amount) for state, amount in exact}
    left = shots - sum(counts.values())
    by_rest = sorted(exact, key=lambda entry: (int(entry[1]) - entry[1], entry[0]))
    for place in range(left):
        counts[by_rest[place % len(by_rest)][0]] += 1
    for state, _ in reversed(by_rest):
        while sum(counts.values()) > shots and counts[state]:
            counts[state] -= 1
    return {state: count for state, count in sorted(counts.items()) if count}
