"""Every lease is on record, and ends; an agent whose lease cannot be ended waits (R6)."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.lease_source import FakeSource
from tests.support.governance import World, world

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
from cryogate.gateway.leases import Leases, key_of
from cryogate.governance.alerts import AlertBook
from cryogate.governance.holds import FollowedHolds
from cryogate.ports.credentials import LeaseNotRevoked, LeaseTerms, LeaseUnavailable
from cryogate.ports.holds import HoldKind

TERMS = LeaseTerms("ionq", "ionq:qpu.forte-1", "e1", "a1", "s1")


class Desk:
    def __init__(self, made: World) -> None:
        self.world, self.source = made, FakeSource(made.clock)
        self.alerts = AlertBook(made.store, made.clock)
        self.holds = FollowedHolds(made.store)
        sealer = EnvelopeSealer(master_key(Secret(b"k" * 32)))
        self.secrets = StoredSecrets(made.store, sealer, made.clock)
        static = StaticKeys(self.secrets, made.clock)
        self.desk = self.open({"ionq": self.source, "static": static})

    def open(self, sources: dict[str, FakeSource | StaticKeys]) -> LeaseDesk:
        return LeaseDesk(
            store=self.world.store, clock=self.world.clock, sources=sources,
            local=EmbeddedLeases(self.world.clock), alerts=self.alerts, holder="single",
            held_changed=self.holds.refresh,
        )  # fmt: skip

    async def states(self) -> list[tuple[str, int]]:
        return [(lease.state, lease.attempts) for lease in await self.desk.list(None, 50)]

    async def actions(self) -> list[str]:
        return [e["action"] for e in await self.world.events() if e["action"].startswith("lease.")]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with world(tmp_path) as made:
        yield Desk(made)


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
    assert await desk.states() == [("active", 0), ("revoked", 0)] or set(await desk.states()) == {
        ("active", 0), ("revoked", 0)}  # fmt: skip
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
    await desk.open({"ionq": desk.source}).start()
    assert await desk.states() == [("revoked", 0)]


@pytest.mark.attack("S1")
async def test_a_back_end_that_fails_gives_nothing_and_tells(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.source.down = True
    with caplog.at_level(logging.DEBUG), pytest.raises(LeaseUnavailable) as told:
        await desk.desk.lease(TERMS, 300)
    assert await desk.states() == [("failed", 0)]
    await desk.alerts.flush()
    assert "canary-key" not in caplog.text + str(told.value) + json.dumps(await desk.world.events())
    with pytest.raises(LeaseUnavailable):
        await desk.desk.lease(LeaseTerms("unknown"), 300)


@pytest.mark.parametrize("life_ms", [-1, 0, 13 * 3_600_000])
async def test_a_credential_that_ends_at_no_sensible_time_is_refused(
    desk: Desk, life_ms: int
) -> None:
    desk.source.life_ms = life_ms
    with pytest.raises(LeaseUnavailable):
        await desk.desk.lease(TERMS, 300)


async def test_secrets_are_kept_rotated_and_removed(desk: Desk) -> None:
    secrets, terms = desk.secrets, dataclasses.replace(TERMS, scheme="static")
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
