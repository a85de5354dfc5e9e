"""Every lease is on record, and ends; an agent whose lease cannot be ended waits (R6)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec import structs
from tests.fakes.lease_source import FakeSource
from tests.support.governance import OWNER, World, opened, world
from tests.support.postgres import PostgresServer

from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.credentials import (
    EmbeddedLeases,
    EnvelopeSealer,
    LeaseDesk,
    StaticKeys,
    StoredSecrets,
)
from cryogate.credentials.master_key import master_key
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.secrets import Secret
from cryogate.gateway.lease_ends import over
from cryogate.gateway.leases import Key, Leases, key_of
from cryogate.governance.alerts import AlertBook
from cryogate.governance.experiments import ExperimentChange
from cryogate.governance.holds import FollowedHolds
from cryogate.ports.credentials import LeaseNotRevoked, LeaseTerms, LeaseUnavailable
from cryogate.ports.holds import HoldKind
from cryogate.ports.revocations import Subject
from cryogate.ports.store import Store

TERMS = LeaseTerms("ionq", "ionq:qpu.forte-1", "e1", "a1", "s1")


class Desk:
    """One replica's, and through `another` a second one's, on PostgreSQL with its own store."""

    def __init__(self, made: World, stack: AsyncExitStack, folder: Path, dsn: str | None) -> None:
        self._stack, self._folder, self._dsn = stack, folder, dsn
        self.world, self.source = made, FakeSource(made.clock)
        self.alerts = AlertBook(made.store, made.clock)
        self.holds = FollowedHolds(made.store)
        sealer = EnvelopeSealer(master_key(Secret(b"k" * 32)))
        self.secrets = StoredSecrets(made.store, sealer, made.clock)
        static = StaticKeys(self.secrets, made.clock)
        self.desk = self.open({"ionq": self.source, "static": static})

    def open(
        self,
        sources: dict[str, FakeSource | StaticKeys],
        holder: str = "single",
        store: Store | None = None,
    ) -> LeaseDesk:
        return LeaseDesk(
            store=store or self.world.store, clock=self.world.clock, sources=sources,
            local=EmbeddedLeases(self.world.clock), alerts=self.alerts, holder=holder,
            held_changed=self.holds.refresh,
        )  # fmt: skip

    async def another(self) -> LeaseDesk:
        store = self.world.store
        if self._dsn is not None:
            store = opened(self._folder, self.world.clock, self._dsn)
            await store.open()
            self._stack.push_async_callback(store.close)
        return self.open({"ionq": self.source}, "another", store)

    async def told(self) -> list[tuple[str, str]]:
        await self.alerts.flush()
        rows = await self.world.store.fetch(
            "alerts_page", {"state": None, "before_ms": 2**53, "before_id": "~", "limit": 9}
        )
        return [(str(row["kind"]), str(row["subject"])) for row in rows]

    async def states(self) -> list[tuple[str, int]]:
        return [(lease.state, lease.attempts) for lease in await self.desk.list(None, 50)]

    async def actions(self) -> list[str]:
        return [e["action"] for e in await self.world.events() if e["action"].startswith("lease.")]


@pytest.fixture(params=["sqlite", "postgres"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        dsn = None
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            dsn = await server.create()
            stack.push_async_callback(server.drop, dsn)
        made = await stack.enter_async_context(world(tmp_path, dsn=dsn))
        yield Desk(made, stack, tmp_path, dsn)


async def test_a_lease_is_issued_used_again_and_given_back(desk: Desk) -> None:
    clock = desk.world.clock
    leases = Leases(desk.desk, clock, 300, idle_ms=60_000)
    first = await leases.get(TERMS)
    assert first.terms.cost_center == "cc"
    assert (await leases.get(TERMS)).lease_id == first.lease_id
    other = await leases.get(LeaseTerms("ionq", "ionq:qpu.forte-1", "e1", "a2"))
    assert other.lease_id != first.lease_id, "agents do not share"
    clock.advance(s=61)
    await leases.tidy({key_of(TERMS)})
    assert sorted(await desk.states()) == [("active", 0), ("revoked", 0)]
    assert set(desk.source.live) == {first.lease_id}
    await leases.end()
    assert desk.source.live == {}
    assert await desk.actions() == ["lease.issued", "lease.issued", "lease.revoked",
                                    "lease.revoked"]  # fmt: skip


@pytest.mark.parametrize("prolongs", [True, False])
async def test_a_lease_is_prolonged_or_replaced_while_jobs_wait(desk: Desk, prolongs: bool) -> None:
    desk.source.prolongs = prolongs
    leases = Leases(desk.desk, desk.world.clock, 300)
    first = await leases.get(TERMS)
    desk.world.clock.advance(s=280)
    second = await leases.get(TERMS)
    assert (second.lease_id == first.lease_id) is prolongs
    assert second.expires_ms == desk.world.clock.now_ms() + 300_000
    assert list(desk.source.live) == [second.lease_id]


async def test_local_leases_cost_no_write(desk: Desk) -> None:
    lease = await desk.desk.lease(LeaseTerms("local", "local:null", "e1", "a1"), 60)
    await desk.desk.revoke(lease.lease_id)
    assert await desk.states() == []


async def test_what_lapses_is_recorded(desk: Desk) -> None:
    lease = await desk.desk.lease(TERMS, 60)
    desk.world.clock.advance(s=61)
    await desk.desk.sweep()
    assert await desk.states() == [("expired", 0)]
    assert desk.desk.ended(lease.lease_id)


@pytest.mark.attack("R6")
async def test_a_lease_that_cannot_be_ended_is_tried_again_and_holds_its_agent(desk: Desk) -> None:
    lease = await desk.desk.lease(TERMS, 300)
    desk.source.stuck = True
    with pytest.raises(LeaseNotRevoked):
        await desk.desk.revoke(lease.lease_id)
    held = desk.holds.of("a1")
    assert held is not None
    assert held.kind is HoldKind.SUSPEND
    assert held.alert_id == lease.lease_id
    assert desk.holds.of("a2") is None
    assert desk.desk.ended(lease.lease_id), "this process does not use it again"
    await desk.alerts.flush()
    rows = await desk.world.store.fetch(
        "alerts_page", {"state": None, "before_ms": 2**53, "before_id": "~", "limit": 9}
    )
    assert [(r["kind"], r["subject"], r["severity"]) for r in rows] == [
        ("lease_not_revoked", "a1", "critical")
    ]
    assert "canary-key" not in str(rows[0]["evidence"])

    await desk.desk.sweep()
    assert len(desk.source.tried) == 1, "it is not due yet"
    desk.world.clock.advance(s=3)
    await desk.desk.sweep()
    assert await desk.states() == [("revoking", 2)]
    assert desk.holds.of("a1") is not None

    desk.source.stuck = False
    desk.world.clock.advance(s=10)
    await desk.desk.sweep()
    assert await desk.states() == [("revoked", 2)]
    assert desk.source.live == {}
    assert desk.holds.of("a1") is None, "the hold lifts by itself"
    assert await desk.actions() == ["lease.issued", "lease.not_revoked", "lease.not_revoked",
                                    "lease.revoked"]  # fmt: skip


@pytest.mark.attack("R6")
async def test_a_hold_ends_when_the_credential_has_lapsed(desk: Desk) -> None:
    lease = await desk.desk.lease(TERMS, 60)
    desk.source.stuck = True
    with pytest.raises(LeaseNotRevoked):
        await desk.desk.revoke(lease.lease_id)
    desk.world.clock.advance(s=61)
    await desk.desk.sweep()
    assert await desk.states() == [("expired", 1)]
    assert desk.holds.of("a1") is None


@pytest.mark.attack("R6")
async def test_a_crash_between_wish_and_vendor_is_taken_up(desk: Desk) -> None:
    lease = await desk.desk.lease(TERMS, 300)
    await desk.world.run("lease_revoking", lease_id=lease.lease_id, next_ms=0)  # and then it died
    await desk.open({"ionq": desk.source}).sweep()
    assert await desk.states() == [("revoked", 0)]
    assert desk.source.live == {}


async def test_a_successor_ends_what_its_predecessor_held(desk: Desk) -> None:
    await desk.desk.lease(TERMS, 300)
    successor = desk.open({"ionq": desk.source})
    await successor.start()
    assert await desk.states() == [("revoking", 0)]
    await successor.sweep()
    assert await desk.states() == [("revoked", 0)]


@pytest.mark.attack("S1")
async def test_a_back_end_that_fails_gives_nothing_and_tells(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.source.down = True
    with caplog.at_level(logging.DEBUG), pytest.raises(LeaseUnavailable) as told:
        await desk.desk.lease(TERMS, 300)
    assert await desk.states() == [("failed", 0)]
    assert await desk.told() == [("no_credential", "ionq")]
    assert "canary-key" not in caplog.text + str(told.value) + json.dumps(await desk.world.events())
    with pytest.raises(LeaseUnavailable):
        await desk.desk.lease(LeaseTerms("unknown"), 300)
    assert ("no_credential", "unknown") in await desk.told()


@pytest.mark.parametrize("life_ms", [-1, 0, 13 * 3_600_000])
async def test_a_credential_that_ends_at_no_sensible_time_is_refused(
    desk: Desk, life_ms: int
) -> None:
    desk.source.life_ms = life_ms
    with pytest.raises(LeaseUnavailable):
        await desk.desk.lease(TERMS, 300)


async def test_secrets_are_kept_rotated_and_removed(desk: Desk) -> None:
    secrets, terms = desk.secrets, structs.replace(TERMS, scheme="static")
    secrets.changed = desk.desk.revoke_all
    with pytest.raises(LeaseUnavailable):
        await desk.desk.lease(terms, 60)
    await secrets.add("static", "", Secret(b"one"), "operator:admin")
    with pytest.raises(Conflict):
        await secrets.add("static", "", Secret(b"two"), "operator:admin")
    first = await desk.desk.lease(terms, 60)
    assert first.secret.reveal() == b"one"
    assert (await secrets.rotate("static", "", Secret(b"two"), "operator:admin")).version == 2
    assert desk.desk.ended(first.lease_id), "leases of the old value are over"
    assert (await desk.desk.lease(terms, 60)).secret.reveal() == b"two"
    await secrets.add("static", "e1", Secret(b"own"), "operator:admin")
    assert (await desk.desk.lease(terms, 60)).secret.reveal() == b"own"
    await secrets.remove("static", "e1", "operator:admin")
    assert (await desk.desk.lease(terms, 60)).secret.reveal() == b"two"
    await secrets.remove("static", "", "operator:admin")
    with pytest.raises(NotFound):
        await secrets.remove("static", "", "operator:admin")
    for scheme, experiment_id, value in (
        ("local", "", b"x"), ("Ion Q", "", b"x"), ("ionq", "../e", b"x"), ("ionq", "", b""),
        ("ionq", "", b"x" * 20_000),
    ):  # fmt: skip
        with pytest.raises(Malformed):
            await secrets.add(scheme, experiment_id, Secret(value), "operator:admin")


@pytest.mark.attack("S1")
async def test_an_old_value_put_back_does_not_open(desk: Desk) -> None:
    await desk.secrets.add("static", "", Secret(b"one"), "operator:admin")
    row = await desk.world.row("vendor_secret_value", scheme="static", experiment_id="")
    assert "one" not in str(row["sealed"])
    await desk.secrets.rotate("static", "", Secret(b"two"), "operator:admin")
    now = await desk.world.row("vendor_secret_value", scheme="static", experiment_id="")
    await desk.world.run(
        "vendor_secret_rewrap", item="static", part="", sealed=row["sealed"], was=now["sealed"]
    )
    with pytest.raises(LeaseUnavailable, match="does not open"):
        await desk.secrets.value("static", "e1")
    with pytest.raises(LeaseUnavailable):
        await desk.desk.lease(structs.replace(TERMS, scheme="static"), 60)
    assert await desk.told() == [("no_credential", "static")]


# -- two replicas ---------------------------------------------------------------------------------


async def test_of_two_replicas_one_tries_again(desk: Desk) -> None:
    lease = await desk.desk.lease(TERMS, 300)
    desk.source.stuck = True
    with pytest.raises(LeaseNotRevoked):
        await desk.desk.revoke(lease.lease_id)
    other = await desk.another()
    desk.world.clock.advance(s=3)
    await asyncio.gather(desk.desk.sweep(), other.sweep())
    assert len(desk.source.tried) == 2, "one call each time, not one from everybody"
    desk.source.stuck = False
    desk.world.clock.advance(s=60)
    await asyncio.gather(other.sweep(), desk.desk.sweep(), other.sweep())
    assert await desk.states() == [("revoked", 2)]
    assert len(desk.source.tried) == 3


@pytest.mark.attack("R6")
async def test_what_one_replica_has_ended_the_other_stops_using(desk: Desk) -> None:
    leases = Leases(desk.desk, desk.world.clock, 300)
    first = await leases.get(TERMS)
    other = await desk.another()
    assert (await other.revoke_by(first.lease_id, "operator:admin")).state == "revoked"
    assert (await leases.get(TERMS)).lease_id == first.lease_id, "it does not know yet"
    await desk.desk.sweep()
    assert desk.desk.ended(first.lease_id)
    second = await leases.get(TERMS)
    assert second.lease_id != first.lease_id
    assert list(desk.source.live) == [second.lease_id]


async def test_a_rotation_is_felt_by_every_replica(desk: Desk) -> None:
    terms = structs.replace(TERMS, scheme="static")
    await desk.secrets.add("static", "", Secret(b"one"), "operator:admin")
    leases = Leases(desk.desk, desk.world.clock, 300)
    assert (await leases.get(terms)).secret.reveal() == b"one"
    other = await desk.another()
    desk.secrets.changed = desk.open(
        {"static": StaticKeys(desk.secrets, desk.world.clock)}, "another", other._store
    ).revoke_all
    await desk.secrets.rotate("static", "", Secret(b"two"), "operator:admin")
    await desk.desk.sweep()
    assert (await leases.get(terms)).secret.reveal() == b"two"


async def test_two_replicas_renew_at_once_and_lose_nothing(desk: Desk) -> None:
    other, clock = await desk.another(), desk.world.clock
    desk.source.prolongs = True
    mine, theirs = Leases(desk.desk, clock, 300), Leases(other, clock, 300)
    held = [await mine.get(TERMS), await theirs.get(TERMS)]
    clock.advance(s=280)
    again = await asyncio.gather(*(of.get(TERMS) for of in (mine, theirs) for _ in range(8)))
    assert {lease.lease_id for lease in again} == {lease.lease_id for lease in held}
    assert {lease.expires_ms for lease in again} == {clock.now_ms() + 300_000}
    clock.advance(s=301)
    await asyncio.gather(desk.desk.sweep(), other.sweep())
    assert await desk.states() == [("expired", 0), ("expired", 0)]
    assert (await desk.actions()).count("lease.expired") == 2


# -- credentials that come too late, and processes that stop ---------------------------------------


@pytest.mark.attack("R6")
@pytest.mark.parametrize("stuck", [False, True])
async def test_a_credential_that_comes_after_its_end_is_ended(desk: Desk, stuck: bool) -> None:
    desk.source.gate = asyncio.Event()
    asked = asyncio.create_task(desk.desk.lease(TERMS, 300))
    await desk.source.asked.wait()
    await desk.desk.revoke_all("ionq", "")  # the secret is rotated while its credential is made
    desk.source.stuck = stuck
    desk.source.gate.set()
    with pytest.raises(LeaseUnavailable):
        await asked
    await desk.desk.sweep()
    assert bool(desk.source.live) is stuck
    assert (desk.holds.of("a1") is not None) is stuck
    desk.source.stuck = False
    desk.world.clock.advance(s=30)
    await desk.desk.sweep()
    assert desk.source.live == {}
    assert desk.holds.of("a1") is None
    assert [state for state, _ in await desk.states()] == ["revoked"]


async def test_a_process_that_stops_gives_everything_back(desk: Desk) -> None:
    await desk.desk.lease(TERMS, 300)
    await desk.desk.lease(LeaseTerms("ionq"), 300)
    await desk.desk.close()
    assert desk.source.live == {}
    assert await desk.states() == [("revoked", 0), ("revoked", 0)]


async def test_a_vendor_that_hangs_does_not_keep_a_process_from_stopping(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryogate.credentials.lease_desk._CLOSE_S", 0.01)
    monkeypatch.setattr(Leases, "_END_S", 0.01)
    desk.source.hangs = True
    leases = Leases(desk.desk, desk.world.clock, 300)
    await leases.get(TERMS)
    await leases.end()
    await desk.desk.lease(TERMS, 300)
    await desk.desk.close()
    assert {state for state, _ in await desk.states()} == {"revoking"}
    desk.source.hangs = False
    desk.world.clock.advance(s=30)
    await (await desk.another()).sweep()
    assert {state for state, _ in await desk.states()} == {"revoked"}
    assert desk.source.live == {}


# -- a back end that fails while jobs wait ---------------------------------------------------------


async def test_a_lease_that_cannot_be_prolonged_serves_to_its_end(desk: Desk) -> None:
    clock, leases = desk.world.clock, Leases(desk.desk, desk.world.clock, 300)
    first = await leases.get(TERMS)
    desk.source.down = desk.source.breaks = True
    clock.advance(s=280)
    for _ in range(3):
        assert (await leases.get(TERMS)).lease_id == first.lease_id
    assert len(desk.source.asked_for) == 2, "a back end that is down is left alone for a while"
    assert await desk.told() == [("no_credential", "ionq")]
    clock.advance(s=21)
    with pytest.raises(LeaseUnavailable, match="no credential for ionq"):
        await leases.get(TERMS)
    desk.source.down = desk.source.breaks = False
    clock.advance(s=6)
    assert (await leases.get(TERMS)).lease_id != first.lease_id


async def test_leases_are_listed_by_state(desk: Desk) -> None:
    await desk.desk.lease(TERMS, 300)
    await desk.desk.lease(TERMS, 300)
    lease = await desk.desk.lease(TERMS, 300)
    await desk.desk.revoke(lease.lease_id)
    assert [found.lease_id for found in await desk.desk.list("revoked", 9)] == [lease.lease_id]
    assert len(await desk.desk.list("active", 9)) == 2
    assert len(await desk.desk.list(None, 2)) == 2


# -- the end of what a lease is for ----------------------------------------------------------------


@pytest.mark.attack("R2")
@pytest.mark.parametrize(
    "ends",
    [
        lambda w: w.run("close_session", session_id="s1", agent_id="a1", experiment_id="e1"),
        lambda w: _later(w, 1001),
        lambda w: w.experiments.update("e1", ExperimentChange(closed=True), "operator:admin"),
        lambda w: w.run("leases_test_disable", agent_id="a1"),
    ],
    ids=["session closed", "session expired", "experiment closed", "agent disabled"],
)
async def test_a_lease_ends_with_what_it_was_for(
    desk: Desk, ends: Callable[[World], Awaitable[object]]
) -> None:
    await _ends(desk, ends)


@pytest.mark.attack("R2")
@pytest.mark.parametrize("desk", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "subject"),
    [("token", "t1"), ("agent", "a1"), ("session", "s1"), ("owner", OWNER), ("all", "*")],
)
async def test_a_lease_ends_when_its_user_is_revoked(desk: Desk, kind: str, subject: str) -> None:
    await _ends(desk, lambda made: _revoke(made, kind, subject))


async def _ends(desk: Desk, ends: Callable[[World], Awaitable[object]]) -> None:
    made = desk.world
    revocations = FollowedRevocations(made.store, made.clock, max_age_ms=10**9)
    user = Subject("t1", "a1", OWNER, "e1", made.clock.now_ms(), "s1")
    leases = Leases(desk.desk, made.clock, 3600, idle_ms=10**9)
    await leases.get(TERMS, user)
    key = key_of(TERMS)

    async def tidy(*in_use: Key) -> int:
        await revocations.refresh()
        gone = await over(made.store, revocations, made.clock, leases.idle(in_use))
        await leases.tidy(in_use, gone)
        return len(desk.source.live)

    assert await tidy() == 1, "nothing is over yet"
    await ends(made)
    assert await tidy(key) == 1, "a job at the vendor could not be cancelled without it"
    assert await tidy() == 0
    assert [state for state, _ in await desk.states()] == ["revoked"]


async def _later(made: World, s: int) -> None:
    made.clock.advance(s=s)


async def _revoke(made: World, kind: str, subject: str) -> None:
    made.clock.advance(s=1)
    await made.run("leases_test_revoke", kind=kind, subject=subject, now_ms=made.clock.now_ms())
