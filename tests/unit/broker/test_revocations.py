"""Revocations: durable, enforced before they are acknowledged, and never missed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

import pytest
from tests.support.broker import ISSUER, TOKEN_URL, World

from cryogate.broker.oauth import OAuthError
from cryogate.broker.replicas import Reach
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.broker.revoke import RevocationService
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.ports.revocations import RevokedKind, RevokedUnread, StaleRevocations, Subject
from cryogate.ports.store import (
    GuardFailed,
    ReadStore,
    Row,
    SqlValue,
    Statement,
    StoreUnavailable,
    UnitOfWork,
)
from cryogate.testing.clock import FakeClock
from cryogate.tokens.keys import generate

KINDS = [
    (RevokedKind.AGENT, "a1"),
    (RevokedKind.OWNER, "alice@example.com"),
    (RevokedKind.EXPERIMENT, "e1"),
    (RevokedKind.ALL, "*"),
]


@pytest.mark.attack("R1", "R4")
@pytest.mark.parametrize(("kind", "name"), KINDS)
async def test_what_is_revoked_is_dead_when_it_is_acknowledged(
    each_world: World, kind: RevokedKind, name: str
) -> None:
    world = each_world
    subject = world.subject((await world.token()).access_token)
    assert world.view.revoked(subject) is None
    done = await world.revocations.revoke(kind, name, "compromised", "root")
    assert world.view.revoked(subject) is kind
    assert done.until_ms >= world.clock.now_ms() + 3_600_000
    with pytest.raises(OAuthError):
        await world.token()
    [event] = await world.events("revocation.created")
    assert event["actor_chain"] == ["root"]
    assert event["decision_reasons"] == [f"{kind} {name}", "compromised"]


async def test_one_token_and_one_session(each_world: World) -> None:
    world = each_world
    one, other = [world.subject((await world.token()).access_token) for _ in range(2)]
    await world.revocations.revoke(RevokedKind.TOKEN, one.token_id, "lost", "root")
    assert world.view.revoked(one) is RevokedKind.TOKEN
    assert world.view.revoked(other) is None
    await world.run(
        "open_session", session_id="s1", token_id=other.token_id, agent_id="a1",
        experiment_id="e1", backends="[]", max_jobs=1, now_ms=0, expires_ms=2**50,
        results="none",
    )  # fmt: skip
    await world.revocations.revoke(RevokedKind.SESSION, "s1", "done", "root")
    inside = Subject(other.token_id, "a1", other.owner, "e1", other.issued_ms, "s1")
    assert world.view.revoked(inside) is RevokedKind.SESSION
    assert world.view.revoked(other) is None
    await world.token()


@pytest.mark.attack("R5")
@pytest.mark.parametrize(("kind", "name"), KINDS)
async def test_who_is_let_in_again_gets_a_new_token_and_the_old_stays_dead(
    world: World, kind: RevokedKind, name: str
) -> None:
    old = world.subject((await world.token()).access_token)
    await world.revocations.revoke(kind, name, "mistake", "root")
    if kind is RevokedKind.EXPERIMENT:
        await world.run("broker_test_reopen", experiment_id="e1")
    else:
        await world.registry.update_agent("a1", actor="root", active=True)
    # In the very same millisecond: dated into the next second, so it is not dead on arrival.
    new = world.subject((await world.token()).access_token)
    assert world.view.revoked(new) is None
    assert world.view.revoked(old) is kind
    await world.revocations.revoke(kind, name, "not a mistake", "root")
    assert world.view.revoked(new) is kind


@pytest.mark.attack("R5")
async def test_no_token_slips_past_the_kill_switch(each_world: World) -> None:
    world = each_world
    for n in range(12):
        await world.registry.create_agent(
            agent_id=f"b{n}", owner="bob", tier="standard", actor="root",
            jwk=(key := generate()).public.jwk(),
        )  # fmt: skip
        world.agent_keys[f"b{n}"] = key

    everybody = json.dumps(["a1", *(f"b{n}" for n in range(12))])
    await world.run("broker_test_admit", experiment_id="e1", agents=everybody)

    async def ask(name: str) -> str | None:
        world.clock.advance(200)  # many are stamped later than the switch, whoever commits first
        key = world.agent_keys[name]
        form = world.form(client_assertion=world.assertion(key=key, client_id=name))
        try:
            answer = await world.service.token(form, world.proof(key), TOKEN_URL)
        except OAuthError:
            return None
        return answer.access_token

    asking = [asyncio.create_task(ask(f"b{n % 12}")) for n in range(36)]
    switch = asyncio.create_task(
        world.revocations.revoke(RevokedKind.ALL, "*", "kill switch", "root")
    )
    asking += [asyncio.create_task(ask(f"b{n % 12}")) for n in range(36)]
    await switch
    tokens = [token for token in await asyncio.gather(*asking) if token is not None]
    for token in tokens:
        assert world.view.revoked(world.subject(token)) is RevokedKind.ALL
    assert await ask("b0") is None


@pytest.mark.attack("R5")
async def test_a_token_stamped_ahead_of_the_revokers_clock_is_covered(each_world: World) -> None:
    world = each_world
    world.clock.advance(s=3)
    subject = world.subject((await world.token()).access_token)
    world.clock.advance(s=-3)  # the revocation is made where the clock is behind
    await world.revocations.revoke(RevokedKind.AGENT, "a1", "r", "root")
    assert world.view.revoked(subject) is RevokedKind.AGENT


async def test_revoking_what_does_not_exist(world: World) -> None:
    for kind in (
        RevokedKind.TOKEN, RevokedKind.SESSION, RevokedKind.AGENT, RevokedKind.EXPERIMENT
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await world.revocations.revoke(kind, "nothing", "r", "root")
    with pytest.raises(NotFound):
        await world.revocations.revoke(RevokedKind.AGENT, "operator:nobody", "r", "root")
    for kind, name, reason in (
        (RevokedKind.ALL, "a1", "r"), (RevokedKind.OWNER, "", "r"), (RevokedKind.AGENT, "a1", " "),
        (RevokedKind.AGENT, "a1", "r" * 1001),
    ):  # fmt: skip
        with pytest.raises(Malformed):
            await world.revocations.revoke(kind, name, reason, "root")
    assert not await world.revocations.page()


async def test_an_operator_can_be_revoked_and_the_kill_switch_leaves_operators(
    world: World,
) -> None:
    await world.revocations.revoke(RevokedKind.ALL, "*", "r", "root")
    subject = world.subject((await world.admin_token()).access_token, world.admin)
    assert world.view.revoked(subject) is None
    await world.revocations.revoke(RevokedKind.AGENT, "operator:root", "r", "root")
    assert world.view.revoked(subject) is RevokedKind.AGENT
    with pytest.raises(OAuthError):
        await world.admin_token()


@pytest.mark.attack("R3")
async def test_a_stale_view_lets_nobody_through(world: World) -> None:
    subject = world.subject((await world.token()).access_token)
    view = FollowedRevocations(world.store, world.clock, max_age_ms=5000, monotonic_ms=world.ticks)
    with pytest.raises(StaleRevocations):
        view.revoked(subject)
    await view.refresh()
    world.ticks.ms += 5000
    assert view.revoked(subject) is None
    world.ticks.ms += 1
    world.clock.advance(s=-3600)  # a clock set back does not make it fresh
    with pytest.raises(StaleRevocations):
        view.revoked(subject)


class _Feed(ReadStore):
    """A feed whose rows, failures and delays a test writes down."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str, int, int]] = []
        self.down = False
        self.reads = 0
        self.read = asyncio.Event()

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        assert query == "revocations_after"
        self.reads += 1
        self.read.set()
        if self.down:
            raise StoreUnavailable("down")
        after, limit = params["after"], params["limit"]
        assert isinstance(after, int)
        assert isinstance(limit, int)
        names = ("rev_seq", "kind", "subject", "until_ms", "created_ms")
        rows: list[dict[str, SqlValue]] = [
            dict(zip(names, row, strict=True)) for row in sorted(self.rows) if row[0] > after
        ]
        return rows[:limit]


