"""Questions to which no bundle may say yes, asked before a bundle is put in force.

They are what the product promises whatever an operator writes. A bundle that answers one of them
with a yes, with nothing, or too late is refused.
"""

from __future__ import annotations

import copy
from typing import Any, Final

_AGENT: Final[dict[str, Any]] = {
    "id": "sample",
    "owner": "sample@example.org",
    "tier": "standard",
    "stage": "simulator",
    "roles": ["qpu.submit-only", "qpu.read-aggregates"],
    "attributes": {"model": "sample", "model_confidence": 90, "sandboxed": True},
}
_EXPERIMENT: Final[dict[str, Any]] = {
    "id": "sample",
    "purpose": "sample",
    "classification": "poc",
    "owner": "sample@example.org",
    "cost_center": "",
    "allowed_agents": ["sample"],
    "allowed_backends": ["local:aer", "ionq:sample"],
    "release": "aggregates",
    "closes_ms": 2_000_000_000_000,
    "budget_left_cents": 1_000_000,
    "budget_left_shots": 1_000_000,
}
_GRANT: Final[dict[str, Any]] = {
    "allowed_backends": ["local:aer"],
    "allowed_gate_set": ["cx", "h"],
    "max_shots": 100,
    "max_total_shots": 1000,
    "max_jobs": 10,
    "max_cost_cents": 100,
    "results": "aggregates",
    "ttl_s": 300,
}
JOB: Final[dict[str, Any]] = {
    "action": "job:submit",
    "now_ms": 1_900_000_000_000,
    "agent": _AGENT,
    "experiment": _EXPERIMENT,
    "grant": _GRANT,
    "shots": 10,
    "circuit": {
        "sha256": "0" * 64,
        "qubits": 2,
        "depth": 2,
        "gates": 2,
        "two_qubit_gates": 1,
        "measurements": 2,
        "gate_set": ["cx", "h"],
        "features": [],
        "simulated": None,
    },
    "backend": {
        "name": "local:aer",
        "scheme": "local",
        "simulator": True,
        "qubits": 24,
        "calibration_age_s": None,
    },
    "price": {"cents": 0, "currency": "USD"},
    "history": {"token_jobs": 0, "token_shots": 0, "token_cents": 0, "recent_denials": 0},
}
ISSUE: Final[dict[str, Any]] = {
    **JOB,
    "action": "token:issue",
    **dict.fromkeys(("shots", "circuit", "backend", "price")),
}
_HARDWARE: Final = {
    "name": "ionq:sample",
    "scheme": "ionq",
    "simulator": False,
    "qubits": 36,
    "calibration_age_s": 10,
}


def _bent(question: dict[str, Any], **members: Any) -> dict[str, Any]:
    """``question`` with members set; ``agent__id`` is the ``id`` of ``agent``."""
    made = copy.deepcopy(question)
    for path, value in members.items():
        *parents, last = path.split("__")
        node = made
        for parent in parents:
            node = node[parent]
        node[last] = value
    return made


NEVER: Final[dict[str, dict[str, Any]]] = {
    "nothing at all": {},
    "an action that does not exist": _bent(JOB, action="job:delete"),
    "a tier that does not exist": _bent(JOB, agent__tier="no-such-tier"),
    "an agent without a role": _bent(JOB, agent__roles=[]),
    "an agent with a role for humans": _bent(JOB, agent__roles=["qpu.admin-experiment"]),
    "a role that does not exist": _bent(JOB, agent__roles=["no-such-role"]),
    "an agent that is not the experiment's": _bent(JOB, agent__id="stranger"),
    "a backend that is not the experiment's": _bent(JOB, backend__name="local:other"),
    "a job without an experiment": _bent(JOB, experiment=None),
    "a job without a grant": _bent(JOB, grant=None),
    "a job without a circuit": _bent(JOB, circuit=None),
    "a job without a price": _bent(JOB, price=None),
    "a job without shots": _bent(JOB, shots=None),
    "shots as text": _bent(JOB, shots="10"),
    "a job on hardware by an agent on stage simulator": _bent(JOB, backend=_HARDWARE),
    "a token for hardware by an agent on stage simulator": _bent(
        ISSUE, grant__allowed_backends=["ionq:sample"]
    ),
    "a token without a backend": _bent(ISSUE, grant__allowed_backends=[]),
    "raw results from an experiment that releases aggregates": _bent(ISSUE, grant__results="raw"),
    "a closed experiment": _bent(JOB, experiment__closes_ms=1),
}
# As large as a question gets; only the time that it takes is looked at.
LARGE: Final[dict[str, dict[str, Any]]] = {
    "a token for 500 backends and 500 gates": _bent(
        ISSUE,
        experiment__allowed_backends=[f"local:{n}" for n in range(500)],
        grant__allowed_backends=[f"local:{n}" for n in range(500)],
        grant__allowed_gate_set=[f"gate{n}" for n in range(500)],
    ),
    "a job with 500 gates": _bent(JOB, circuit__gate_set=[f"gate{n}" for n in range(500)]),
}
