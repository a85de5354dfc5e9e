"""From an accepted job to its end: once, only if it may, and on the record before it happens."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.governance import PAYER, World, hold_of, world
from tests.support.postgres import PostgresServer

from cryogate.broker.replicas import Replicas
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.circuits import (
    SECOND_OPINION_ENTRYPOINT,
    Dialect,
    Format,
    GuardedPool,
    Program,
    emit,
    parse_flat,
)
from cryogate.credentials import EmbeddedLeases
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.gateway.breaker import BreakerState, BreakerView
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch import Dispatcher, DispatchLimits
from cryogate.gateway.dispatch_job import Job, job_of
from cryogate.gateway.handover import Ticket
from cryogate.gateway.places import Places
from cryogate.gateway.second_reading import SecondReader
from cryogate.ports.credentials import Lease, LeaseIssuer, LeaseTerms
from cryogate.ports.provider import (
    Backend,
    Ended,
    Provider,
    ProviderError,
    Submission,
    VendorState,
    VendorStatus,
)
from cryogate.ports.store import GuardFailed, Statement, UnitOfWork
from cryogate.providers import LocalProvider
from cryogate.testing.provider import FakeProvider

PROGRAM: Program = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\n'
    b"measure q[0] -> c[0];\nmeasure q[1] -> c[1];\n",
    Format.OPENQASM2,
)
_LOCAL = [
    Backend(name, "local", True, 32, 10**6, frozenset(), frozenset())
    for name in ("local:null", "local:aer")
]
SQL = Path(__file__).parent.parent / "support" / "dispatch_sql"


class Scene:
    """A world with jobs in it, and dispatchers over it."""

    def __init__(self, made: World) -> None:
        self.world = made
        self.vendor = FakeProvider()
        self.changes, self.places = JobChanges(), Places()
        self.open: list[Dispatcher] = []
        self.told: list[Event] = []
        self.opened: asyncio.Queue[BreakerView] = asyncio.Queue()
        self.other_parser = SECOND_OPINION_ENTRYPOINT

    async def queue(
        self, job_id: str = "j1", *, backend: str = "local:null", text: str | None = None
    ) -> None:
        hold = hold_of(job_id)
        await self.world.reserve(hold)
        await self.world.run(
            "dispatch_test_program",
            job_id=job_id, backend=backend,
            program=PROGRAM.to_bytes().decode() if text is None else text,
            circuit_sha256=PROGRAM.fingerprint,
        )  # fmt: skip

    async def dispatcher(
        self,
        provider: Provider | None = None,
        name: str = "r1",
        revocations: FollowedRevocations | None = None,
        *,
        heartbeats: bool = False,
        leases: LeaseIssuer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        questions_per_s: int = 100,
    ) -> Dispatcher:
        provider = provider or self.vendor
        devices = {d.name: d for d in (*_LOCAL, *await provider.backends())}
        if revocations is None:
            revocations = FollowedRevocations(self.world.store, self.world.clock, max_age_ms=10**9)
            await revocations.refresh()
        made = Dispatcher(
            store=self.world.store,
            clock=self.world.clock,
            providers={provider.scheme: provider},
            leases=leases or EmbeddedLeases(self.world.clock),
            places=self.places,
            ledger=self.world.ledger,
            revocations=revocations,
            changes=self.changes,
            devices=lambda: devices,
            reader=SecondReader(GuardedPool(self.other_parser, request_timeout_s=60.0)),
            replica_id=name,
            limits=DispatchLimits(quiet_ms=0, drain_ms=0, questions_per_s=questions_per_s),
            told=self.told.append,
            opened=self.opened.put_nowait,
            heartbeats=heartbeats,
            sleep=sleep,
        )
        await made.start()
        self.open.append(made)
        return made

    async def accept(
        self, dispatcher: Dispatcher, job_id: str = "j1", backend: str = "local:fake"
    ) -> tuple[Ticket, Job]:
        """Accept a job with a ticket, as `JobService` does; who calls hands it over, or dies."""
        ticket = dispatcher.handover.offer(backend)
        assert ticket is not None
        hold, now_ms = hold_of(job_id), self.world.clock.now_ms()
        accept = self.world.accepted(hold, now_ms)
        params = {
            **accept.params, **ticket.claim(), "backend": backend,
            "state": "dispatching" if ticket.intended else "queued",
            "circuit_sha256": PROGRAM.fingerprint, "program": PROGRAM.to_bytes().decode(),
        }  # fmt: skip
        new = {"vendor_id": None, "failure": None, "updated_ms": now_ms, "program": None}
        job = job_of({**params, **new})
        events: tuple[Event, ...] = ()
        if ticket.intended:
            events = (job.event("job.dispatching", Outcome.INTENT, now_ms),)
        reserve = self.world.ledger.reserve(hold, PAYER, now_ms)
        work = UnitOfWork((accept._replace(params=params), *reserve), events)
        await self.world.store.commit(work)
        return ticket, job

    async def revoke(self, kind: str, subject: str) -> None:
        now_ms = self.world.clock.now_ms()
        await self.world.run("dispatch_test_revoke", kind=kind, subject=subject, now_ms=now_ms)

    async def actions(self) -> list[str]:
        return [event["action"] for event in await self.world.events()]


@pytest.fixture(params=["sqlite", "postgres"])
async def scene(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    monkeypatch.setattr("tests.support.governance.SQL_DIR", _merged(tmp_path))
    async with AsyncExitStack() as stack:
        dsn = None
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            dsn = await server.create()
            stack.push_async_callback(server.drop, dsn)
        found = Scene(await stack.enter_async_context(world(tmp_path, dsn=dsn)))
        yield found
        for dispatcher in found.open:
            await dispatcher.close()


def _merged(tmp_path: Path) -> Path:
    from cryogate.storage.statements import SQL_DIR

    merged = tmp_path / "sql"
    merged.mkdir()
    for file in (*SQL_DIR.glob("*.sql"), *SQL.glob("*.sql")):
        (merged / file.name).write_text(file.read_text())
    return merged


async def test_a_null_job_runs_settles_and_leaves_its_result(scene: Scene) -> None:
    local = LocalProvider()
    await scene.queue()
    dispatcher = await scene.dispatcher(local)
    await dispatcher.turn()
    await dispatcher.settled()
    row = await scene.world.job_row()
    assert (row["state"], row["hold"], row["cost_actual_cents"]) == ("done", "settled", 100)
    result = await scene.world.row("result_of_job", job_id="j1")
    assert result["counts"] == '{"00":10}'
    assert (await scene.world.budget()).held_cents == 0
    await local.close()


@pytest.mark.attack("B4")
@pytest.mark.parametrize(
    ("cost", "action", "charged"),
    [
        (250, "budget.overrun", 250),
        (None, "budget.bound_charged", 100),
        (-5, "budget.bound_charged", 100),
    ],
)
async def test_a_bill_that_was_not_expected_is_alarmed_and_a_higher_one_blocks(
    scene: Scene, cost: int | None, action: str, charged: int
) -> None:
    scene.vendor.cost_cents = cost
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    assert (await scene.world.job_row())["cost_actual_cents"] == charged
    assert [event.action for event in scene.told] == [action]
    view = await scene.world.budget()
    assert (view.held_cents, view.spent_cents) == (0, charged)
    assert view.blocked == ("overrun j1" if cost == 250 else "")
    assert (await scene.world.books.check()).balanced


async def test_a_simulated_job_runs_end_to_end(scene: Scene) -> None:
    local = LocalProvider()
    await scene.queue(backend="local:aer")
    dispatcher = await scene.dispatcher(local)
    await dispatcher.turn()
    await dispatcher.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert (await scene.actions())[-3:] == ["job.dispatching", "job.submitted", "job.done"]
    await local.close()


class Safe(LeaseIssuer):
    """A secret store that is shut now and then."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.shut = scene, False
        self.given: list[LeaseTerms] = []

    async def _issue(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        if self.shut:
            raise ConnectionError("shut")
        self.given.append(terms)
        until_ms = self.scene.world.clock.now_ms() + ttl_s * 1000
        return Lease(f"l{len(self.given)}", terms.scheme, until_ms, Secret(b"k"), terms)

    async def revoke(self, lease_id: str) -> None:
        return


async def test_without_a_credential_a_job_waits_and_says_why(scene: Scene) -> None:
    safe = Safe(scene)
    safe.shut = True
    await scene.queue()
    dispatcher = await scene.dispatcher(leases=safe)
    for _ in range(8):  # more often than there are attempts
        await dispatcher.turn()
        await dispatcher.settled()
        scene.world.clock.advance(s=60)
    row = await scene.world.job_row()
    assert (row["state"], row["hold"], row["failure"]) == ("queued", "held", None)
    assert scene.places.waits("j1") == "no_credential"
    assert scene.vendor.calls == []
    assert await scene.actions() == ["job.waiting"], "said once, and no attempt is used up"
    safe.shut = False
    await dispatcher.turn()
    await dispatcher.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert scene.places.waits("j1") is None


@pytest.mark.attack("R2")
async def test_who_is_revoked_gets_no_credential(scene: Scene) -> None:
    safe = Safe(scene)
    await scene.queue()
    await scene.revoke("agent", "a1")
    dispatcher = await scene.dispatcher(leases=safe)
    await dispatcher.turn()
    await dispatcher.settled()
    assert safe.given == []


@pytest.mark.attack("L3")
async def test_the_intent_is_on_disk_before_the_vendor_hears_of_the_job(scene: Scene) -> None:
    seen: list[Any] = []

    async def look(submission: Submission) -> None:
        seen.append((await scene.actions(), (await scene.world.job_row())["state"]))

    scene.vendor.before_submit = look
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    assert seen == [(["job.dispatching"], "dispatching")]


@pytest.mark.attack("R2")
@pytest.mark.parametrize(
    ("kind", "subject"),
    [("token", "t1"), ("agent", "a1"), ("experiment", "e1"), ("all", "*")],
)
async def test_a_revoked_job_never_reaches_a_vendor(scene: Scene, kind: str, subject: str) -> None:
    dispatcher = await scene.dispatcher()
    await scene.queue()
    # After the process last read the feed: only the database knows.
    await scene.revoke(kind, subject)
    await dispatcher.turn()
    await dispatcher.settled()
    row = await scene.world.job_row()
    assert (row["state"], row["hold"]) == ("revoked", "released")
    assert scene.vendor.calls == []
    assert (await scene.world.budget()).held_cents == 0


@pytest.mark.attack("R2")
async def test_a_job_at_the_vendor_is_stopped_there(scene: Scene) -> None:
    scene.vendor.auto = False
    await scene.queue()
    dispatcher = await scene.dispatcher()
    with scene.changes.watch("j1") as watch:
        await dispatcher.turn()
        assert await watch.changed(10)
    assert (await scene.world.job_row())["state"] == "running"
    await scene.revoke("agent", "a1")
    scene.world.clock.advance(s=60)
    await dispatcher.turn()
    await dispatcher.settled()
    assert scene.vendor.cancelled == ["fake-j1"]
    assert (await scene.world.job_row())["state"] == "revoked"


@pytest.mark.attack("P2")
async def test_two_replicas_send_a_job_once(scene: Scene) -> None:
    for n in range(8):
        await scene.queue(f"j{n}")
    one, two = await scene.dispatcher(name="r1"), await scene.dispatcher(name="r2")
    await one.turn()
    await two.turn()
    await one.settled()
    await two.settled()
    assert sorted(s.job_id for s in scene.vendor.submitted) == [f"j{n}" for n in range(8)]


@pytest.mark.attack("P2")
async def test_an_old_claimant_cannot_send(scene: Scene) -> None:
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    # Another replica claims between this one's claim and its intent.
    await scene.world.run("dispatch_test_steal", job_id="j1")
    await dispatcher.settled()
    row = await scene.world.row("dispatch_job", job_id="j1")
    assert scene.vendor.calls == []
    assert row["state"] == "queued"


@pytest.mark.attack("P2")
async def test_a_lost_answer_is_looked_up_and_not_sent_again(scene: Scene) -> None:
    scene.vendor.lose_answer = 1
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    assert scene.vendor.calls == ["submit", "find"]
    assert (await scene.world.job_row())["state"] == "done"


@pytest.mark.attack("C5")
async def test_a_program_changed_in_storage_is_never_sent(scene: Scene) -> None:
    text = PROGRAM.to_bytes().decode().replace("h q[0]", "x q[0]")
    assert hashlib.sha256(text.encode()).hexdigest() != PROGRAM.fingerprint
    await scene.queue(text=text)
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    assert scene.vendor.calls == []
    row = await scene.world.job_row()
    assert (row["state"], row["failure"], row["hold"]) == ("failed", "program_mismatch", "released")
    assert "job.program_mismatch" in await scene.actions()


@pytest.mark.attack("C5")
async def test_the_vendor_gets_the_very_program_that_was_checked(scene: Scene) -> None:
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    (sent,) = scene.vendor.submitted
    assert sent.program.fingerprint == PROGRAM.fingerprint
    assert (sent.shots, sent.backend) == (10, "local:null")


async def _sent_to_hardware(scene: Scene, dialect: Dialect, jobs: tuple[str, ...]) -> Dispatcher:
    scene.vendor = FakeProvider(dialect=dialect)
    for job_id in jobs:
        await scene.queue(job_id, backend="local:fake")
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    return dispatcher


@pytest.mark.attack("C5")
async def test_hardware_gets_bytes_that_another_parser_has_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    call = GuardedPool.call

    async def counted(self: GuardedPool, payload: bytes) -> bytes:
        asked.append(payload)
        return await call(self, payload)

    monkeypatch.setattr(GuardedPool, "call", counted)
    for dialect in (Dialect.OPENQASM3, Dialect.IONQ_JSON):
        jobs = (f"{dialect}1", f"{dialect}2")
        await _sent_to_hardware(scene, dialect, jobs)
        assert {sent.text for sent in scene.vendor.submitted} == {emit(PROGRAM, dialect)}
        assert [(await scene.world.job_row(j))["state"] for j in jobs] == ["done", "done"]
    # once for each dialect and not for each job
    assert len(asked) == 2


async def test_a_simulator_pays_for_no_second_opinion(scene: Scene) -> None:
    scene.other_parser = "no.such:module"
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert scene.vendor.submitted[0].text == b""


@pytest.mark.attack("C5")
@pytest.mark.parametrize(
    ("parser", "action", "reason"),
    [
        ("echo", "job.readers_disagree", "disagreement: openqasm2: another parser reads another"),
        ("dies", "job.unconfirmed", "unconfirmed: openqasm2: no second opinion"),
    ],
)
async def test_without_a_second_opinion_hardware_gets_nothing(
    scene: Scene, parser: str, action: str, reason: str
) -> None:
    scene.other_parser = f"tests.unit.circuits.entrypoints:{parser}"
    await _sent_to_hardware(scene, Dialect.OPENQASM2, ("j1",))
    assert scene.vendor.calls == []
    row = await scene.world.job_row()
    assert (row["state"], row["hold"]) == ("failed", "released")
    assert str(row["failure"]).startswith(reason)
    assert (await scene.world.budget()).held_cents == 0
    assert (await scene.actions()) == [action, "job.failed"]


async def test_without_a_worker_the_job_waits(scene: Scene) -> None:
    scene.other_parser = "no.such:module"
    await _sent_to_hardware(scene, Dialect.OPENQASM2, ("j1",))
    assert scene.vendor.calls == []
    assert (await scene.world.job_row())["state"] == "queued"


async def test_hardware_that_is_not_offered_any_more_gets_nothing(scene: Scene) -> None:
    await scene.queue(backend="local:gone")
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    await dispatcher.settled()
    row = await scene.world.job_row()
    assert (row["state"], row["failure"], row["hold"]) == (
        "failed", "backend_not_available", "released",
    )  # fmt: skip
    assert scene.vendor.calls == []


def test_hardware_without_a_dialect_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="dialect"):
        Backend("qpu:x", "qpu", False, 5, 100, frozenset(), frozenset())


