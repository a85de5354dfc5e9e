"""An issue that is half done when the kill switch falls, step by step (PostgreSQL)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.support.broker import World, postgres_world

from cryogate.ports.revocations import RevokedKind, Subject
from cryogate.ports.store import SqlValue
from cryogate.storage.statements import Dialect, Statements

pytestmark = pytest.mark.attack("R5")

AHEAD_MS = 2000


@asynccontextmanager
async def _half_done(world: World, dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of another process that has inserted a token and not committed yet."""
    now_ms = world.clock.now_ms()
    row: Mapping[str, SqlValue] = {
        "token_id": "tok_other", "client_id": "a1", "client_kid": world.agent_key.kid,
        "experiment_id": "e1", "issued_ms": now_ms + AHEAD_MS, "expires_ms": now_ms + 300_000,
        "confirmation": "c", "exp_params": "{}", "now_ms": now_ms, "policy_digest": "",
        "status_list": None,
        "status_place": None,
        "max_jobs": 1, "max_total_shots": 1, "max_cost_cents": 1,
    }  # fmt: skip
    insert = Statements(Dialect.POSTGRES).get("token_insert")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("BEGIN")
        assert await connection.execute(insert.sql, *insert.bind(row)) == "INSERT 0 1"
        yield connection
    finally:
        await connection.close()


async def _until_somebody_waits(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(20):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass  # the query itself lets the others run


@pytest.mark.parametrize(
    ("kind", "name"),
    [(RevokedKind.AGENT, "a1"), (RevokedKind.OWNER, "alice@example.com"),
     (RevokedKind.EXPERIMENT, "e1"), (RevokedKind.ALL, "*")],
)  # fmt: skip
async def test_a_revocation_waits_for_the_issue_and_covers_it(
    postgres_dsn: str, kind: RevokedKind, name: str
) -> None:
    async with postgres_world(postgres_dsn) as world, _half_done(world, postgres_dsn) as other:
        revoking = asyncio.create_task(world.revocations.revoke(kind, name, "r", "root"))
        await _until_somebody_waits(other)
        assert not revoking.done()
        await other.execute("COMMIT")
        await revoking
        issued_ms = world.clock.now_ms() + AHEAD_MS
        subject = Subject("tok_other", "a1", "alice@example.com", "e1", issued_ms)
        assert world.view.revoked(subject) is kind


async def test_a_key_removal_waits_for_the_issue_and_ends_its_token(postgres_dsn: str) -> None:
    async with postgres_world(postgres_dsn) as world, _half_done(world, postgres_dsn) as other:
        await other.execute(
            "UPDATE tokens SET confirmation = $1 WHERE token_id = 'tok_other'", world.agent_key.kid
        )
        removing = asyncio.create_task(
            world.client_keys.remove("a1", world.agent_key.kid, actor="root")
        )
        await _until_somebody_waits(other)
        await other.execute("COMMIT")
        await removing
        subject = Subject("tok_other", "a1", "alice@example.com", "e1", 2**50)
        assert world.view.revoked(subject) is RevokedKind.TOKEN


async def test_the_feed_is_ordered_as_it_becomes_visible(postgres_dsn: str) -> None:
    """A second revocation draws no number before the first is visible."""
    order = Statements(Dialect.POSTGRES).get("revocation_order")
    async with postgres_world(postgres_dsn) as world:
        connection = await asyncpg.connect(postgres_dsn)
        try:
            await connection.execute("BEGIN")
            await connection.fetch(order.sql)
            second = asyncio.create_task(
                world.revocations.revoke(RevokedKind.AGENT, "a1", "second", "root")
            )
            await _until_somebody_waits(connection)
            first = await connection.fetchval(
                "INSERT INTO revocations (kind, subject, until_ms, reason, revoked_by, created_ms)"
                " VALUES ('owner', 'bob', $1, 'first', 'x', 0) RETURNING rev_seq",
                world.clock.now_ms() + 1000,
            )
            await connection.execute("COMMIT")
            assert (await second).rev_seq > first
        finally:
            await connection.close()
        assert world.view.revoked(Subject("t", "x", "bob", "e", 0)) is RevokedKind.OWNER
