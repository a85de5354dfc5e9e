"""Refusals on their way out of a guarded worker: written there, read here as hostile input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.model import Facts

#: Counts stop here: beyond it nobody needs to know how many there are.
LARGEST = 1 << 256
_FEATURES = frozenset({"classical_control", "mid_circuit_measurement", "parameters", "reset"})
_NUMBERS = (
    "qubits", "used_qubits", "clbits", "gates", "one_qubit_gates", "two_qubit_gates",
    "multi_qubit_gates", "measurements", "resets", "depth", "two_qubit_depth",
)  # fmt: skip


def write_refusal(error: CircuitError) -> bytes:
    """An error as JSON."""
    fields: dict[str, Any] = {
        "code": error.code, "detail": error.detail, "hint": error.hint, "line": error.line
    }  # fmt: skip
    facts = error.facts
    if facts is not None:
        numbers = {name: min(getattr(facts, name), LARGEST) for name in _NUMBERS}
        counts = {name: min(count, LARGEST) for name, count in facts.gate_counts.items()}
        fields["facts"] = numbers | {"gate_counts": counts, "features": list(facts.features)}
    return json.dumps(fields).encode("ascii")


def read_refusal(body: bytes) -> CircuitError:
    """An error from a worker, with every field bounded and cleaned again."""
    try:
        fields = json.loads(body)
        code, detail, hint = (str(fields[k]) for k in ("code", "detail", "hint"))
        line = fields["line"] if type(fields["line"]) is int else None
        facts = _facts(fields["facts"]) if "facts" in fields else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return CircuitError("unsupported", "the guarded parser gave no answer")
    if not (code.replace("_", "").isalpha() and len(code) <= 40):
        code = "unsupported"
    error = CircuitError(code, _clean(detail), line=line, hint=_clean(hint))
    error.facts = facts
    return error


def _facts(found: Mapping[str, Any]) -> Facts:
    numbers = {name: _count(found[name]) for name in _NUMBERS}
    counts = {name: _count(found["gate_counts"][name]) for name in sorted(found["gate_counts"])}
    features = tuple(sorted(found["features"]))
    if sum(counts.values()) < numbers["gates"] or not counts.keys() <= CANONICAL.keys():
        raise ValueError
    if not _FEATURES.issuperset(features):
        raise ValueError
    return Facts(
        **numbers,
        gate_counts=MappingProxyType(counts),
        gate_set=tuple(counts),
        features=features,
    )


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError
    return value


def _clean(text: str) -> str:
    return "".join(ch if " " <= ch <= "~" else "?" for ch in text[:200])
