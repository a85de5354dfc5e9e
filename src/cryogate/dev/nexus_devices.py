"""The devices of the fake Nexus."""

from __future__ import annotations

from typing import Any, Final

#: Name, and whether Nexus runs it itself.
LISTED: Final = {
    "H2-1": False, "H2-2": False, "H2-1E": False, "H2-1SC": False, "H2-Emulator": True,
    "H2-1LE": True,
}  # fmt: skip
_TYPES: Final = ["Rz", "PhasedX", "ZZPhase", "ZZMax", "TK2", "Reset", "Measure", "Barrier"]


def gates() -> frozenset[str]:
    """The machine's gates, by our names."""
    return frozenset({"rz", "r", "rzz"})


def info(name: str) -> dict[str, Any]:
    """What Nexus says of a device."""
    kind = "hardware"
    if name.endswith(("E", "Emulator")):
        kind = "emulator"
    elif name.endswith("SC"):
        kind = "syntax checker"
    return {
        "name": "QuantinuumBackend",
        "device_name": name,
        "version": "0.1",
        "device": {"nodes": [], "edges": [], "n_nodes": 32 if "E" in name else 56,
                   "fully_connected": True},
        "gate_set": _TYPES,
        "n_cl_reg": 4000,
        "supports_fast_feedforward": True,
        "supports_reset": True,
        "supports_midcircuit_measurement": True,
        "misc": {"n_shots": 10_000, "system_type": kind, "batching": kind == "hardware"},
    }  # fmt: skip
