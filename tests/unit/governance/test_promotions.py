"""An agent reaches hardware by evidence and another human's yes, and in no other way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.governance import World, world

from cryogate.domain.approvals import ApprovalKind
from cryogate.domain.errors import Conflict, Forbidden, NotFound
from cryogate.governance.pricing import default_price_book
from cryogate.governance.promotions import Promotions
from cryogate.providers.local import LocalProvider

FACTS = {
    "qubits": 2, "used_qubits": 2, "clbits": 2, "gates": 2, "gate_counts": {"cx": 1, "h": 1},
    "one_qubit_gates": 1, "two_qubit_gates": 1, "multi_qubit_gates": 0, "measurements": 2,
    "resets": 0, "depth": 3, "two_qubit_depth": 1, "features": [],
}  # fmt: skip


async def _promotions(w: World) -> Promotions:
    provider = LocalProvider()
    devices = {device.name: device for device in await provider.backends()}
    await provider.close()
    return Promotions(w.store, w.clock, w.approvals, default_price_book(), lambda: devices)


async def _ran(w: World, job_id: str, **changes: Any) -> None:
    await w.run(
        "governance_test_finished_job",
        job_id=job_id, backend=changes.pop("backend", "local:null"), shots=100, state="done",
        facts=json.dumps(FACTS), now_ms=w.clock.now_ms(),
    )  # fmt: skip


async def test_promotion_needs_evidence_and_another_human(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        await w.run("governance_test_backends", backends='["local:null","braket:forte-1","x:y"]')
        promotions = await _promotions(w)
        with pytest.raises(Conflict, match="no job on a simulator"):
            await promotions.request("a1", "operator:o1", "it is good")
        await _ran(w, "j1")
        await _ran(w, "j2")
        evidence = await promotions.evidence("a1")
        assert evidence["ran"] == [
            {"backend": "local:null", "simulator": True, "state": "done", "jobs": 2,
             "shots": 200, "circuits": 1}
        ]  # fmt: skip
        projected = {entry["backend"]: entry["cents"] for entry in evidence["projected"]}
        assert projected["x:y"] is None  # no price is known: never zero
        assert projected["braket:forte-1"] > 0
        approval_id = await promotions.request("a1", "operator:o1", "two clean weeks")
        with pytest.raises(Conflict, match=approval_id):
            await promotions.request("a1", "operator:o1", "once more")
        found = await w.desk.get(approval_id)
        assert found.approval.kind is ApprovalKind.PROMOTION
        assert json.loads(found.evidence)["ran"] == evidence["ran"]
        for actor in ("operator:o1", "operator:alice"):  # who asked, and the agent's owner
            with pytest.raises(Forbidden):
                await w.desk.approve(approval_id, actor)
        assert await _stage(w) == "simulator"
        await w.desk.approve(approval_id, "operator:bob", "fine")
        assert await _stage(w) == "hardware"
        with pytest.raises(Conflict, match="already"):
            await promotions.request("a1", "operator:o1", "again")
        actions = [event["action"] for event in await w.events()]
        assert actions[-2:] == ["approval.requested", "approval.approved"]


async def test_jobs_on_hardware_are_no_evidence_and_strangers_are_not_there(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        promotions = await _promotions(w)
        await _ran(w, "j1", backend="braket:forte-1")
        with pytest.raises(Conflict):
            await promotions.request("a1", "operator:o1", "it ran elsewhere")
        with pytest.raises(NotFound):
            await promotions.evidence("nobody")


async def _stage(w: World) -> str:
    return str((await w.row("governance_test_agent_row", agent_id="a1"))["stage"])