async def test_a_waiting_job_is_cancelled_and_its_hold_released(scene: Scene) -> None:
    await scene.queue()
    dispatcher = await scene.dispatcher()
    await dispatcher.cancel("j1", "a1")
    await dispatcher.turn()
    row = await scene.world.job_row()
    assert (row["state"], row["hold"]) == ("cancelled", "released")
    assert scene.vendor.calls == []


class Deaf(FakeProvider):
    """Loses the first request to cancel, and takes note of the next one without acting on it."""

    async def wait(self, vendor_id: str, lease: Lease) -> VendorStatus | None:
        return None

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        self.cancelled.append(vendor_id)
        if len(self.cancelled) == 1:
            raise ProviderError("no answer", sent=True, retryable=True)
        if len(self.cancelled) == 3:
            self.end(vendor_id.removeprefix("fake-"), VendorState.CANCELLED)


async def test_a_cancel_is_asked_until_the_vendor_confirms_it(scene: Scene) -> None:
    states: list[object] = []

    async def wait(seconds: float) -> None:
        scene.world.clock.advance(ms=int(seconds * 1000) + 1)
        states.append((await scene.world.job_row())["state"])

    vendor = Deaf(auto=False)
    await scene.queue()
    dispatcher = await scene.dispatcher(vendor, sleep=wait)
    with scene.changes.watch("j1") as watch:
        await dispatcher.turn()
        assert await watch.changed(10)
    await dispatcher.cancel("j1", "a1")
    await dispatcher.settled()
    assert len(vendor.cancelled) == 3
    assert set(states) == {"running"}  # nothing is called cancelled before the vendor says so
    row = await scene.world.job_row()
    assert (row["state"], row["failure"], row["hold"]) == ("cancelled", "cancelled", "settled")
    assert (await scene.world.books.check()).balanced


