"""Delegation gives less, is charged to whoever delegated, and dies with it (T8, T9, A7)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.broker import ISSUER, TOKEN_URL, World, postgres_world, sqlite_world
from tests.support.governance import PAYER

from cryogate.broker.exchange import ACCESS_TOKEN, GRANT_TYPE, JWT
from cryogate.broker.issue import TokenResponse
from cryogate.broker.oauth import OAuthError
from cryogate.domain.money import Money
from cryogate.governance.budgets import PARENT, TOKEN, SqlLedger
from cryogate.ports.budgets import Hold
from cryogate.ports.revocations import RevokedKind, Subject
from cryogate.ports.store import GuardFailed, UnitOfWork
from cryogate.tokens import jws
from cryogate.tokens.assertion import ACTOR_TYPE, TYPE
from cryogate.tokens.claims import read_access
from cryogate.tokens.errors import MalformedToken
from cryogate.tokens.keys import SigningKey, generate

LESS = {"type": "qpu_experiment", "experiment_id": "e1", "max_shots": 100}


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[World]:
    if request.param == "sqlite":
        return sqlite_world(tmp_path)
    return postgres_world(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
async def world(opened: AbstractAsyncContextManager[World]) -> AsyncIterator[World]:
    async with opened as made:
        await people(made)
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[World]:
    async with sqlite_world(tmp_path) as made:
        await people(made)
        yield made


async def people(world: World) -> None:
    """Agents a2 to a5, each with its own owner, all in e1."""
    for n in range(2, 6):
        key = world.agent_keys[f"a{n}"] = generate()
        await world.registry.create_agent(
            agent_id=f"a{n}", owner=f"owner{n}@example.com", tier="standard", actor="root",
            jwk=key.public.jwk(),
        )  # fmt: skip
    everybody = '["a1","a2","a3","a4","a5"]'
    await world.run("broker_test_admit", experiment_id="e1", agents=everybody)


def consent(world: World, name: str, **changes: Any) -> str:
    values = {"key": world.agent_keys[name], "client_id": name, "typ": ACTOR_TYPE, **changes}
    return world.assertion(**values)


async def delegate(
    world: World,
    parent: str,
    child: str,
    key: SigningKey | None = None,
    *,
    by: str = "a1",
    asked: Any = LESS,
    **changes: str,
) -> TokenResponse:
    mine = world.agent_keys[by]
    form = {
        **world.form(asked, client_assertion=world.assertion(key=mine, client_id=by)),
        "grant_type": GRANT_TYPE,
        "subject_token": parent,
        "subject_token_type": ACCESS_TOKEN,
        "actor_token": consent(world, child),
        "actor_token_type": JWT,
        **changes,
    }
    return await world.service.token(form, world.proof(key or mine), TOKEN_URL)


def held(world: World, token: str) -> Subject:
    return Subject.of(world.gateway.verify(token))


@pytest.mark.attack("T8")
async def test_a_sub_agent_gets_less_and_the_chain_is_kept(world: World) -> None:
    parent = (await world.token()).access_token
    answer = await delegate(world, parent, "a2")
    assert answer.issued_token_type == ACCESS_TOKEN
    child = world.gateway.verify(answer.access_token)
    mother = world.gateway.verify(parent)
    assert (child.subject, child.client_id, child.owner) == ("a1", "a2", "owner2@example.com")
    assert child.chain == ("a1", "a2")
    assert child.ancestors == (mother.token_id,)
    assert child.jkt == world.agent_keys["a2"].kid
    assert child.expires_ms <= mother.expires_ms
    assert child.grant is not None
    assert mother.grant is not None
    assert child.grant.max_shots == 100
    assert child.grant.within(mother.grant) == ()
    narrower = {**LESS, "max_shots": 10, "allowed_backends": ["local:null"]}
    again = await delegate(world, answer.access_token, "a3", by="a2", asked=narrower)
    grandchild = world.gateway.verify(again.access_token)
    assert grandchild.chain == ("a1", "a2", "a3")
    assert grandchild.ancestors == (child.token_id, mother.token_id)
    assert grandchild.actors == ("a3", "a2")
    events = await world.events("token.delegated")
    assert [event["actor_chain"] for event in events] == [["a1", "a2"], ["a1", "a2", "a3"]]


@pytest.mark.attack("T8")
@pytest.mark.parametrize(
    ("limit", "value"),
    [("max_shots", 1001), ("max_total_shots", 10_001), ("max_jobs", 21), ("max_cost_cents", 501),
     ("allowed_backends", ["local:aer", "ibm:torino"]), ("allowed_gate_set", ["h", "ccx"])],
)  # fmt: skip
async def test_what_is_wider_in_any_bound_is_refused(
    small: World, limit: str, value: object
) -> None:
    parent = (await small.token()).access_token
    with pytest.raises(OAuthError) as refused:
        await delegate(small, parent, "a2", asked={**LESS, limit: value})
    assert refused.value.error == "invalid_authorization_details"
    assert limit in [violation.limit for violation in refused.value.violations]


@pytest.mark.attack("T8")
async def test_results_and_life_are_never_more_than_the_parents(small: World) -> None:
    asked = {"type": "qpu_experiment", "experiment_id": "e1", "results": "aggregates"}
    parent = (await small.token({**asked, "ttl_s": 120})).access_token
    with pytest.raises(OAuthError):
        await delegate(small, parent, "a2", asked={**LESS, "results": "raw"})
    small.clock.advance(s=20)
    child = await delegate(small, parent, "a2", asked={**LESS, "ttl_s": 3600})
    assert child.expires_in == 100
    small.clock.advance(s=100)
    with pytest.raises(OAuthError, match="expired"):
        await delegate(small, parent, "a2")


@pytest.mark.attack("T8")
async def test_equal_is_not_less(small: World) -> None:
    parent = (await small.token()).access_token
    same = {"type": "qpu_experiment", "experiment_id": "e1"}
    with pytest.raises(OAuthError, match="strictly less"):
        await delegate(small, parent, "a2", asked=same)
    with pytest.raises(OAuthError) as refused:
        await delegate(small, parent, "a2", asked={**LESS, "experiment_id": "e2"})
    assert [v.limit for v in refused.value.violations] == ["experiment_id"]


@pytest.mark.attack("T8")
async def test_nobody_acts_for_itself_or_in_a_circle_or_too_deep(small: World) -> None:
    token, by = (await small.token()).access_token, "a1"
    with pytest.raises(OAuthError, match="in the chain"):
        await delegate(small, token, "a1")
    for n, name in enumerate(("a2", "a3", "a4")):
        asked = {**LESS, "max_shots": 90 - n}
        token = (await delegate(small, token, name, by=by, asked=asked)).access_token
        by = name
        with pytest.raises(OAuthError, match=r"in the chain|delegation ends"):
            await delegate(small, token, "a1", by=by, asked={**LESS, "max_shots": 1})
    with pytest.raises(OAuthError, match="delegation ends after 3"):
        await delegate(small, token, "a5", by="a4", asked={**LESS, "max_shots": 1})


@pytest.mark.attack("T8")
async def test_a_stolen_token_or_consent_delegates_nothing(small: World) -> None:
    world = small
    parent = (await world.token()).access_token
    with pytest.raises(OAuthError, match="not the client's own"):
        await delegate(world, parent, "a3", by="a2")
    with pytest.raises(OAuthError, match="prove possession"):
        await delegate(world, parent, "a2", key=generate())
    for changes in (
        {"key": generate()},  # not the sub-agent's key
        {"typ": TYPE},  # an assertion of the sub-agent, by which it authenticates
        {"audience": "https://elsewhere.example"},
        {"client_id": "operator:root", "key": world.operator_key},
        {"client_id": "nobody"},
    ):
        with pytest.raises(OAuthError) as refused:
            await delegate(world, parent, "a2", actor_token=consent(world, "a2", **changes))
        assert refused.value.error == "invalid_request"
    # And the other way round: whoever is handed a consent cannot become the sub-agent.
    with pytest.raises(OAuthError) as refused:
        await world.token(client_assertion=consent(world, "a2"))
    assert refused.value.error == "invalid_client"
    once = consent(world, "a2")
    await delegate(world, parent, "a2", actor_token=once)
    with pytest.raises(OAuthError):
        await delegate(world, parent, "a2", actor_token=once)


@pytest.mark.attack("T8", "T2")
@pytest.mark.parametrize(
    "changes",
    [{"subject_token_type": JWT}, {"requested_token_type": JWT}, {"actor_token_type": ACCESS_TOKEN},
     {"subject_token": "x"}, {"subject_token": ""}, {"actor_token": ""}, {"scope": "admin"},
     {"audience": "cryogate-admin"}, {"authorization_details": "[]"}],
)  # fmt: skip
async def test_an_exchange_that_is_none_is_refused(small: World, changes: dict[str, str]) -> None:
    parent = (await small.token()).access_token
    with pytest.raises(OAuthError) as refused:
        await delegate(small, parent, "a2", None, **changes)
    assert refused.value.status == 400


@pytest.mark.attack("T8", "A8")
async def test_an_operators_token_is_no_subject(small: World) -> None:
    token = (await small.admin_token()).access_token
    with pytest.raises(OAuthError, match="another audience"):
        await delegate(small, token, "a2")
    form = {**small.admin_form(), "grant_type": GRANT_TYPE}
    del form["scope"]
    with pytest.raises(OAuthError) as refused:
        await small.service.token(form, small.proof(small.operator_key), TOKEN_URL)
    assert refused.value.error == "unauthorized_client"


@pytest.mark.attack("T8")
async def test_a_token_whose_chain_was_dropped_or_bent_is_refused(small: World) -> None:
    parent = (await small.token()).access_token
    text = (await delegate(small, parent, "a2")).access_token
    _, parts = jws.parse(text)
    claims = json.loads(parts.payload)
    assert claims["act"] == {"sub": "a2"}
    bent: tuple[dict[str, Any], ...] = (
        {"act": None}, {"parents": []}, {"act": {"sub": "a9"}}, {"act": {"sub": ""}},
        {"act": {"sub": "a2", "act": {"sub": "a1"}}}, {"act": {"sub": "a2", "iss": "x"}},
    )  # fmt: skip
    for change in bent:
        with pytest.raises(MalformedToken):
            read_access(json.dumps({**claims, **change}).encode())
    del claims["act"]
    with pytest.raises(MalformedToken):
        read_access(json.dumps(claims).encode())


@pytest.mark.attack("T9")
@pytest.mark.parametrize(
    ("kind", "name"),
    [(RevokedKind.AGENT, "a1"), (RevokedKind.OWNER, "alice@example.com"),
     (RevokedKind.TOKEN, ""), (RevokedKind.KEY, ""), (RevokedKind.AGENT, "a2")],
)  # fmt: skip
async def test_the_child_dies_with_its_parent(world: World, kind: RevokedKind, name: str) -> None:
    parent = (await world.token()).access_token
    child = (await delegate(world, parent, "a2")).access_token
    asked = {**LESS, "max_shots": 50}
    grandchild = (await delegate(world, child, "a3", by="a2", asked=asked)).access_token
    other = (await world.token()).access_token
    bystander = await delegate(world, other, "a4", asked=asked)
    if kind is RevokedKind.TOKEN:
        name = held(world, parent).token_id
    elif kind is RevokedKind.KEY:
        name = world.agent_key.kid
    await world.revocations.revoke(kind, name, "r", "root")
    for token in (child, grandchild):
        assert world.view.revoked(held(world, token)) is not None
    if name == "a2":
        assert world.view.revoked(held(world, parent)) is None
    if kind is RevokedKind.TOKEN:
        assert world.view.revoked(held(world, bystander.access_token)) is None
    # Jobs follow by the rows of their own tokens, whatever the processes know.
    rows = await world.store.fetch("revocations_page", {"before": 2**62, "limit": 100})
    dead = {row["subject"] for row in rows if row["kind"] == "token"}
    assert held(world, grandchild).token_id in dead
    with pytest.raises(OAuthError):
        await delegate(world, child, "a4", by="a2", asked={**LESS, "max_shots": 1})


@pytest.mark.attack("T9")
async def test_rfc_7009_of_the_parent_ends_the_child(world: World) -> None:
    parent = (await world.token()).access_token
    child = (await delegate(world, parent, "a2")).access_token
    form = {k: v for k, v in world.form(token=parent).items()
            if k not in ("grant_type", "authorization_details")}  # fmt: skip
    form["client_assertion"] = world.assertion()
    await world.revocations.revoke_token(form, ISSUER + "/oauth2/revoke")
    assert world.view.revoked(held(world, child)) is RevokedKind.TOKEN


@pytest.mark.attack("T9")
async def test_removing_the_parents_key_ends_the_child(world: World) -> None:
    parent = (await world.token()).access_token
    child = (await delegate(world, parent, "a2")).access_token
    await world.client_keys.remove("a1", world.agent_key.kid, actor="root")
    assert world.view.revoked(held(world, child)) is RevokedKind.TOKEN


@pytest.mark.attack("T9")
async def test_what_an_inactive_agent_delegated_ends(world: World) -> None:
    parent = (await world.token()).access_token
    child = (await delegate(world, parent, "a2")).access_token
    await world.registry.update_agent("a1", actor="root", active=False)
    await world.view.refresh()
    assert world.view.revoked(held(world, child)) is RevokedKind.TOKEN
    await world.registry.update_agent("a1", actor="root", active=True)
    await world.view.refresh()
    assert world.view.revoked(held(world, child)) is RevokedKind.TOKEN


async def test_who_delegated_may_look_at_the_childs_token_and_end_it(small: World) -> None:
    parent = (await small.token()).access_token
    child = (await delegate(small, parent, "a2")).access_token

    def form(name: str) -> dict[str, str]:
        key = small.agent_keys[name]
        found = small.form(client_assertion=small.assertion(key=key, client_id=name), token=child)
        return {k: v for k, v in found.items() if k not in ("grant_type", "authorization_details")}

    for name, active in (("a1", True), ("a2", True), ("a3", False)):
        _, answer = await small.introspection.introspect(form(name), ISSUER + "/oauth2/introspect")
        assert answer["active"] is active
    await small.revocations.revoke_token(form("a3"), ISSUER + "/oauth2/revoke")
    assert small.view.revoked(held(small, child)) is None
    await small.revocations.revoke_token(form("a1"), ISSUER + "/oauth2/revoke")
    assert small.view.revoked(held(small, child)) is RevokedKind.TOKEN
    assert small.view.revoked(held(small, parent)) is None


@pytest.mark.attack("T9", "R5")
@pytest.mark.parametrize("kind", [RevokedKind.TOKEN, RevokedKind.AGENT, RevokedKind.KEY])
async def test_a_delegation_half_done_when_its_parent_is_revoked(
    postgres_dsn: str, kind: RevokedKind
) -> None:
    """The insert of a child has not committed yet: the revocation waits for it and finds it."""
    async with postgres_world(postgres_dsn) as world:
        await people(world)
        parent = (await world.token()).access_token
        name = {
            RevokedKind.TOKEN: held(world, parent).token_id,
            RevokedKind.AGENT: "a1",
            RevokedKind.KEY: world.agent_key.kid,
        }[kind]
        lock = await asyncpg.connect(postgres_dsn)
        await lock.execute("BEGIN")
        # An event cannot be written, so the delegation stands after its insert.
        await lock.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        delegating = asyncio.create_task(delegate(world, parent, "a2"))
        await _waiting(lock, 1)
        revoking = asyncio.create_task(world.revocations.revoke(kind, name, "r", "root"))
        await _waiting(lock, 2)
        await lock.execute("COMMIT")
        child = (await delegating).access_token
        await revoking
        rows = await world.store.fetch("revocations_page", {"before": 2**62, "limit": 100})
        assert held(world, child).token_id in {row["subject"] for row in rows}
        assert world.view.revoked(held(world, child)) is not None
        await lock.close()


async def _waiting(connection: asyncpg.Connection, count: int) -> None:
    async with asyncio.timeout(20):
        while await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            pass  # the query itself lets the others run


@pytest.mark.attack("A7", "B1")
async def test_work_split_over_sub_agents_meets_the_parents_cap(world: World) -> None:
    bounds = {"type": "qpu_experiment", "experiment_id": "e1", "max_total_shots": 100}
    parent = (await world.token(bounds)).access_token
    children = []
    for child in ("a2", "a3", "a4"):
        asked = {**bounds, "max_shots": 40, "max_total_shots": 40}
        children.append((await delegate(world, parent, child, asked=asked)).access_token)
    ledger, numbers = SqlLedger(world.store), itertools.count()
    await ledger.refresh()

    def hold(token: str, shots: int, cents: int = 3) -> Hold:
        verified = world.gateway.verify(token)
        job = f"j{next(numbers)}"
        return Hold(job, "e1", verified.token_id, None, Money(cents, "USD"), shots,
                    verified.ancestors)  # fmt: skip

    async def reserve(one: Hold) -> str:
        try:
            reservation = ledger.reserve(one, PAYER, world.clock.now_ms())
            await world.store.commit(UnitOfWork(reservation))
        except GuardFailed as failed:
            return failed.guard
        return "held"

    outcomes = await asyncio.gather(*(reserve(hold(c, 40)) for c in children))
    assert sorted(outcomes) == [PARENT, "held", "held"]
    refused = hold(children[outcomes.index(PARENT)], 40)
    [violation] = await ledger.explain(PARENT, refused, PAYER, 0)
    assert (violation.limit, violation.allowed, violation.actual) == ("max_total_shots", 100, 120)
    assert await reserve(hold(parent, 21)) == TOKEN
    assert await reserve(hold(parent, 20)) == "held"
    # A released hold comes back on every level; a settled one is counted at its real cost.
    given_back = hold(children[outcomes.index("held")], 40)
    for statement in ledger.release(given_back, 0)[1:2]:
        await world.store.commit(UnitOfWork((statement,)))
    row = await world.store.fetch_one("token_allowance", {"token_id": given_back.ancestors[0]})
    assert row is not None
    assert (row["used_jobs"], row["used_shots"], row["used_cents"]) == (2, 60, 6)
    assert await reserve(hold(children[outcomes.index(PARENT)], 40)) == "held"


@pytest.mark.attack("A7")
async def test_a_sub_agent_of_a_sub_agent_is_charged_to_all(small: World) -> None:
    parent = (await small.token()).access_token
    child = (await delegate(small, parent, "a2")).access_token
    asked = {**LESS, "max_shots": 50}
    verified = small.gateway.verify(
        (await delegate(small, child, "a3", by="a2", asked=asked)).access_token
    )
    ledger = SqlLedger(small.store)
    await ledger.refresh()
    one = Hold("j", "e1", verified.token_id, None, Money(5, "USD"), 50, verified.ancestors)
    await small.store.commit(UnitOfWork(ledger.reserve(one, PAYER, 0)))
    for token_id in (verified.token_id, *verified.ancestors):
        row = await small.store.fetch_one("token_allowance", {"token_id": token_id})
        assert row is not None
        assert (row["used_jobs"], row["used_shots"], row["used_cents"]) == (1, 50, 5)