def _view(feed: _Feed) -> tuple[FollowedRevocations, FakeClock]:
    clock = FakeClock(1_000_000)
    return FollowedRevocations(feed, clock, monotonic_ms=lambda: 0), clock


def _who(name: str, issued_ms: int = 0) -> Subject:
    return Subject("t", name, "o", "e", issued_ms)


async def test_a_row_that_appears_late_is_seen() -> None:
    feed = _Feed()
    view, _ = _view(feed)
    feed.rows = [(n, "agent", f"n{n}", 2_000_000, 1_000_000) for n in range(1, 40) if n != 7]
    await view.refresh()
    assert view.revoked(_who("n7")) is None
    feed.rows.append((7, "agent", "n7", 2_000_000, 1_000_000))
    await view.refresh()
    assert view.revoked(_who("n7")) is RevokedKind.AGENT


async def test_a_storm_longer_than_a_page_is_read_whole() -> None:
    feed = _Feed()
    view, _ = _view(feed)
    feed.rows = [(n, "token", f"t{n}", 2_000_000, 1_000_000) for n in range(1, 2501)]
    await view.refresh()
    assert all(
        view.revoked(Subject(f"t{n}", "a", "o", "e", 2**50)) is RevokedKind.TOKEN
        for n in (1, 1000, 1001, 2500)
    )


