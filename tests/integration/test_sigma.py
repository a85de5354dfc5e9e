"""The shipped Sigma rules, run by pySigma over a real store: each finds what it says, no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.audit import ORIGIN, signer

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.domain.errors import Malformed
from cryogate.domain.events import Event, Outcome
from cryogate.governance.sigma_scan import LEVELS, RULES, EventTable, scan
from cryogate.ports.store import UnitOfWork
from cryogate.storage import SqliteStore
from cryogate.testing.clock import FakeClock

NAMES = sorted(path.stem for path in RULES.glob("*.yml"))
START = 1_800_000_000_000


def of(action: str, n: int = 1, every_s: int = 10, **fields: Any) -> list[Event]:
    made = []
    for i in range(n):
        now = {k: v[i % len(v)] if isinstance(v, list) else v for k, v in fields.items()}
        at_ms = START + i * every_s * 1000
        made.append(Event(timestamp_ms=at_ms, action=action, outcome=Outcome.SUCCESS, **now))
    return made


# rule → (events it must find, events that are nearly those and must not be found)
CASES: dict[str, tuple[list[Event], list[Event]]] = {
    "surge": (
        of("alert.raised", decision_reasons=("shots_surge", "bot", "high")),
        of("alert.raised", decision_reasons=("new_backend", "bot", "low")),
    ),
    "denial_burst": (
        of("job.refused", 20, agent_id="bot"),
        of("job.refused", 20, agent_id=["bot", "other"]) + of("job.refused", 19, 60, agent_id="b2"),
    ),
    "approval_flood": (
        of("approval.requested", 15, 200, agent_id="bot"),
        of("approval.requested", 15, 300, agent_id="bot"),
    ),
    "rubber_stamp": (
        of("approval.approved", 20, actor_chain=("operator:bob",)),
        of("approval.approved", 20, actor_chain=[("operator:bob",), ("operator:eve",)]),
    ),
    "backend_spread": (
        of("job.accepted", 8, agent_id="bot", qpu=["a:1", "a:2", "a:3", "a:4"]),
        of("job.accepted", 40, agent_id="bot", qpu=["a:1", "a:2", "a:3"]),
    ),
    "kill_switch": (
        of("revocation.created", decision_reasons=("all *", "drill")),
        of("revocation.created", decision_reasons=("agent bot", "all of it")),
    ),
    "proof_failures": (
        of("alert.raised", decision_reasons=("proof_failures", "bot", "high")),
        of("alert.closed", decision_reasons=("alt_1", "proof_failures", "bot")),
    ),
    "overrun": (of("budget.overrun"), of("budget.bound_charged")),
    "dear_job": (
        of("job.parked", cost_estimate_cents=100_000),
        of("job.parked", cost_estimate_cents=99_999) + of("job.refused", cost_estimate_cents=10**6),
    ),
    "policy_changed": (of("policy.rolled_back"), of("budget.changed")),
    "key_changed": (of("signing_key.rotated"), of("signingXkey.rotated")),
    "program_mismatch": (of("job.program_mismatch"), of("job.submitted")),
    "raw_result": (
        of("result.read", decision_reasons=("released:raw",)),
        of("result.read", decision_reasons=("released:aggregates",)),
    ),
    "undeliverable": (of("message.undeliverable"), of("approval.reminded")),
}


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[tuple[SqliteStore, AuditLog]]:
    clock = FakeClock()
    store = SqliteStore(tmp_path / "log.db", clock)
    await store.open()
    made = AuditLog(store, clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
    await made.start()
    yield store, made
    await made.close()
    await store.close()


@pytest.mark.parametrize("name", NAMES)
async def test_a_rule_finds_its_case_and_no_near_one(
    name: str, log: tuple[SqliteStore, AuditLog], tmp_path: Path
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / f"{name}.yml").write_bytes((RULES / f"{name}.yml").read_bytes())
    store, audit = log
    seen = 0
    for case, finds in ((CASES[name][1], False), (CASES[name][0], True)):
        await store.commit(UnitOfWork((), tuple(case)))
        await audit.sequence_now()
        with EventTable() as table:
            entries = await audit.events(seen - 1, 1000)
            assert table.add([json.loads(entry.data) for entry in entries]) == len(case)
            assert bool(list(scan(table, tmp_path / "rules"))) is finds
        seen += len(case)


def test_levels_and_harmless_events() -> None:
    with EventTable() as table:
        table.add([{"seq": 1, "action": "job.accepted", "agent_id": "bot", "qpu": "a:1"}])
        assert list(scan(table)) == []
        table.add([{"seq": 2, "action": "budget.overrun", "timestamp": "2027-01-01T00:00:00.000Z"}])
        assert [hit.rule for hit in scan(table, least="high")] == ["overrun"]
        assert list(scan(table, least="critical")) == []


def test_every_rule_has_a_case() -> None:
    assert sorted(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_complete(name: str) -> None:
    ids = set()
    for rule in yaml.safe_load_all((RULES / f"{name}.yml").read_text()):
        assert rule["level"] in LEVELS
        assert rule["title"]
        assert rule["description"]
        assert rule["id"] not in ids
        ids.add(rule["id"])
    assert rule["falsepositives"]
    assert rule["tags"]


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM logs", "ATTACH 'x.db' AS x", "PRAGMA query_only = 0", "DROP TABLE logs",
     "SELECT load_extension('x')", "CREATE TABLE t (a)", "SELECT 1; DELETE FROM logs"],
)  # fmt: skip
def test_a_rule_does_nothing_but_read(sql: str) -> None:
    with EventTable() as table:
        table.add([{"seq": 1, "action": "x"}])
        with pytest.raises(Malformed):
            table.run(sql)
        assert len(table.run("SELECT seq FROM logs")) == 1


@pytest.mark.parametrize("text", ["", "a: [", "title: x\ndetection: {}", "\x00", "x" * 70_000])
def test_a_rule_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(text)
    with EventTable() as table, pytest.raises(Malformed):
        list(scan(table, tmp_path))