async def test_a_parked_job_expires_with_its_approval(scene: Scene) -> None:
    hold = hold_of("j2")
    await scene.world.park(hold)
    scene.world.clock.advance(s=7 * 86_400)
    await scene.world.commit(
        Statement("dispatch_test_reopen", {"until_ms": scene.world.clock.now_ms() + 10**9})
    )
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    row = await scene.world.job_row("j2")
    assert (row["state"], row["failure"], row["hold"]) == (
        "expired", "approval_expired", "released",
    )  # fmt: skip


@pytest.mark.attack("R2")
async def test_a_revocation_reaches_jobs_without_waiting_for_a_sweep(scene: Scene) -> None:
    """No clock moves, so no sweep and no renewal is due: the view itself pushes."""
    scene.vendor.auto = False
    view = FollowedRevocations(scene.world.store, scene.world.clock, max_age_ms=10**9)
    await view.refresh()
    dispatcher = await scene.dispatcher(revocations=view)
    view.subscribe(dispatcher.heed)
    await scene.queue("j1")
    with scene.changes.watch("j1") as watch:
        await dispatcher.turn()
        assert await watch.changed(10)
    await scene.queue("j2")
    await scene.revoke("agent", "a1")
    await view.refresh()
    for _ in range(1000):
        dispatcher.heed()  # a storm: one look at the jobs in hand serves them all
    await dispatcher.settled()
    assert scene.vendor.cancelled == ["fake-j1"]
    await dispatcher.turn()
    for job_id in ("j1", "j2"):
        assert (await scene.world.job_row(job_id))["state"] == "revoked"
    assert len(scene.vendor.submitted) == 1