async def test_the_later_of_two_revocations_counts_and_old_ones_are_forgotten() -> None:
    feed = _Feed()
    view, clock = _view(feed)
    feed.rows = [
        (1, "agent", "n", 2_000_000, 900_000), (2, "agent", "n", 1_500_000, 500_000)
    ]  # fmt: skip
    await view.refresh()
    assert view.revoked(_who("n", 900_000)) is RevokedKind.AGENT
    assert view.revoked(_who("n", 900_001)) is None
    feed.rows = []
    clock.advance(1_000_000)
    await view.refresh()
    assert view.revoked(_who("n", 900_000)) is None


async def test_following_survives_an_outage_and_a_nudge_is_at_once() -> None:
    feed = _Feed()
    view, _ = _view(feed)
    following = asyncio.create_task(view.follow(3600))
    await asyncio.wait_for(feed.read.wait(), 5)
    for down in (True, False, True, False):
        feed.down = down
        feed.read.clear()
        view.nudge()
        await asyncio.wait_for(feed.read.wait(), 5)
    assert feed.reads >= 5
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_a_client_ends_its_own_token_and_no_other(world: World) -> None:
    mine = (await world.token()).access_token
    admin = (await world.admin_token()).access_token
    endpoint = ISSUER + "/oauth2/revoke"

    async def revoke(token: str, **changes: str) -> None:
        form = {**world.form(), "token": token, **changes}
        del form["grant_type"], form["authorization_details"]
        await world.revocations.revoke_token(form, endpoint)

    await revoke(admin)
    await revoke("nonsense")
    assert world.view.revoked(world.subject(admin, world.admin)) is None
    assert not await world.revocations.page()
    assertion = world.assertion()
    await revoke(mine, client_assertion=assertion)
    assert world.view.revoked(world.subject(mine)) is RevokedKind.TOKEN
    for changes in ({"client_assertion": assertion}, {"token": ""}, {"surplus": "x"}):
        with pytest.raises(OAuthError):
            await revoke(**{"token": mine, **changes})


async def test_removing_a_key_ends_the_tokens_bound_to_it(each_world: World) -> None:
    world = each_world
    subject = world.subject((await world.token()).access_token)
    other = generate()
    bound = await world.service.token(world.form(), world.proof(other), TOKEN_URL)
    await world.client_keys.remove("a1", world.agent_key.kid, actor="root")
    assert world.view.revoked(subject) is RevokedKind.TOKEN
    # Whoever held the key may have asked for a token that is bound to another.
    assert world.view.revoked(world.subject(bound.access_token)) is RevokedKind.TOKEN
    with pytest.raises(OAuthError):
        await world.token()


