"""Experiments: strict in, typed out, every change told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.governance import world

from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound
from cryogate.domain.experiments import Classification, Release
from cryogate.governance.experiments import (
    ExperimentChange,
    NewExperiment,
    experiment_with_budget,
)

OPERATOR = "operator:bob"
GOOD: dict[str, Any] = {
    "experiment_id": "vqe-h2", "purpose": "ground state of H2", "classification": "poc",
    "owner": "alice@example.com", "cost_center": "R&D 7", "closes_at": "2099-01-01T01:00:00+01:00",
    "allowed_agents": ["b1", "a1", "a1"], "allowed_backends": ["local:aer"], "release": "raw",
    "budget_cents": 5000, "currency": "USD", "budget_shots": 10_000,
}  # fmt: skip


def new(**changes: Any) -> NewExperiment:
    return msgspec.json.decode(json.dumps({**GOOD, **changes}), type=NewExperiment)


def change(**changes: Any) -> ExperimentChange:
    return msgspec.json.decode(json.dumps(changes), type=ExperimentChange)


async def test_create_and_read_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        created = await w.experiments.create(new(), OPERATOR)
        experiment, budget = created.experiment, created.budget
        assert experiment.classification is Classification.POC
        assert experiment.release is Release.RAW
        assert experiment.closes_ms == 4_070_908_800_000
        assert experiment.opens_ms == experiment.created_ms == w.clock.now_ms()
        assert experiment.allowed_agents == {"a1", "b1"}
        assert experiment.is_open(w.clock.now_ms())
        assert (budget.limit_cents, budget.limit_shots, budget.currency) == (5000, 10_000, "USD")
        assert await experiment_with_budget(w.store, "vqe-h2") == created
        assert await experiment_with_budget(w.store, "nothing") is None
        (event,) = await w.events()
        assert event["action"] == "experiment.created"
        assert event["purpose"] == "ground state of H2"
        assert event["actor_chain"] == [OPERATOR]
        assert "allowed_agents a1,b1" in event["decision_reasons"]


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.experiments.create(new(), OPERATOR)
        with pytest.raises(Conflict) as refused:
            await w.experiments.create(new(budget_cents=10**9), OPERATOR)
        assert refused.value.code == "experiment_exists"
        assert (await w.experiments.show("vqe-h2")).budget.limit_cents == 5000


@pytest.mark.attack("A4", "A6", "H4")
@pytest.mark.parametrize(
    "changes",
    [
        {"spent_cents": 0},
        {"closed": False},
        {"budget_cents": "1e9"},
        {"budget_cents": True},
        {"budget_cents": 1.5},
        {"budget_cents": None},
        {"currency": "usd"},
        {"currency": "USD\n"},
        {"owner": "al\u0456ce"},
        {"owner": ""},
        {"owner": "a b"},
        {"purpose": ""},
        {"purpose": "x" * 501},
        {"classification": "secret"},
        {"release": "everything"},
        {"closes_at": "2099-01-01T00:00:00"},
        {"closes_at": 4070908800},
        {"allowed_agents": "a1"},
        {"allowed_agents": ["a"] * 1001},
        {"allowed_backends": ["local:aer"] * 201},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_what_cannot_be_read(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        new(**changes)


@pytest.mark.attack("A4", "A5", "H4")
@pytest.mark.parametrize(
    "changes",
    [
        {"experiment_id": "VQE"},
        {"experiment_id": "a/b"},
        {"experiment_id": "x" * 64},
        {"purpose": "a\u202eb"},
        {"purpose": "a\x1b[31m"},
        {"purpose": "a\nb"},
        {"allowed_agents": ["*"]},
        {"allowed_agents": ["\uff411"]},
        {"allowed_backends": ["local:*"]},
        {"allowed_backends": ["aer"]},
        {"budget_cents": -1},
        {"budget_shots": -1},
        {"budget_cents": 10**13 + 1},
        {"closes_at": "2001-01-01T00:00:00Z"},
        {"opens_at": "2099-01-01T00:00:00Z"},
        {"opens_at": "1960-01-01T00:00:00Z", "closes_at": "1960-01-01T00:00:01Z"},
    ],
)
async def test_what_is_out_of_range(changes: dict[str, Any], tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(Malformed):
            await w.experiments.create(new(**changes), OPERATOR)
        assert not await w.events()


@pytest.mark.attack("A8")
@pytest.mark.parametrize("actor", ["a1", "alice@example.com", ""])
async def test_only_operators_create_and_change(actor: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(Forbidden):
            await w.experiments.create(new(), actor)
        with pytest.raises(Forbidden):
            await w.experiments.update("e1", change(closed=True), actor)
        assert not await w.events()


async def test_a_change_touches_what_it_names(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        before = (await w.experiments.create(new(), OPERATOR)).experiment
        wanted = change(allowed_agents=["a1", "c1"], release="none")
        after = (await w.experiments.update("vqe-h2", wanted, OPERATOR)).experiment
        assert after.allowed_agents == {"a1", "c1"}
        assert after.release is Release.NONE
        assert (after.closes_ms, after.allowed_backends) == (
            before.closes_ms, before.allowed_backends,
        )  # fmt: skip
        event = (await w.events())[-1]
        assert event["action"] == "experiment.updated"
        assert event["decision_reasons"] == [
            "allowed_agents added c1; removed b1", "release raw -> none",
        ]  # fmt: skip
        closed = await w.experiments.update("vqe-h2", change(closed=True), OPERATOR)
        assert not closed.experiment.is_open(w.clock.now_ms())
        assert (await w.events())[-1]["action"] == "experiment.closed"


async def test_a_change_of_nothing_is_no_event(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.experiments.create(new(), OPERATOR)
        told = len(await w.events())
        await w.experiments.update("vqe-h2", change(), OPERATOR)
        await w.experiments.update("vqe-h2", change(closed=False, release="raw"), OPERATOR)
        assert len(await w.events()) == told


async def test_changes_at_once_all_count(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.experiments.create(new(), OPERATOR)
        await asyncio.gather(
            w.experiments.update("vqe-h2", change(closed=True), OPERATOR),
            w.experiments.update("vqe-h2", change(release="none"), OPERATOR),
            w.experiments.update("vqe-h2", change(allowed_agents=[]), OPERATOR),
        )
        after = (await w.experiments.show("vqe-h2")).experiment
        assert (after.closed, after.release, after.allowed_agents) == (
            True, Release.NONE, frozenset(),
        )  # fmt: skip


async def test_refused_changes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.experiments.create(new(), OPERATOR)
        for wrong in (
            change(closes_at="1999-01-01T00:00:00Z"),
            change(allowed_agents=["A"]),
            change(allowed_backends=["x"]),
        ):
            with pytest.raises(Malformed):
                await w.experiments.update("vqe-h2", wrong, OPERATOR)
        with pytest.raises(NotFound):
            await w.experiments.update("nothing", change(closed=True), OPERATOR)
        for name in ("owner", "purpose", "budget_cents", "experiment_id"):
            with pytest.raises(msgspec.ValidationError):
                change(**{name: "x"})


async def test_a_thousand_names_fit_into_an_event(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        names = [f"agent-{n:04d}-{'x' * 50}" for n in range(1000)]
        created = await w.experiments.create(new(allowed_agents=names), OPERATOR)
        assert len(created.experiment.allowed_agents) == 1000
        assert "allowed_agents (1000 names)" in (await w.events())[-1]["decision_reasons"]


async def test_pages(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for n in range(4):
            await w.experiments.create(new(experiment_id=f"x{n}"), OPERATOR)
        seen, cursor = list[str](), None
        while True:
            page = await w.experiments.list(cursor, 2)
            seen += [item.experiment.experiment_id for item in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert seen == ["e1", "x0", "x1", "x2", "x3"]
        with pytest.raises(Malformed):
            await w.experiments.list("not a cursor")
