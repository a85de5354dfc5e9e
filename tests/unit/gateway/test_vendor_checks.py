"""Previews that ask the vendor: what it hears, when it is not asked, and that it only advises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.vendors import BELL

from cryogate.circuits import SECOND_OPINION_ENTRYPOINT, Dialect, GuardedPool, emit
from cryogate.domain.decisions import Allow, Deny
from cryogate.domain.errors import Throttled
from cryogate.domain.events import Event, Outcome
from cryogate.domain.money import Money
from cryogate.domain.secrets import Secret
from cryogate.gateway.case import Case
from cryogate.gateway.second_reading import SecondReader
from cryogate.gateway.vendor_check import VendorCheck
from cryogate.gateway.vendor_checks import VendorChecks
from cryogate.ports.clock import SystemClock
from cryogate.ports.credentials import Lease, LeaseIssuer, LeaseTerms, LeaseUnavailable
from cryogate.ports.provider import ProviderError, Submission
from cryogate.ports.store import UnitOfWork
from cryogate.testing.provider import FakeProvider

YES = Allow((), ("ok",), "digest")


class Vendor(FakeProvider):
    """Says what it is told to, and remembers what it was asked."""

    said: Sequence[str] = ()
    error: Exception | None = None

    def __init__(self, *, dialect: Dialect | None = None) -> None:
        super().__init__("ionq", dialect=dialect)
        self.asked: list[Submission] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.heard: asyncio.Queue[None] = asyncio.Queue()

    async def validate(self, submission: Submission, lease: Lease) -> Sequence[str]:
        self.asked.append(submission)
        self.heard.put_nowait(None)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.said


class Leases(LeaseIssuer):
    def __init__(self) -> None:
        self.open: set[str] = set()
        self.terms: list[LeaseTerms] = []
        self.none = False

    async def _issue(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        if self.none:
            raise LeaseUnavailable("none")
        self.terms.append(terms)
        name = f"lea_{len(self.terms)}"
        self.open.add(name)
        return Lease(name, terms.scheme, 2**52, Secret(b"x"), terms)

    async def revoke(self, lease_id: str) -> None:
        self.open.discard(lease_id)


class Log:
    """As much of a store as a check needs."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def commit(self, work: UnitOfWork) -> None:
        assert not work.statements
        self.events += work.events


class World:
    def __init__(self, vendor: FakeProvider, *, timeout_s: float = 20) -> None:
        self.vendor, self.leases, self.log, self.revoked = vendor, Leases(), Log(), False
        self.reader = SecondReader(GuardedPool(SECOND_OPINION_ENTRYPOINT, request_timeout_s=60))
        self.checks = VendorChecks(
            store=cast("Any", self.log), clock=SystemClock(), providers={"ionq": vendor},
            leases=self.leases, reader=self.reader, revoked=lambda case: self.revoked,
            timeout_s=timeout_s,
        )  # fmt: skip

    async def case(self, agent: str = "a1", backend: str = "ionq:fake") -> Case:
        caller = SimpleNamespace(
            agent_id=agent, owner="ada", token_id="tok", actor_chain=(),
            grant=SimpleNamespace(experiment_id="e1"), subject=lambda session: None,
        )  # fmt: skip
        [device] = await self.vendor.backends()
        experiment = SimpleNamespace(purpose="test", cost_center="cc")
        found = SimpleNamespace(
            caller=caller, request=SimpleNamespace(backend=backend, shots=100, session_id=None),
            standing=SimpleNamespace(experiment=experiment), program=BELL, backend=device,
            quote=SimpleNamespace(price=None, bound=Money(50, "USD")),
        )  # fmt: skip
        return cast("Case", found)

    async def ask(self, agent: str = "a1", **more: Any) -> VendorCheck:
        return await self.checks.ask(await self.case(agent, **more), YES)


async def test_the_vendor_hears_the_confirmed_text_after_the_intent_is_on_disk() -> None:
    vendor = Vendor(dialect=Dialect.IONQ_JSON)
    world = World(vendor)
    try:
        assert await world.ask() == VendorCheck("accepted")
    finally:
        await world.reader.close()
    [asked] = vendor.asked
    assert asked.text == emit(BELL, Dialect.IONQ_JSON)
    assert (asked.backend, asked.shots, asked.cost_ceiling_cents) == ("ionq:fake", 100, 50)
    [event] = world.log.events
    assert (event.action, event.outcome) == ("job.checked_by_vendor", Outcome.INTENT)
    assert (event.circuit_sha256, event.qpu) == (BELL.fingerprint, "ionq:fake")
    [terms] = world.leases.terms
    assert (terms.agent_id, terms.experiment_id, terms.cost_center) == ("a1", "e1", "cc")
    assert not world.leases.open, "the lease ends with the check"
    assert vendor.submitted == []


async def test_what_it_would_refuse_is_told_and_cleaned() -> None:
    vendor = Vendor()
    vendor.said = ("too \x1b[31mdear",)
    world = World(vendor)
    found = await world.ask()
    assert found.state == "refused"
    assert "\x1b" not in found.reasons[0]


async def test_nobody_is_asked_about_what_is_refused_here_or_by_who_cannot_answer() -> None:
    vendor = Vendor()
    world = World(vendor)
    denied = await world.checks.ask(await world.case(), Deny(("no",), (), "digest"))
    assert denied.state == "not_asked"
    assert (await world.ask(backend="other:x")).state == "not_asked"
    assert (await World(FakeProvider("ionq")).ask()).state == "not_asked"
    world.revoked = True
    assert (await world.ask()).state == "not_asked"
    assert vendor.asked == []
    assert world.leases.terms == []


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    "error",
    [ProviderError("the vendor answered 503", sent=True, retryable=True), ValueError("secret")],
)
async def test_no_answer_is_no_answer(error: Exception) -> None:
    vendor = Vendor()
    vendor.error = error
    world = World(vendor)
    found = await world.ask()
    assert found.state == "unknown"
    assert "secret" not in str(found.reasons)
    assert not world.leases.open
    world.leases.none = True
    assert (await world.ask()).state == "unknown"


async def test_one_check_at_a_time_and_not_for_ever() -> None:
    vendor = Vendor()
    vendor.gate.clear()
    world = World(vendor)
    first = asyncio.create_task(world.ask())
    await vendor.heard.get()
    with pytest.raises(Throttled):
        await world.ask()
    others = [asyncio.create_task(world.ask(f"b{n}")) for n in range(3)]
    for _ in others:
        await vendor.heard.get()
    with pytest.raises(Throttled):
        await world.ask("c1")
    vendor.gate.set()
    assert {(await task).state for task in (first, *others)} == {"accepted"}
    assert (await world.ask()).state == "accepted"

    slow = Vendor()
    slow.gate.clear()
    late = World(slow, timeout_s=0.01)
    assert (await late.ask()) == VendorCheck("unknown", ("the vendor took too long",))
    assert not late.leases.open
