"""Results as they are released: decided once, told in the log, and never more than that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest
from tests.support.governance import OWNER, World, hold_of, world

from cryogate.domain.errors import Conflict, NotFound
from cryogate.domain.experiments import Release
from cryogate.domain.grants import Grant
from cryogate.domain.ids import JOB, new_id
from cryogate.gateway.aggregates import Ask, Form
from cryogate.gateway.caller import Caller
from cryogate.gateway.release import ResultService
from cryogate.governance.experiments import ExperimentChange
from cryogate.storage.statements import SQL_DIR
from cryogate.testing.policy import FakePolicy

ASKS = (
    Ask(),
    Ask(Form.PROBABILITIES),
    Ask(top=1),
    Ask(top=100),
    Ask(Form.PROBABILITIES, 2, ("ZZ", "ZI", "IZ", "II")),
    Ask(z=("ZZ", "ZI", "IZ", "II")),
)


class Desk:
    """Results of jobs that are done, and their reader."""

    def __init__(self, made: World) -> None:
        self.world = made
        self.service = ResultService(made.store, made.clock, FakePolicy(), made.approvals)

    async def done(
        self, counts: Mapping[str, int], *, right: str = "aggregates", memory: str | None = None
    ) -> str:
        job_id = new_id(JOB)
        await self.world.reserve(hold_of(job_id))
        await self.world.run("governance_test_done", job_id=job_id, results=right)
        await self.world.run(
            "dispatch_result", job_id=job_id, counts=msgspec.json.encode(counts).decode(),
            memory=memory, metadata='{"account":"123456789012"}', now_ms=0,
        )  # fmt: skip
        return job_id

    def caller(self, *, token: str = "t1", agent: str = "a1", experiment: str = "e1") -> Caller:  # noqa: S107
        grant = Grant(experiment, ("local:null",), (), 10, 10, 10, 10, Release.RAW)
        now_ms = self.world.clock.now_ms()
        return Caller(agent, OWNER, token, now_ms, now_ms + 900_000, grant)

    async def read(self, job_id: str, ask: Ask | None = None) -> str:
        """The answer as its bytes would be, without what names the job."""
        view = await self.service.result(self.caller(), job_id, ask)
        return msgspec.json.encode(view).decode().replace(job_id, "JOB")

    async def cut(self, min_count: int, top_k: int = 0) -> None:
        change = ExperimentChange(min_count=min_count, top_k=top_k)
        await self.world.experiments.update("e1", change, "operator:ada")


@pytest.fixture
async def desk(dsn: str | None, tmp_path: Path) -> AsyncIterator[Desk]:
    async with world(tmp_path, dsn=dsn) as made:
        yield Desk(made)


@pytest.mark.attack("D1")
async def test_results_that_differ_where_withheld_answer_alike(desk: Desk) -> None:
    await desk.cut(5)
    one = await desk.done({"00": 50, "01": 4, "10": 1, "11": 3})
    two = await desk.done({"00": 50, "01": 1, "10": 4, "11": 3})
    three = await desk.done({"00": 50, "11": 8})  # not withheld: it is told apart
    for ask in ASKS:
        told = [await desk.read(job, ask) for job in (one, two)]
        assert told[0] == told[1]
    assert await desk.read(three) != await desk.read(one)


@pytest.mark.attack("D1")
async def test_a_rarest_outcome_does_not_follow_from_the_rest(desk: Desk) -> None:
    await desk.cut(5)
    job_id = await desk.done({"00": 50, "01": 20, "10": 7, "11": 2})
    view = await desk.service.result(desk.caller(), job_id)
    assert (view.counts, view.cut and view.cut.withheld_shots) == ({"00": 50, "01": 20}, 9)


@pytest.mark.attack("D1", "D3")
async def test_what_was_decided_is_not_widened_later(desk: Desk) -> None:
    await desk.cut(5, 2)
    job_id = await desk.done({"00": 50, "01": 20, "10": 7, "11": 2})
    first = await desk.read(job_id)
    assert '"cut":{"min_count":5,"top_k":2,"withheld_shots":9}' in first
    await desk.cut(1)
    assert await desk.read(job_id) == first
    assert "10" not in (msgspec.json.decode(await desk.read(job_id, Ask(top=100))))["counts"]
    await desk.cut(25)  # stricter is heeded at once
    assert msgspec.json.decode(await desk.read(job_id))["counts"] == {"00": 50}
    told = [
        e["decision_reasons"] for e in await desk.world.events() if e["action"] == "result.read"
    ]
    assert told[0][:4] == ["released:aggregates", "min_count:5", "top_k:2", "withheld_shots:9"]
    assert len(told) == 4  # every reading is an event


@pytest.mark.attack("D1")
async def test_readings_at_the_same_time_share_one_decision(desk: Desk) -> None:
    await desk.cut(5)
    job_id = await desk.done({"00": 50, "11": 2})
    told = await asyncio.gather(*(desk.read(job_id) for _ in range(8)))
    assert len(set(told)) == 1


@pytest.mark.attack("D2")
async def test_memory_and_what_the_vendor_said_stay_in(desk: Desk) -> None:
    counts, memory = {"00": 1, "11": 1}, '["00","11"]'
    job_id = await desk.done(counts, right="aggregates", memory=memory)
    for ask in ASKS:
        told = await desk.read(job_id, ask)
        assert "memory" not in told
        assert "123456789012" not in told
    raw = await desk.done(counts, right="raw", memory=memory)
    await desk.cut(2)
    told = await desk.read(raw)
    assert '"memory":["00","11"]' in told
    assert '"counts":{"00":1,"11":1}' in told  # the right to raw is the right to all of it
    assert "123456789012" not in told


@pytest.mark.attack("D2")
def test_only_a_release_reads_memory() -> None:
    blocks = [b for f in SQL_DIR.glob("*.sql") for b in f.read_text().split("-- name: ")[1:]]
    named = {b.split()[0] for b in blocks if re.search(r"\bmemory\b", b)}
    assert sorted(named) == ["dispatch_result", "result_of_job"]
    # the signed statement digests all counts under a salt, which only who has them all is given
    readers = {
        b.split()[0] for b in blocks if re.search(r"(?<!DELETE )\b(?:FROM|JOIN) results\b", b)
    }
    assert sorted(readers) == ["provenance_subject", "result_of_job"]


async def test_a_long_queued_job_is_read_with_a_fresh_token(desk: Desk) -> None:
    job_id = await desk.done({"00": 10})
    desk.world.clock.advance(s=4 * 86_400)
    await desk.world.token("t2")
    view = await desk.service.result(desk.caller(token="t2"), job_id)
    assert view.counts == {"00": 10}
    for stranger in (desk.caller(agent="a2"), desk.caller(experiment="e2")):
        with pytest.raises(NotFound):
            await desk.service.result(stranger, job_id)


async def test_a_job_that_is_not_done_has_no_result(desk: Desk) -> None:
    job_id = new_id(JOB)
    await desk.world.reserve(hold_of(job_id))
    with pytest.raises(Conflict):
        await desk.service.result(desk.caller(), job_id)
