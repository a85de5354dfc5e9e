"""A backend is its exact name: nothing that looks like one, or calls itself one, is it (A5)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from tests.support.governance import world
from tests.support.policy import AGENT, EXPERIMENT, GRANT, ISSUE, JOB

from cryogate.circuits.model import Dialect
from cryogate.domain.decisions import Allow, Deny
from cryogate.gateway.case import Case
from cryogate.gateway.simulated import SimulatedBefore
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.ports.policy import BackendFacts
from cryogate.ports.provider import Backend
from cryogate.providers.local import LocalProvider

replace = msgspec.structs.replace
ONLY_AER = replace(EXPERIMENT, allowed_backends=("local:aer",))
LOOKALIKES = [
    "LOCAL:aer", "local:AER", "local:aer ", " local:aer", "aer", "local:", "local", "local:aer:0",
    "local:aer/../null", "local:aer%00", "local:a*", "*", "local:*", "local:aer,ionq:forte-1",
    "loc\u0430l:aer", "local:\u0430er", "local:aer\u200b", "local:null",
]  # fmt: skip


@pytest.mark.attack("A5")
@pytest.mark.parametrize("name", LOOKALIKES, ids=ascii)
async def test_what_looks_like_a_granted_backend_is_not_it(name: str) -> None:
    engine = RegorusEngine(Bundle.load(shipped_bundle()))
    running = replace(
        JOB,
        experiment=ONLY_AER,
        backend=BackendFacts(name=name, scheme="local", simulator=True, qubits=24),
    )
    asking = replace(
        ISSUE, experiment=ONLY_AER, grant=replace(GRANT, allowed_backends=("local:aer", name))
    )
    for question in (running, asking):
        assert isinstance(await engine.decide(question), Deny)


@pytest.mark.attack("A5")
async def test_hardware_that_is_named_like_a_simulator_is_hardware() -> None:
    """The list of simulators is for tokens; for a job the device itself says what it is."""
    engine = RegorusEngine(Bundle.load(shipped_bundle()))
    posing = BackendFacts(name="local:aer", scheme="local", simulator=False, qubits=24)
    decision = await engine.decide(replace(JOB, backend=posing))
    assert isinstance(decision, Deny)
    assert {"stage", "tier.simulators_only"} <= {v.limit for v in decision.violations}
    promoted = replace(AGENT, stage="hardware", tier="trusted")
    assert isinstance(await engine.decide(replace(JOB, agent=promoted, backend=posing)), Allow)


@pytest.mark.attack("A5")
async def test_only_a_run_on_what_is_a_simulator_now_counts_as_simulated(tmp_path: Path) -> None:
    provider = LocalProvider()
    devices = {device.name: device for device in await provider.backends()}
    await provider.close()
    null = devices["local:null"]
    hardware = {name: getattr(null, name) for name in null.__dataclass_fields__}
    hardware |= {"name": "ionq:x", "simulator": False, "dialect": Dialect.OPENQASM2}
    devices["ionq:x"] = Backend(**hardware)

    def case(backend: str, circuit: str = "aa") -> Case:
        return cast("Case", SimpleNamespace(
            backend=devices[backend], devices=devices,
            program=SimpleNamespace(fingerprint=circuit),
            standing=SimpleNamespace(experiment=SimpleNamespace(experiment_id="e1")),
        ))  # fmt: skip

    async with world(tmp_path) as w:
        looked = SimulatedBefore(w.store)

        async def ran(job_id: str, backend: str, state: str = "done") -> None:
            await w.run("governance_test_finished_job", job_id=job_id, backend=backend, shots=1,
                        state=state, facts="{}", now_ms=0)  # fmt: skip

        assert await looked(case("local:null")) is None  # not looked up for simulators
        assert await looked(case("ionq:x")) is False
        await ran("j1", "ionq:x")
        await ran("j2", "local:gone")
        await ran("j3", "local:null", "failed")
        assert await looked(case("ionq:x")) is False
        await ran("j4", "local:null")
        assert await looked(case("ionq:x")) is True
        assert await looked(case("ionq:x", "bb")) is False  # this very circuit
