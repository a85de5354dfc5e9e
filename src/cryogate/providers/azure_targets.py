"""Targets of Azure Quantum that circuits can be sent to, and how each vendor's are spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from cryogate.circuits import Dialect
from cryogate.circuits.gates import NATIVE_NAMES, QELIB1, words
from cryogate.ports.provider import ProviderError


@dataclass(frozen=True, slots=True)
class Notation:
    """How a vendor's targets are spoken to. ``params`` go with the shots."""

    dialect: Dialect
    input_format: str
    output_format: str
    gates: frozenset[str]
    features: frozenset[str]
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What the service does not say of a target; these are the vendors' own figures."""

    notation: Notation
    simulator: bool
    qubits: int


IONQ: Final = Notation(
    Dialect.IONQ_JSON, "ionq.circuit.v1", "ionq.quantum-results.v1",
    frozenset(words("x y z h s sdg t tdg sx sxdg rx ry rz cx swap rxx ryy rzz")),
    frozenset({"parameters"}), {"error-mitigation": {"debias": False}},
)  # fmt: skip
QUANTINUUM: Final = Notation(
    Dialect.OPENQASM2, "honeywell.openqasm.v1", "honeywell.quantum-results.v1",
    frozenset(QELIB1) - NATIVE_NAMES - {"U", "CX", "u1", "u3", "cu1"},
    frozenset({"parameters", "mid_circuit_measurement", "reset", "classical_control"}),
)  # fmt: skip
RIGETTI: Final = Notation(
    Dialect.QUIL, "rigetti.quil.v1", "rigetti.quil-results.v1",
    frozenset(words("id x y z h s sdg t tdg rx ry rz p cx cz cp swap iswap ccx cswap")),
    frozenset({"parameters"}), {"skipQuilc": False},
)  # fmt: skip
TARGETS: Final[Mapping[str, Target]] = MappingProxyType({
    "ionq.simulator": Target(IONQ, True, 29),
    "ionq.qpu.aria-1": Target(IONQ, False, 25),
    "ionq.qpu.forte-1": Target(IONQ, False, 36),
    "ionq.qpu.forte-enterprise-1": Target(IONQ, False, 36),
    "quantinuum.sim.h2-1sc": Target(QUANTINUUM, True, 56),
    "quantinuum.sim.h2-1e": Target(QUANTINUUM, True, 32),
    "quantinuum.qpu.h2-1": Target(QUANTINUUM, False, 56),
    "quantinuum.sim.h2-2sc": Target(QUANTINUUM, True, 56),
    "quantinuum.sim.h2-2e": Target(QUANTINUUM, True, 32),
    "quantinuum.qpu.h2-2": Target(QUANTINUUM, False, 56),
    "rigetti.sim.qvm": Target(RIGETTI, True, 20),
    "rigetti.qpu.ankaa-3": Target(RIGETTI, False, 84),
    "rigetti.qpu.cepheus-1-36q": Target(RIGETTI, False, 36),
    "rigetti.qpu.cepheus-1-108q": Target(RIGETTI, False, 108),
})  # fmt: skip
#: Why a vendor's other targets take no circuit of ours.
_REFUSED: Final = {
    "pasqal": "Pasqal's targets run pulses over arrays of atoms: no circuit of gates can be sent",
    "quantinuum": "of Quantinuum's targets only the H2 machines take circuits: Helios takes QIR",
}


def target_of(name: str) -> Target:
    """The target of this name.

    Raises:
        ProviderError: there is none that circuits can be sent to; says why.
    """
    found = TARGETS.get(name)
    if found is None:
        why = _REFUSED.get(name.partition(".")[0], "no such target")
        raise ProviderError(why, sent=False, retryable=False)
    return found
