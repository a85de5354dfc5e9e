"""What is over is deleted in time, what still decides is not, and the log keeps all of it."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.broker import World

from cryogate.ports.revocations import RevokedKind
from cryogate.storage.sweeping import MOST, Sweeper

DAY_MS = 86_400_000
KEEP_MS = 30 * DAY_MS


def sweeper(world: World) -> Sweeper:
    return Sweeper(world.store, world.clock, KEEP_MS, pause_s=0)


async def tokens(world: World, client_id: str = "a1") -> list[str]:
    rows = await world.store.fetch(
        "tokens_by_agent", {"agent_id": client_id, "before_ms": 2**52, "limit": 10_000}
    )
    return [str(row["token_id"]) for row in rows]


async def issued(world: World) -> str:
    return world.subject((await world.token()).access_token).token_id


async def add(world: World, token_id: str, **changes: object) -> None:
    """A token whose life ended long ago, as its row would be."""
    fields = {
        "token_id": token_id, "agent_id": "a1", "issued_ms": 1000, "expires_ms": 301_000,
        "used_jobs": 0, "parent": None, **changes,
    }  # fmt: skip
    await world.run("broker_test_token", **fields)  # type: ignore[arg-type]


async def test_tokens_go_when_they_have_been_over_for_long(each_world: World) -> None:
    world = each_world
    token = await issued(world)
    await world.admin_token()
    await sweeper(world).sweep()
    world.clock.advance(KEEP_MS - 1000)
    await sweeper(world).sweep()
    assert await tokens(world) == [token], "not one of its days is taken"
    world.clock.advance(DAY_MS)
    await sweeper(world).sweep()
    assert await tokens(world) == []
    assert await tokens(world, "operator:root") == []
    issues = await world.events("token.issued")
    assert token in {event["token_id"] for event in issues}, "the log keeps it"


async def test_many_go_in_small_batches_and_what_is_needed_stays(each_world: World) -> None:
    world = each_world
    for n in range(2 * MOST + 7):  # of the same millisecond, more than a batch holds
        await add(world, f"old{n:04}", issued_ms=1000 if n < MOST + 5 else 1000 + n)
    await add(world, "used", used_jobs=1)
    await add(world, "parent")
    await add(world, "child", parent="parent", issued_ms=2000)
    await add(world, "living", expires_ms=2**51)
    made = sweeper(world)
    await made.sweep()
    assert sorted(await tokens(world)) == ["living", "parent", "used"]
    await made.sweep()
    assert "parent" in await tokens(world), "the walk goes on where it was"
    world.clock.advance(DAY_MS)
    await made.sweep()
    assert sorted(await tokens(world)) == ["living", "used"]


async def test_two_processes_sweep_at_once(each_world: World) -> None:
    for n in range(50):
        await add(each_world, f"old{n}", issued_ms=1000 + n)
    await asyncio.gather(*(sweeper(each_world).sweep() for _ in range(3)))
    assert await tokens(each_world) == []


@pytest.mark.attack("R2", "R4")
async def test_a_revocation_stays_while_it_can_stop_anything(each_world: World) -> None:
    world = each_world
    first = await issued(world)
    await world.revocations.revoke(RevokedKind.TOKEN, first, "x", "root")
    await world.revocations.revoke(RevokedKind.KEY, "k" * 43, "x", "root")
    await world.revocations.revoke(RevokedKind.AGENT, "a1", "x", "root")

    async def kinds() -> list[str]:
        return sorted(str(row["kind"]) for row in await world.revocations.page())

    await sweeper(world).sweep()
    assert await kinds() == ["agent", "key", "token"]
    world.clock.advance(2 * KEEP_MS)
    # a job of then is still at its vendor: it is looked up against all of them
    await world.run("broker_test_job", job_id="j1", token_issued_ms=0, state="running")
    await sweeper(world).sweep()
    assert await kinds() == ["agent", "key", "token"]
    await world.run("broker_test_job_ends", job_id="j1")
    await sweeper(world).sweep()
    assert await kinds() == ["agent", "key"], "a ban for ever, and the newest: readers count by it"
    again = world.view
    await again.refresh()
    assert len(await world.events("revocation.created")) == 3
    newest = max(int(row["rev_seq"] or 0) for row in await world.revocations.page())
    done = await world.revocations.revoke(RevokedKind.OWNER, "alice@example.com", "y", "root")
    assert done.rev_seq > newest, "no number is given twice"