async def _killed(dispatcher: Dispatcher) -> None:
    """As by SIGKILL: nothing is given back."""
    for task in dispatcher._hands.tasks():
        task.cancel()
    await asyncio.gather(*dispatcher._hands.tasks(), return_exceptions=True)


@pytest.mark.attack("P2")
async def test_a_silent_replicas_jobs_are_taken_over_before_their_claims_end(scene: Scene) -> None:
    """A fresh replica has a fresh id: only the missing heartbeat tells that the old one is dead."""
    scene.vendor.auto = False
    await scene.queue()
    beats = [Replicas(scene.world.store, scene.world.clock, name, 2000) for name in ("r1", "r2")]
    for beat in beats:
        await beat.beat(0)
    one = await scene.dispatcher(name="r1", heartbeats=True)
    with scene.changes.watch("j1") as watch:
        await one.turn()
        assert await watch.changed(10)
    await _killed(one)
    two = await scene.dispatcher(name="r2", heartbeats=True)
    await two.turn()
    assert two._hands.ids() == []  # it has told that it lives
    scene.world.clock.advance(s=11)  # its claim lasts for another 49 s
    await beats[1].beat(0)
    await two.turn()
    assert two._hands.ids() == ["j1"]
    scene.vendor.end("j1")
    await two.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert len(scene.vendor.submitted) == 1


