"""(3) Every limit of the device holds against the facts. What it does not declare, it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.circuits import Facts, Program, inexpressible
from cryogate.domain.decisions import Violation
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check
from cryogate.ports.provider import Backend


class DeviceLimitsCheck(Check):
    """The backend exists, is online, and can run this circuit this often."""

    step = "3"

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Fill in the backend. A name is looked up as it stands: there are no aliases (A5)."""
        device = case.devices.get(case.request.backend)
        if device is None:
            return (
                Violation(
                    "backend.exists",
                    tuple(sorted(set(case.devices) & set(case.caller.grant.allowed_backends))),
                    case.request.backend,
                    "list backends with GET /v1/backends",
                ),
            )
        case.backend = device
        found = []
        if device.status != "online":
            found.append(Violation("backend.online", True, False, "wait, or use another backend"))
        if case.request.shots > device.max_shots:
            found.append(
                Violation(
                    "backend.max_shots",
                    device.max_shots,
                    case.request.shots,
                    f"ask for at most {device.max_shots} shots",
                )
            )
        if case.facts is not None:
            found += circuit_limits(device, case.facts, case.program)
        return found


def circuit_limits(device: Backend, facts: Facts, program: Program | None) -> list[Violation]:
    """What a device refuses of a circuit."""
    found = _facts(device, facts)
    if device.dialect is not None and program is not None:
        why = inexpressible(program, device.dialect)
        if why:
            named = device.dialect.value
            found.append(Violation("backend.dialect", named, why, "rewrite the circuit"))
    return found


def _facts(device: Backend, facts: Facts) -> list[Violation]:
    found = []
    if facts.qubits > device.qubits:
        found.append(
            Violation("backend.qubits", device.qubits, facts.qubits, "use a smaller circuit")
        )
    extra = sorted(set(facts.gate_set) - device.gate_set)
    if extra:
        found.append(
            Violation(
                "backend.gate_set",
                tuple(sorted(device.gate_set)),
                tuple(extra),
                f"rewrite {', '.join(extra[:8])} in gates of this backend",
            )
        )
    unknown = sorted(set(facts.features) - device.features)
    if unknown:
        found.append(
            Violation(
                "backend.features",
                tuple(sorted(device.features)),
                tuple(unknown),
                f"remove {', '.join(unknown)}",
            )
        )
    if facts.measurements == 0:
        found.append(
            Violation("circuit.measurements", "at least 1", 0, "measure at least one qubit")
        )
    return found
