"""What there is to say about a program, as plain data for people and for JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cryogate.circuits.emission import inexpressible
from cryogate.circuits.model import Dialect, Facts
from cryogate.circuits.program import Program

#: Facts that a limit may bound.
LIMITED = (
    "qubits", "used_qubits", "clbits", "gates", "one_qubit_gates", "two_qubit_gates",
    "multi_qubit_gates", "measurements", "resets", "depth", "two_qubit_depth",
)  # fmt: skip


def inspection(
    program: Program,
    limits: Mapping[str, int] | None = None,
    gate_set: Collection[str] | None = None,
) -> dict[str, Any]:
    """Fingerprint, facts, the dialects that can express it, and every limit it breaks.

    ``limits`` maps names from `LIMITED` to the largest value allowed; an unknown name raises
    `ValueError`, for a limit nobody checks is worse than none. ``gate_set`` is what is allowed.
    """
    return {
        "fingerprint": program.fingerprint,
        "facts": facts_document(program.facts),
        "dialects": _dialects(program),
        "violations": violations(program.facts, limits or {}, gate_set),
    }


def facts_document(facts: Facts) -> dict[str, Any]:
    """Facts as plain data."""
    shown: dict[str, Any] = {name: getattr(facts, name) for name in LIMITED}
    return shown | {
        "gate_counts": dict(facts.gate_counts),
        "gate_set": list(facts.gate_set),
        "features": list(facts.features),
    }


def _dialects(program: Program) -> dict[str, str]:
    """``ok``, or why not."""
    return {dialect.value: inexpressible(program, dialect) or "ok" for dialect in Dialect}


def violations(
    facts: Facts, limits: Mapping[str, int], gate_set: Collection[str] | None
) -> list[dict[str, Any]]:
    """Every limit that facts break; an unknown name raises `ValueError`."""
    unknown = sorted(set(limits) - set(LIMITED))
    if unknown:
        raise ValueError(f"no fact is named {unknown[0]}")
    found: list[dict[str, Any]] = []
    for name, allowed in limits.items():
        actual = getattr(facts, name)
        if actual > allowed:
            found.append({"limit": name, "allowed": allowed, "actual": actual})
    if gate_set is not None:
        extra = sorted(set(facts.gate_set) - set(gate_set))
        if extra:
            found.append({"limit": "gate_set", "allowed": sorted(gate_set), "actual": extra})
    return found