@pytest.mark.attack("P2", "B2")
async def test_a_silent_replica_may_still_be_sending(scene: Scene) -> None:
    """Its job is looked for at once, and sent again only when no call of its can be under way."""
    sent_ms: list[int] = []
    sending = asyncio.Event()
    intent_ms = scene.world.clock.now_ms()

    async def slow(submission: Submission) -> None:
        sent_ms.append(scene.world.clock.now_ms())
        sending.set()
        if len(sent_ms) == 1:
            await asyncio.Event().wait()  # and the process dies in it

    async def wait(seconds: float) -> None:
        scene.world.clock.advance(ms=int(seconds * 1000) + 1)
        await asyncio.sleep(0)

    scene.vendor.before_submit = slow
    await scene.queue()
    one = await scene.dispatcher(name="r1", heartbeats=True)
    await one.turn()
    await asyncio.wait_for(sending.wait(), 20)
    await _killed(one)
    scene.world.clock.advance(s=11)
    two = await scene.dispatcher(name="r2", heartbeats=True, sleep=wait)
    await two.turn()
    await two.settled()
    await two.turn()
    await two.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert len(sent_ms) == 2
    assert sent_ms[1] - intent_ms >= DispatchLimits().claim_ms
    assert scene.vendor.calls[1] == "find"


