"""What real receivers have in the end, in every format, by others' schemas and our own page."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.http_receivers import ALL
from tests.support.live import ROOT
from tests.support.receivers import Receiver
from tests.support.siem import ocsf_errors, read_cef
from tests.support.sinks import fetcher, setup

from cryogate.domain.events import Event, Outcome
from cryogate.ports.audit import encode_event, leaf_bytes
from cryogate.ports.sinks import Entry
from cryogate.sinks.registry import make

RECEIVED_BY = ["relp", "syslog", "syslog.syslog-ng", "s3.moto", "otlp.collector"]
ACTIONS = ["job.accepted", "token.issued", "lease.issued", "approval.requested", "alert.raised"]

#: field of the entry → where it is: OCSF's path and class, CEF's key, ECS' path
MAP: dict[str, tuple[str, int, str, str]] = {
    "timestamp": ("time", 0, "rt", "@timestamp"),
    "seq": ("metadata.sequence", 0, "externalId", "event.sequence"),
    "action": ("metadata.event_code", 0, "act", "event.action"),
    "decision_reasons": ("status_detail", 0, "reason", "event.reason"),
    "agent_id": ("actor.user.uid", 6003, "suser", "user.id"),
    "human_owner": ("unmapped.human_owner", 0, "duser", "cryogate.human_owner"),
    "token_id": ("session.uid", 3002, "suid", "cryogate.token_id"),
    "job_id": ("resources.0.uid", 6003, "cs2", "cryogate.job_id"),
    "session_id": ("unmapped.session_id", 0, "cs3", "cryogate.session_id"),
    "experiment_id": ("unmapped.experiment_id", 0, "cs1", "cryogate.experiment_id"),
    "approval_id": ("entity.uid", 3004, "cs4", "cryogate.approval_id"),
    "policy_digest": ("unmapped.policy_digest", 0, "cs5", "cryogate.policy_digest"),
    "qpu": ("privileges.0", 3003, "dvchost", "cryogate.qpu"),
    "circuit_sha256": ("unmapped.circuit_sha256", 0, "fileHash", "cryogate.circuit_sha256"),
    "shots": ("unmapped.shots", 0, "cn1", "cryogate.shots"),
    "cost_estimate_cents": ("unmapped.cost_estimate_cents", 0, "cn2", "cryogate"),
    "cost_actual_cents": ("unmapped.cost_actual_cents", 0, "cn3", "cryogate"),
}


def entries() -> list[Entry]:
    """An event of each class, every field filled, in every outcome."""
    made: list[Entry] = []
    for action in ACTIONS:
        for outcome in Outcome:
            seq = len(made)
            event = Event(
                1_800_000_000_123 + seq, action, outcome, "agent-7", "ada@example.com", "exp-42",
                "calibrate", "a" * 64, ("h", "cx"), "local:aer", 100, "tok-1", 300, "ses-1",
                "job-1", 12, 11, "USD", 5, "b" * 64, ("limit:shots", "a|b=c"), "app-1",
                ("operator:ada", "agent-7"),
            )  # fmt: skip
            data = leaf_bytes(encode_event(event), seq)
            made.append(Entry("log.example/one", seq, data, json.loads(data)))
    return made


async def received(name: str, form: str, place: Path) -> list[str]:
    receiver: Receiver = ALL[name](place)
    await receiver.start()
    sent = entries()
    try:
        async with fetcher() as send:
            sink = make(setup(receiver.url, send, form, **receiver.more))
            await sink.deliver(sent)
            for _ in range(400):
                if len(receiver.records()) >= len(sent):
                    break
                await asyncio.sleep(0.05)
            await sink.close()
        return receiver.records()
    finally:
        await receiver.close()


def at(found: Any, path: str) -> Any:
    for step in path.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


def plain(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("name", RECEIVED_BY)
async def test_ocsf_arrives_valid_and_where_the_page_says(name: str, tmp_path: Path) -> None:
    arrived = [json.loads(record) for record in await received(name, "ocsf", tmp_path)]
    assert [found["metadata"]["sequence"] for found in arrived] == list(range(len(entries())))
    for entry, found in zip(entries(), arrived, strict=True):
        assert not ocsf_errors(found)
        for field, (path, only, _, _) in MAP.items():
            if field != "timestamp" and only in (0, found["class_uid"]):
                assert plain(at(found, path)) == plain(entry.fields[field]), (field, path)
        assert found["time"] == 1_800_000_000_123 + entry.seq
    assert {found["class_uid"] for found in arrived} == {6003, 3002, 3003, 3004, 2004}


@pytest.mark.parametrize("name", RECEIVED_BY)
async def test_cef_arrives_whole_and_where_the_page_says(name: str, tmp_path: Path) -> None:
    arrived = [read_cef(record) for record in await received(name, "cef", tmp_path)]
    for entry, (head, pairs) in zip(entries(), arrived, strict=True):
        assert head[:3] == ["CEF:0", "Cryogate", "Cryogate"]
        for field, (_, _, key, _) in MAP.items():
            wanted = plain(entry.fields[field]).replace("=", "\\=")
            assert pairs[key] == (wanted if key != "rt" else str(1_800_000_000_123 + entry.seq))


@pytest.mark.parametrize("name", RECEIVED_BY)
async def test_ecs_arrives_whole_and_where_the_page_says(name: str, tmp_path: Path) -> None:
    arrived = [json.loads(record) for record in await received(name, "ecs", tmp_path)]
    for entry, found in zip(entries(), arrived, strict=True):
        assert found["cryogate"] == entry.fields
        for field, (_, _, _, path) in MAP.items():
            if path != "cryogate":
                assert plain(at(found, path)) == plain(entry.fields[field])
        assert found["event"]["outcome"] in ("success", "failure", "unknown")


def test_the_page_tells_where_every_field_is() -> None:
    page = (ROOT / "docs/sinks.md").read_text()
    table: dict[str, list[str]] = {}
    for line in page.splitlines():
        row = line.strip("|").split(" | ")
        if line.startswith("| ") and len(row) == 4:
            for name in re.findall(r"`(\w+)`", row[0]):
                table.setdefault(name, row)
    for field, (path, _, key, ecs) in MAP.items():
        row = table[field]
        named = re.sub(r"\.0(?=\.|$)", "[]", path).removesuffix("[]").removesuffix(".uid")
        assert f"`{named.partition('unmapped.')[0] or 'unmapped'}" in row[1], (field, row[1])
        assert f"`{key}`" in row[2], (field, row[2])
        assert f"`{ecs.partition('.')[0]}" in row[3], (field, row[3])