async def test_a_key_removed_during_an_issue_leaves_no_token(world: World) -> None:
    # The insert asks for the key once more: what was read before does not count.
    client = await world.clients.authenticate(world.form(), TOKEN_URL)
    await world.client_keys.remove("a1", world.agent_key.kid, actor="root")
    row: dict[str, SqlValue] = {
        "token_id": "t", "client_id": "a1", "client_kid": client.kid, "experiment_id": "e1",
        "issued_ms": 1, "expires_ms": 2, "confirmation": "c", "exp_params": "{}", "now_ms": 1,
        "policy_digest": "", "status_list": None,
        "status_place": None, "max_jobs": 1, "max_total_shots": 1, "max_cost_cents": 1,
    }  # fmt: skip
    with pytest.raises(GuardFailed):
        await world.store.commit(UnitOfWork((*client.uses, Statement("token_insert", row))))
    await world.store.commit(UnitOfWork(client.uses))  # the assertion was not spent by that


@pytest.mark.attack("R1")
async def test_a_revoked_key_is_dead_for_good(each_world: World) -> None:
    world = each_world
    token = (await world.token()).access_token
    stolen = generate()
    other = await world.service.token(world.form(), world.proof(stolen), TOKEN_URL)
    kid = world.agent_key.kid
    await world.revocations.revoke(RevokedKind.KEY, kid, "leaked", "root")
    for text in (token, other.access_token):
        assert world.view.revoked(world.subject(text)) is RevokedKind.TOKEN
    # Whatever is bound to it, whoever asked and however late.
    late = Subject("tok_x", "a9", "bob", "e9", 2**50, key=kid)
    assert world.view.revoked(late) is RevokedKind.KEY
    world.clock.advance(s=10 * 86_400)
    await world.view.refresh()
    assert world.view.revoked(late) is RevokedKind.KEY
    with pytest.raises(OAuthError):
        await world.token()
    with pytest.raises(Conflict):
        await world.client_keys.add("a1", world.agent_key.public.jwk(), actor="root")
    [event] = await world.events("revocation.created")
    assert event["agent_id"] == "a1"


async def test_a_key_is_named_by_its_thumbprint_and_may_be_banned_before_it_comes(
    world: World,
) -> None:
    for subject in ("", "short", "*", "x" * 44):
        with pytest.raises(Malformed):
            await world.revocations.revoke(RevokedKind.KEY, subject, "r", "root")
    key = generate()
    await world.revocations.revoke(RevokedKind.KEY, key.kid, "r", "root")
    with pytest.raises(Conflict):
        await world.client_keys.add("a1", key.public.jwk(), actor="root")


async def test_one_process_alone_waits_for_nobody(world: World) -> None:
    done = await world.revocations.revoke(RevokedKind.ALL, "*", "r", "root", wait_for_all=True)
    assert done.reach == Reach((), ())


class Blind(FollowedRevocations):
    """A view that cannot be read back."""

    async def refresh(self) -> None:
        raise StoreUnavailable("the connection broke")


@pytest.mark.attack("R1", "R3")
async def test_a_revocation_that_cannot_be_read_back_stands_and_is_said_to(world: World) -> None:
    subject = world.subject((await world.token()).access_token)
    blind = Blind(world.store, world.clock)
    service = RevocationService(
        world.store, blind, world.clock, world.clients, (world.gateway, world.admin)
    )
    with pytest.raises(RevokedUnread) as told:
        await service.revoke(RevokedKind.AGENT, "a1", "compromised", "root")
    assert "stands" in told.value.told
    with pytest.raises(StaleRevocations):
        blind.revoked(subject)  # this process lets nobody through meanwhile
    await world.view.refresh()
    assert world.view.revoked(subject) is RevokedKind.AGENT, "every other process enforces it"
    assert len(await world.revocations.page()) == 1
