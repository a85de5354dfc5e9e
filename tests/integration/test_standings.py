"""A burst of one agent's requests reads its standing once, and never one that is out of date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
from tests.support.governance import OWNER, World, hold_of, world

from cryogate.domain.errors import NotFound, Unauthenticated
from cryogate.domain.experiments import Release
from cryogate.domain.grants import Grant
from cryogate.domain.ids import JOB, new_id
from cryogate.gateway.caller import Caller
from cryogate.gateway.standing import Standings
from cryogate.governance.experiments import ExperimentChange
from cryogate.ports.store import ReadStore, Row, SqlValue


class Counted(ReadStore):
    """Counts what is read, and can hold a reading up."""

    def __init__(self, made: World) -> None:
        self._store = made.store
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.read = asyncio.Event()

    @property
    def state(self) -> int | None:
        return self._store.state

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        self.reads += 1
        rows = await self._store.fetch(query, params)
        self.read.set()
        await self.gate.wait()
        return rows


@pytest.fixture
async def made(dsn: str | None, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, dsn=dsn) as found:
        yield found


def caller(made: World, token: str = "t1") -> Caller:  # noqa: S107
    grant = Grant("e1", ("local:null",), (), 10, 10, 10, 10, Release.RAW)
    now_ms = made.clock.now_ms()
    return Caller("a1", OWNER, token, now_ms, now_ms + 900_000, grant)


async def test_only_what_nobody_else_can_write_is_read_once(made: World) -> None:
    counted = Counted(made)
    standings = Standings(counted)
    seen = [await standings.read(caller(made), None) for _ in range(5)]
    assert seen == seen[:1] * 5
    assert counted.reads == (5 if made.store.state is None else 1)


async def test_what_was_acknowledged_is_seen(made: World) -> None:
    standings = Standings(made.store)
    for number in range(1, 4):
        await made.reserve(hold_of(new_id(JOB), cents=100))
        assert (await standings.read(caller(made), None)).budget.held_cents == 100 * number
    await made.experiments.update("e1", ExperimentChange(closed=True), "operator:ada")
    assert (await standings.read(caller(made), None)).experiment.closed


async def test_what_was_read_before_a_commit_is_not_kept_after_it(made: World) -> None:
    counted = Counted(made)
    standings = Standings(counted)
    counted.gate.clear()
    slow = asyncio.create_task(standings.read(caller(made), None))
    await counted.read.wait()
    await made.reserve(hold_of(new_id(JOB), cents=100))
    counted.gate.set()
    await slow
    assert (await standings.read(caller(made), None)).budget.held_cents == 100


async def test_a_token_has_a_standing_of_its_own(made: World) -> None:
    standings = Standings(made.store)
    await standings.read(caller(made), None)
    with pytest.raises(Unauthenticated):
        await standings.read(caller(made, "t-unknown"), None)
    with pytest.raises(NotFound):
        await standings.read(caller(made), "ses_unknown")
