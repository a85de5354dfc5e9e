"""What a research object says of results of every kind; a validator judges it elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cryogate.audit.dsse import Envelope
from cryogate.audit.provenance_check import ProvenanceFile
from cryogate.audit.receipts import JobReceipt, Receipt
from cryogate.audit.ro_crate import METADATA, crate

SAID: dict[str, Any] = {
    "job_id": "job_x",
    "circuit": {"sha256": "a" * 64, "program_sha256": "b" * 64, "request_sha256": "c" * 64},
    "shots": 100,
    "backend": {"name": "ionq:qpu.forte-1", "simulator": False, "qubits": 36,
                "calibrated_at": "2026-11-25T10:00:00.000Z"},
    "agent": {"agent_id": "bot", "owner": "ada@example.org", "chain": ["boss", "bot"]},
    "experiment_id": "exp", "policy_digest": "d" * 64, "approval_id": None,
    "cost": {"bound_cents": 1000, "actual_cents": 905, "currency": "USD"},
    "accepted_at": "2026-11-25T12:00:00.000Z", "received_at": "2026-11-25T12:00:01.000Z",
    "assurance": "reported_by_vendor", "log": {"origin": "cryogate.test/log", "steps": []},
}  # fmt: skip
RECEIPT = Receipt(7, "job.done", '{"seq":7}', "c2sp.org/tlog-proof@v1\n…")
FILE = ProvenanceFile(
    Envelope("application/vnd.in-toto+json", "", ()),
    JobReceipt("job_x", "cryogate.test/log", (RECEIPT,), 0),
)


def graph(found: ProvenanceFile = FILE, **said: Any) -> dict[str, dict[str, Any]]:
    files = crate(found, {**SAID, **said}, b"raw", "https://spdx.org/licenses/CC0-1.0.html")
    return {entity["@id"]: entity for entity in json.loads(files[METADATA])["@graph"]}


def test_a_vendors_result_says_whose_word_it_is() -> None:
    found = graph()
    action = found["#job_x"]
    assert "its machine ran it is its word" in action["description"]
    device = found[action["instrument"]["@id"]]
    assert device["name"] == "ionq:qpu.forte-1"
    assert device["description"] == "Quantum computer, reached as a service, 36 qubits"
    assert device["version"] == "calibrated 2026-11-25T10:00:00.000Z"
    assert found["#cost"]["value"] == "9.05 USD"
    assert found["#chain"]["value"] == "boss, bot"
    assert "#approval_id" not in found
    assert action["endTime"] == "2026-11-25T12:00:01.000+00:00"
    assert found["./"]["license"] == {"@id": "https://spdx.org/licenses/CC0-1.0.html"}
    assert found["log/000000000007.json"]["contentSize"] == str(len('{"seq":7}'))


@pytest.mark.parametrize(
    "backend", [{"name": "gone:device"}, {"name": "local:aer", "simulator": True}]
)
def test_a_device_of_which_little_is_known(backend: dict[str, Any]) -> None:
    found = graph(backend=backend, cost={"bound_cents": 1, "actual_cents": None, "currency": "USD"})
    device = found[found["#job_x"]["instrument"]["@id"]]
    assert device["version"] == "not stated"
    assert "#cost" not in found
    assert "None" not in json.dumps(found)


def test_names_are_text_and_never_structure() -> None:
    hostile = '"}], "@id": "http://evil.example/\n<script>'
    found = graph(agent={"agent_id": hostile, "owner": hostile, "chain": []})
    assert found["#agent"]["value"] == hostile
    assert found["#owner-of-job_x"]["name"] == hostile