async def test_a_provider_that_is_down_is_left_alone_and_tried_again(scene: Scene) -> None:
    down = True

    async def maybe(submission: Submission) -> None:
        if down:
            raise ProviderError("not now", sent=False, retryable=True)

    scene.vendor.before_submit = maybe
    for n in range(8):
        await scene.queue(f"j{n}")
    dispatcher = await scene.dispatcher()
    while dispatcher.providers()[0].state is not BreakerState.OPEN:
        await dispatcher.turn()
        await dispatcher.settled()
        scene.world.clock.advance(s=1)
    assert dispatcher.degraded()
    tried = len(scene.vendor.calls)
    for _ in range(3):
        await dispatcher.turn()
        await dispatcher.settled()
    assert len(scene.vendor.calls) == tried
    down = False
    scene.world.clock.advance(s=60)
    await dispatcher.turn()
    await dispatcher.settled()
    assert len(scene.vendor.calls) == tried + 1  # half open: one job tries
    scene.world.clock.advance(s=60)
    await dispatcher.turn()
    await dispatcher.settled()
    assert not dispatcher.degraded()
    for n in range(8):
        assert (await scene.world.job_row(f"j{n}"))["state"] == "done"


class Silent(FakeProvider):
    """Takes jobs and says nothing more about them until ``speaks``."""

    speaks = False

    def ended(self, vendor_id: str) -> Ended | None:
        return None

    async def wait(self, vendor_id: str, lease: Lease) -> VendorStatus | None:
        return None

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        self.calls.append("status")
        if not self.speaks:
            raise ProviderError("no answer", sent=True, retryable=True)
        return await super().status(vendor_id, lease)


async def test_a_vendor_that_speaks_of_no_job_gets_no_more(scene: Scene) -> None:
    vendor = Silent()
    turns = asyncio.Event()

    async def sleep(seconds: float) -> None:
        turns.clear()
        await turns.wait()

    for n in range(5):
        await scene.queue(f"j{n}")
    dispatcher = await scene.dispatcher(vendor, sleep=sleep)
    await dispatcher.turn()
    opened = await scene.opened.get()
    assert (opened.provider, opened.silent_jobs) == ("local", 5)
    await scene.queue("late")
    await dispatcher.turn()
    assert (await scene.world.job_row("late"))["state"] == "queued"
    vendor.speaks = True
    while dispatcher.degraded():
        turns.set()
        await asyncio.sleep(0.01)
    await dispatcher.turn()
    turns.set()
    await dispatcher.settled()
    for job_id in ("late", *(f"j{n}" for n in range(5))):
        assert (await scene.world.job_row(job_id))["state"] == "done"


async def test_the_more_jobs_a_vendor_has_the_rarer_each_is_asked_for(scene: Scene) -> None:
    vendor = Silent(auto=False)
    vendor.speaks = True
    waits: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        waits.put_nowait(seconds)
        await asyncio.Event().wait()

    for n in range(8):
        await scene.queue(f"j{n}")
    dispatcher = await scene.dispatcher(vendor, sleep=sleep, questions_per_s=2)
    await dispatcher.turn()
    waited = [await waits.get() for _ in range(8)]
    assert min(waited[-4:]) >= 0.75 * 5 / 2  # at least five were watched when it began to wait
    assert max(waited) <= 1.25 * 8 / 2


# -- straight from acceptance (`handover`) ------------------------------------------------------


@pytest.mark.attack("L3")
async def test_a_job_handed_over_is_sent_after_its_intent_and_needs_no_turn(scene: Scene) -> None:
    async def look(submission: Submission) -> None:
        row = await scene.world.job_row()
        assert row["state"] == "dispatching"
        assert await scene.actions() == ["job.dispatching"]

    scene.vendor.before_submit = look
    dispatcher = await scene.dispatcher()
    assert dispatcher.handover.open is False  # nobody has looked yet whether older jobs wait
    assert dispatcher.handover.offer("local:fake") is None
    await dispatcher.turn()
    ticket, job = await scene.accept(dispatcher)
    other = await scene.dispatcher(name="r2")
    await other.turn()
    assert other._hands.ids() == []  # it is made with its claim
    dispatcher.handover.take(ticket, job, PROGRAM)
    await dispatcher.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert await scene.actions() == ["job.dispatching", "job.done"]
    assert len(scene.vendor.submitted) == 1


