"""Events on their way into a store: sealed, opened by who may, shredded; on both drivers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import Database, PostgresDatabase
from tests.support.audit import ORIGIN, PlainSealer, signer

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.audit.opening import Opener, opens
from cryogate.audit.seal_check import check_seals
from cryogate.audit.sealing import ScopeKeys, SealingStore, month_scope
from cryogate.audit.seals import is_token
from cryogate.audit.shredding import Shredder
from cryogate.audit.sources import StoreSource
from cryogate.audit.verify import verify_log
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.governance.experiments import ExperimentAdmin, ExperimentChange, NewExperiment
from cryogate.ports.store import GuardFailed, Statement, StoreUnavailable, UnitOfWork
from cryogate.testing.clock import FakeClock

ADA, PURPOSE, CIRCUIT = "ada@example.org", "a purpose of Ada's", "c1c2" * 16
BOB = "operator:bob@example.org"


def told(action: str = "job.refused", experiment: str | None = "ghz", **fields: Any) -> Event:
    known: dict[str, Any] = {
        "human_owner": ADA, "purpose": PURPOSE, "circuit_sha256": CIRCUIT, "agent_id": "bot",
        "decision_reasons": ("limit shots", f"asked by {ADA}"), "actor_chain": ("bot", BOB),
    }  # fmt: skip
    return Event(
        timestamp_ms=1_800_000_000_000, action=action, outcome=Outcome.REFUSED,
        experiment_id=experiment, **{**known, **fields},
    )  # fmt: skip


class World:
    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.heads = FileHeadStore(folder / "heads")
        self.clock = FakeClock()
        self.store = self.process()
        self.opener = Opener(self.store, self.store.keys)

    def process(self) -> SealingStore:
        """Another process on the same database."""
        return SealingStore(self.database.store(), PlainSealer(), self.clock)

    async def bodies(self) -> list[dict[str, Any]]:
        rows = await self.database.run("SELECT body FROM events ORDER BY event_id")
        return [json.loads(str(row[0])) for row in rows]

    async def tell(self, *events: Event) -> None:
        await self.store.commit(UnitOfWork((), events))

    async def experiment(self, name: str = "ghz") -> None:
        admin = ExperimentAdmin(self.store, self.clock)
        await admin.create(
            NewExperiment(
                experiment_id=name,
                purpose=PURPOSE,
                classification="poc",
                owner=ADA,
                closes_at=datetime(2099, 1, 1, tzinfo=UTC),
                allowed_agents=("bot",),
                allowed_backends=("local:null",),
                budget_cents=1,
                currency="USD",
                budget_shots=1,
            ),
            "operator:admin",
        )

    async def close(self, name: str = "ghz") -> None:
        admin = ExperimentAdmin(self.store, self.clock)
        await admin.update(name, ExperimentChange(closed=True), "operator:admin")


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database, tmp_path)
    await made.store.open()
    yield made
    await made.store.close()


async def everything(world: World) -> str:
    """All text of the tables that the log, its copies and its seals are made of."""
    tables = ("events", "sealed_texts", "scope_keys", "checkpoints", "log_nodes")
    parts = [await world.database.run(f"SELECT * FROM {name}") for name in tables]  # noqa: S608
    return str(parts)


async def test_nothing_that_has_a_class_stands_in_clear(world: World) -> None:
    await world.tell(told(), told(experiment=None), told("alert.raised"))
    [body, *_] = await world.bodies()
    for name in ("human_owner", "purpose", "circuit_sha256"):
        assert is_token(body[name])
    assert body["decision_reasons"][0] == "limit shots"
    assert body["actor_chain"][0] == body["agent_id"] == "bot"
    text = await everything(world)
    for canary in (ADA, "example.org", PURPOSE, CIRCUIT):
        assert canary not in text


async def test_who_may_reads_all_of_it_and_can_prove_it(world: World) -> None:
    event, general = told(), told("human.sign_in", None, circuit_sha256=None)
    await world.tell(event, general)
    bodies = await world.bodies()
    clear = await world.opener.clear(bodies)
    for shown, meant in zip(clear, (event, general), strict=True):
        assert (shown["human_owner"], shown["purpose"]) == (ADA, PURPOSE)
        assert shown.get("circuit_sha256") == meant.circuit_sha256
        assert shown["decision_reasons"] == list(meant.decision_reasons or ())
        assert shown["actor_chain"] == list(meant.actor_chain or ())
    openings = await world.opener.openings(bodies)
    assert len(openings) == 9
    assert all(opens(token, opening) for token, opening in openings.items())


async def test_one_value_has_one_commitment_in_an_experiment_and_another_elsewhere(
    world: World,
) -> None:
    await world.tell(told(), told(), told(experiment="other"), told(experiment=None))
    owners = [body["human_owner"] for body in await world.bodies()]
    assert owners[0] == owners[1]
    assert len(set(owners)) == 3
    texts = await world.database.run("SELECT scope FROM sealed_texts")
    assert len(texts) == 5 * 3  # nothing is written twice


async def test_a_unit_that_fails_leaves_no_text_and_is_not_remembered(world: World) -> None:
    never = Statement("scope_key_rewrap", {"item": "none", "part": "", "sealed": "", "was": "-"})
    with pytest.raises(GuardFailed):
        await world.store.commit(UnitOfWork((never,), (told(),)))
    assert not await world.database.run("SELECT token FROM sealed_texts")
    await world.tell(told())
    [shown] = await world.opener.clear(await world.bodies())
    assert shown["human_owner"] == ADA


async def test_rows_of_statements_come_back_without_those_of_seals(world: World) -> None:
    take = Statement("log_order", {})
    answered = await world.store.commit(UnitOfWork((take,), (told(),)))
    assert [list(rows) for rows in answered] == [[{"held": 1}]]


async def test_two_processes_share_a_key_whoever_made_it(world: World) -> None:
    if not isinstance(world.database, PostgresDatabase):
        return  # one SQLite file serves one process
    other = world.process()
    await other.open()
    try:
        await world.tell(told())
        await other.commit(UnitOfWork((), (told(),)))
        first, second = await world.bodies()
        assert first == second
    finally:
        await other.close()


ODD = ("a\r\nb: c", "\x00\x1b]0;x\x07", "\u202eevil", "\ud800", "é" * 2000, "\u2028", "x|y=z\\")


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
async def test_odd_text_is_sealed_and_comes_back(world: World, text: str) -> None:
    await world.tell(told(purpose=text, decision_reasons=(text,)))
    [body] = await world.bodies()
    assert is_token(body["purpose"])
    [shown] = await world.opener.clear([body])
    assert (shown["purpose"], shown["decision_reasons"]) == (text, [text])


async def test_a_megabyte_is_sealed_and_the_leaf_stays_short(world: World) -> None:
    huge = "x" * 1_000_000
    await world.tell(told(purpose=huge))
    rows = await world.database.run("SELECT body FROM events")
    assert len(str(rows[0][0])) < 1000
    [shown] = await world.opener.clear(await world.bodies())
    assert shown["purpose"] == huge


async def test_altered_texts_show_nothing_and_are_counted(world: World) -> None:
    await world.tell(told())
    bodies = await world.bodies()
    rows = await world.database.run("SELECT token, text FROM sealed_texts ORDER BY token")
    for bad in ("", "AAAA", "no base64!", str(rows[0][1])):
        await world.database.run(
            f"UPDATE sealed_texts SET text = '{bad}' WHERE token = '{rows[1][0]}'"  # noqa: S608
        )
        fresh = Opener(world.store, world.store.keys)
        [shown] = await fresh.clear(bodies)
        values = [shown["human_owner"], shown["purpose"], shown["circuit_sha256"],
                  *shown["decision_reasons"], *shown["actor_chain"]]  # fmt: skip
        assert sum(map(is_token, values)) == fresh.broken == 1


async def test_a_key_that_does_not_open_stops_writing_and_says_so(world: World) -> None:
    await world.tell(told())
    await world.database.run("UPDATE scope_keys SET sealed = 'AAAA' WHERE scope = 'ghz'")
    world.store.forget("ghz")
    with pytest.raises(StoreUnavailable, match="does not open"):
        await world.tell(told())
    await world.tell(told(experiment="other"))


async def test_a_verifier_with_the_key_finds_every_value_that_is_not_what_it_was(
    world: World,
) -> None:
    await world.tell(told(), told(experiment=None), told(experiment="other"))
    log = AuditLog(world.store, world.clock, signer(), world.heads, ORIGIN)
    await log.start()
    await log.sequence_now()

    async def check() -> tuple[int, int, list[tuple[str, int | None]]]:
        report = await check_seals(world.store, ScopeKeys(world.store, PlainSealer()))
        assert report.ok is (not report.findings)
        return report.opened, report.shredded, [(f.kind, f.first) for f in report.findings]

    assert await check() == (15, 0, [])
    run = world.database.run
    [(text,)] = await run("SELECT MIN(text) FROM sealed_texts WHERE scope = 'ghz'")
    await run(f"UPDATE sealed_texts SET text = 'AAAA' WHERE text = '{text}'")  # noqa: S608
    assert await check() == (14, 0, [("sealed_value", 0)])
    await run(f"UPDATE sealed_texts SET text = '{text}' WHERE text = 'AAAA'")  # noqa: S608
    assert await check() == (15, 0, [])
    await run("DELETE FROM sealed_texts WHERE scope LIKE '~%'")
    assert await check() == (10, 0, [("sealed_value", 1)])
    await run("DELETE FROM scope_keys WHERE scope = 'other'")
    assert await check() == (5, 0, [("sealed_value", 1), ("sealed_value", 2)])
    await run("UPDATE scope_keys SET sealed = '?' WHERE scope = 'ghz'")
    opened, _, findings = await check()
    assert (opened, len(findings)) == (0, 3)
    await run("UPDATE scope_keys SET sealed = '', shredded_ms = 1 WHERE scope = 'ghz'")
    assert (await check())[1] == 5
    await run("UPDATE events SET body = '[1]' WHERE seq = 2")  # the log's own check tells of it
    assert len((await check())[2]) == 1
    await log.close()


async def test_shredding_ends_reading_and_leaves_the_log_as_it_was(world: World) -> None:
    await world.experiment()
    await world.experiment("other")
    await world.tell(told(), told(experiment="other"))
    log = AuditLog(world.store, world.clock, signer(), world.heads, ORIGIN)
    await log.start()
    await log.sequence_now()
    await log.checkpoint_now()
    before = await world.bodies()
    assert (await world.opener.clear(before))[2]["human_owner"] == ADA
    await world.close()
    shredder = Shredder(world.store, world.clock)
    await shredder.shred("ghz", "asked for by Ada", BOB)
    await world.tell(told())  # whatever is still said of it
    after = await world.bodies()
    assert after[: len(before)] == before
    shown = await world.opener.clear(after)
    for body in shown:
        ours = body.get("experiment_id") == "ghz" and body["action"] != "experiment.shredded"
        assert is_token(body.get("human_owner", body["actor_chain"][0])) is ours
    [by] = [body for body in shown if body["action"] == "experiment.shredded"]
    assert (by["decision_reasons"], by["actor_chain"]) == (["asked for by Ada"], [BOB])
    # not by another process with the master key either
    assert not await world.database.run("SELECT 1 FROM sealed_texts WHERE scope = 'ghz'")
    assert await world.database.run("SELECT sealed FROM scope_keys WHERE scope = 'ghz'") == [("",)]
    await log.sequence_now()
    await log.checkpoint_now()
    report = await verify_log(StoreSource(world.store), [signer().verifier()])
    assert report.ok
    assert report.size == len(after)
    await log.close()


async def test_a_process_that_does_not_know_yet_writes_no_text(world: World) -> None:
    await world.experiment()
    await world.tell(told())
    stale = world.store.keys.held("ghz")
    await world.close()
    await Shredder(world.store, world.clock).shred("ghz", "why", BOB)
    assert stale is not None
    world.store.keys._held["ghz"] = stale
    await world.tell(told(purpose="said too late"))
    assert not await world.database.run("SELECT 1 FROM sealed_texts WHERE scope = 'ghz'")
    await world.store.keys.refresh()
    assert await world.store.keys.find("ghz") is None
    await world.store.keys.refresh()
    assert await world.store.keys.find(month_scope(world.clock.now_ms())) is not None


async def test_what_is_not_over_is_not_shredded(world: World) -> None:
    await world.experiment()
    shredder = Shredder(world.store, world.clock)
    with pytest.raises(Conflict, match="close the experiment"):
        await shredder.shred("ghz", "why", BOB)
    for name in ("none", "", "../x", "ghz'--"):
        with pytest.raises(NotFound):
            await shredder.shred(name, "why", BOB)
    for reason in ("", "x" * 501, "two\nlines", "\x1b[31m"):
        with pytest.raises(Malformed):
            await shredder.shred("ghz", reason, BOB)
    await world.close()
    await shredder.shred("ghz", "why", BOB)
    with pytest.raises(Conflict, match="before"):
        await shredder.shred("ghz", "why", BOB)
    admin = ExperimentAdmin(world.store, world.clock)
    with pytest.raises(Conflict):
        await admin.update("ghz", ExperimentChange(closed=False), "operator:admin")