async def test_only_what_can_be_carried_at_once_is_taken(scene: Scene) -> None:
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    handover, hands = dispatcher.handover, dispatcher._hands
    assert handover.offer("local:unknown") is None
    assert handover.offer("ionq:simulator") is None
    tickets = [handover.offer("local:fake") for _ in range(DispatchLimits().per_scheme)]
    assert None not in tickets
    assert handover.offer("local:fake") is None
    for ticket in tickets:
        assert ticket is not None
        handover.decline(ticket)
    assert (hands.room(), hands.busy()) == (DispatchLimits().per_scheme, [])
    for _ in range(5):
        dispatcher._desk.breakers.failed("local")
    assert handover.offer("local:fake") is None
    dispatcher._desk.breakers.answered("local")
    assert handover.offer("local:fake") is not None
    await dispatcher.close()
    assert handover.offer("local:fake") is None


@pytest.mark.attack("R2", "R3")
async def test_what_is_revoked_between_acceptance_and_sending_is_not_sent(scene: Scene) -> None:
    view = FollowedRevocations(scene.world.store, scene.world.clock, max_age_ms=10**9)
    await view.refresh()
    dispatcher = await scene.dispatcher(revocations=view)
    await dispatcher.turn()
    ticket, job = await scene.accept(dispatcher)
    await scene.revoke("agent", "a1")
    await view.refresh()
    dispatcher.handover.take(ticket, job, PROGRAM)
    await dispatcher.settled()
    row = await scene.world.job_row()
    assert (row["state"], row["hold"]) == ("revoked", "released")
    assert scene.vendor.submitted == []


@pytest.mark.attack("R2")
@pytest.mark.parametrize("what", ["revoked", "disabled"])
async def test_who_has_no_rights_any_more_gets_no_job_made(scene: Scene, what: str) -> None:
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    if what == "revoked":
        await scene.revoke("agent", "a1")
    else:
        await scene.world.run("dispatch_test_disable", agent_id="a1")
    with pytest.raises(GuardFailed, match=r"job\.live"):
        await scene.accept(dispatcher)
    assert await scene.world.events() == []


@pytest.mark.attack("B2", "P2")
async def test_who_dies_between_acceptance_and_sending_leaves_a_job_that_is_found(
    scene: Scene,
) -> None:
    one = await scene.dispatcher()
    await one.turn()
    await scene.accept(one)  # durable, its intent too, and never taken
    two = await scene.dispatcher()  # the same replica's next process
    scene.world.clock.advance(s=10)
    for _ in range(2):
        await two.turn()
        await two.settled()
    assert scene.vendor.calls[0] == "find"  # nothing is sent before the vendor was asked
    assert len(scene.vendor.submitted) == 1
    assert (await scene.world.job_row())["state"] == "done"


async def test_a_process_that_stood_still_does_not_send_what_it_accepted(scene: Scene) -> None:
    dispatcher = await scene.dispatcher()
    await dispatcher.turn()
    ticket, job = await scene.accept(dispatcher)
    scene.world.clock.advance(s=31)
    dispatcher.handover.take(ticket, job, PROGRAM)
    await dispatcher.settled()
    assert scene.vendor.calls == []
    assert dispatcher._hands.room() == DispatchLimits().per_scheme


async def test_for_hardware_a_job_handed_over_still_waits_for_the_second_parser(
    scene: Scene,
) -> None:
    vendor = FakeProvider(dialect=Dialect.OPENQASM2)

    async def look(submission: Submission) -> None:
        assert await scene.actions() == ["job.dispatching"]

    vendor.before_submit = look
    dispatcher = await scene.dispatcher(vendor)
    await dispatcher.turn()
    ticket, job = await scene.accept(dispatcher, backend="local:fake")
    assert not ticket.intended
    assert (await scene.world.job_row())["state"] == "queued"
    dispatcher.handover.take(ticket, job, PROGRAM)
    await dispatcher.settled()
    assert (await scene.world.job_row())["state"] == "done"
    assert vendor.submitted[0].text == emit(PROGRAM, Dialect.OPENQASM2)
