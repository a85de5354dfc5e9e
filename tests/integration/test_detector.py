"""The detector over a real log: once each, across crashes and replicas; holds until closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.audit import ORIGIN, signer
from tests.support.governance import World, hold_of, world

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.domain.errors import Throttled
from cryogate.domain.events import Event, Outcome
from cryogate.governance.alerts import AlertBook, AlertDesk
from cryogate.governance.detector import Detector
from cryogate.governance.holds import FollowedHolds
from cryogate.governance.profiles import DENIALS
from cryogate.governance.submit_limits import Brakes, MemoryLimits
from cryogate.governance.surge import WARM_UP
from cryogate.ports.alerts import Severity
from cryogate.ports.holds import HoldKind
from cryogate.ports.store import StoreUnavailable, UnitOfWork

ACTIONS = {
    "shots_surge": HoldKind.REQUIRE_APPROVAL,
    "denial_burst": HoldKind.SUSPEND,
    "proof_failures": HoldKind.SUSPEND,
}


class Watched:
    """A world with a log and a detector."""

    def __init__(self, w: World, log: AuditLog) -> None:
        self.w, self.log = w, log
        self.holds = FollowedHolds(w.store)
        self.detector = Detector(w.store, w.clock, ACTIONS, self.holds.refresh)
        self.desk = AlertDesk(w.store, w.clock)

    async def record(self, *events: Event) -> None:
        await self.w.store.commit(UnitOfWork((), events))

    async def settle(self) -> None:
        await self.log.sequence_now()
        while await self.detector.follow_once():
            pass

    async def alerts(self) -> list[tuple[str, str, int]]:
        page = await self.desk.list(None, None, 100)
        return sorted((a.kind, a.subject, a.count) for a in page.items)

    def job(self, shots: int, agent_id: str = "a1", **fields: Any) -> Event:
        self.w.clock.advance(s=60)
        given = {"qpu": "local:aer", "cost_estimate_cents": 1, **fields}
        return Event(
            timestamp_ms=self.w.clock.now_ms(), action="job.accepted", outcome=Outcome.INTENT,
            agent_id=agent_id, shots=shots, **given,
        )  # fmt: skip

    def refusal(self, reason: str = "max_shots") -> Event:
        self.w.clock.advance(s=1)
        return Event(
            timestamp_ms=self.w.clock.now_ms(), action="job.refused", outcome=Outcome.REFUSED,
            agent_id="a1", decision_reasons=(reason,),
        )  # fmt: skip


@asynccontextmanager
async def watched(tmp_path: Path, dsn: str | None = None) -> AsyncIterator[Watched]:
    async with world(tmp_path, dsn=dsn) as w:
        log = AuditLog(w.store, w.clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
        await log.start()
        made = Watched(w, log)
        await made.detector.place.begin()
        yield made
        await log.close()


async def surge(t: Watched) -> None:
    await t.record(*(t.job(1000) for _ in range(WARM_UP)))
    await t.settle()
    assert await t.alerts() == []
    await t.record(*(t.job(4000) for _ in range(4)))
    await t.settle()


async def test_a_surge_holds_its_agent_until_somebody_closes_the_alert(
    dsn: str | None, tmp_path: Path
) -> None:
    async with watched(tmp_path, dsn) as t:
        await surge(t)
        assert await t.alerts() == [("shots_surge", "a1", 1)]
        [alert] = (await t.desk.list(None, None, 10)).items
        evidence = json.loads(alert.evidence)
        assert (evidence["usually"], evidence["latest"]) == (1000, 4000)
        assert evidence["seq"] == WARM_UP + 3
        hold = t.holds.of("a1")
        assert hold is not None
        assert (hold.kind, hold.alert_id) == (HoldKind.REQUIRE_APPROVAL, alert.alert_id)
        await t.desk.acknowledge(alert.alert_id, "operator:bob", "looking")
        await t.holds.refresh()
        assert t.holds.of("a1") == hold
        await t.desk.close(alert.alert_id, "operator:bob", "a new campaign")
        await t.settle()
        await t.holds.refresh()
        assert t.holds.of("a1") is None
        # closed: what it does now is usual
        await t.record(*(t.job(3000) for _ in range(50)))
        await t.settle()
        assert await t.alerts() == []


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    async with watched(tmp_path) as t:
        await t.record(*(t.job(1000) for _ in range(WARM_UP)))
        await t.settle()
        await t.record(*(t.job(4000) for _ in range(2)))
        await t.settle()
        t = Watched(t.w, t.log)
        await t.record(*(t.job(4000) for _ in range(2)))
        await t.settle()
        assert await t.alerts() == [("shots_surge", "a1", 1)]


async def test_replicas_count_every_event_once(dsn: str | None, tmp_path: Path) -> None:
    async with watched(tmp_path, dsn) as t:
        crowd = [t, *(Watched(t.w, t.log) for _ in range(3))]
        for _ in range(6):
            await t.record(*(t.job(1000) for _ in range(WARM_UP // 6)))
            await t.log.sequence_now()
            await asyncio.gather(*(one.detector.follow_once() for one in crowd))
        row = await t.w.row("profile_of", agent_id="a1")
        assert json.loads(str(row["profile"]))["jobs"] == WARM_UP
        for _ in range(4):
            await t.record(t.job(4000))
            await t.log.sequence_now()
            await asyncio.gather(*(one.detector.follow_once() for one in crowd))
        assert await t.alerts() == [("shots_surge", "a1", 1)]


async def test_a_crash_neither_repeats_nor_forgets(tmp_path: Path) -> None:
    async with watched(tmp_path) as t:
        await t.record(*(t.job(1000) for _ in range(WARM_UP)))
        await t.settle()
        await t.record(*(t.job(4000) for _ in range(4)))
        await t.log.sequence_now()
        real = t.w.store.commit

        async def broken(work: UnitOfWork) -> Sequence[Any]:
            raise StoreUnavailable("the connection broke")

        t.w.store.commit = broken  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await t.detector.follow_once()
        t.w.store.commit = real  # type: ignore[method-assign]
        await t.settle()
        assert await t.alerts() == [("shots_surge", "a1", 1)]


async def test_refusals_that_a_suspension_makes_are_no_new_burst(tmp_path: Path) -> None:
    async with watched(tmp_path) as t:
        await t.record(*(t.refusal() for _ in range(DENIALS)))
        await t.settle()
        hold = t.holds.of("a1")
        assert hold is not None
        assert hold.kind is HoldKind.SUSPEND
        await t.record(*(t.refusal("suspended") for _ in range(5 * DENIALS)))
        await t.settle()
        assert await t.alerts() == [("denial_burst", "a1", 1)]


async def test_an_alert_of_another_part_holds_too_and_the_stronger_wins(tmp_path: Path) -> None:
    async with watched(tmp_path) as t:
        await surge(t)
        book = AlertBook(t.w.store, t.w.clock)
        book.tell("proof_failures", "a1", Severity.HIGH, {"failures": 10})
        book.tell("proof_failures", "10.0.0.1", Severity.HIGH, {"failures": 10})
        await book.flush()
        await t.settle()
        hold = t.holds.of("a1")
        assert hold is not None
        assert (hold.kind, hold.alert_kind) == (HoldKind.SUSPEND, "proof_failures")
        await t.desk.close(hold.alert_id, "operator:bob", "")
        await t.holds.refresh()
        left = t.holds.of("a1")
        assert left is not None
        assert left.kind is HoldKind.REQUIRE_APPROVAL


async def test_history_before_the_first_start_is_not_judged(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        log = AuditLog(w.store, w.clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
        await log.start()
        t = Watched(w, log)
        await t.record(*(t.refusal() for _ in range(DENIALS)))
        await log.sequence_now()
        await t.detector.place.begin()
        await t.settle()
        assert await t.alerts() == []
        await log.close()


# -- limits --------------------------------------------------------------------------------


class Ticks:
    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


def throttled(limits: MemoryLimits, agent_id: str = "a1", backend: str = "local:null") -> Throttled:
    with pytest.raises(Throttled) as refused:
        limits.admit(agent_id, backend)
    return refused.value


async def test_a_burst_then_an_even_rate(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        clock, heard = Ticks(), list[tuple[str, str]]()
        brakes = Brakes(agent_per_min=60, agent_burst=3)
        limits = MemoryLimits(w.store, brakes, clock, lambda a, limit: heard.append((a, limit)))
        for _ in range(3):
            limits.admit("a1", "local:null")
        refused = throttled(limits)
        assert (refused.retry_after_s, refused.violations[0].limit) == (1, "agent_jobs_per_min")
        assert heard == [("a1", "agent_jobs_per_min")]
        limits.admit("a2", "local:null")  # another agent has its own
        clock.ms += refused.retry_after_s * 1000
        limits.admit("a1", "local:null")
        throttled(limits)
        clock.ms += 10**9
        for _ in range(3):
            limits.admit("a1", "local:null")
        throttled(limits)


async def test_a_backend_is_shared_and_a_refused_try_takes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        clock = Ticks()
        brakes = Brakes(agent_per_min=60, agent_burst=9, backend_per_min=60, backend_burst=2)
        limits = MemoryLimits(w.store, brakes, clock)
        limits.admit("a1", "x:y")
        limits.admit("a2", "x:y")
        for _ in range(20):
            assert throttled(limits, backend="x:y").violations[0].limit == "backend_jobs_per_min"
        for _ in range(8):
            limits.admit("a1", f"x:{_}")


@pytest.mark.attack("A7")
async def test_jobs_in_flight_are_those_of_the_deployment(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        brakes = Brakes(in_flight_per_agent=3, in_flight_per_backend=4)
        limits = MemoryLimits(w.store, brakes, Ticks())
        for n in range(2):  # accepted by another replica, under another token or session
            await w.reserve(hold_of(f"j{n}"))
        await limits.count()
        limits.admit("a1", "local:null")
        assert throttled(limits).violations[0].limit == "agent_jobs_in_flight"
        limits.admit("a2", "local:null")
        assert throttled(limits, "a3").violations[0].limit == "backend_jobs_in_flight"
        await w.run("governance_test_end_job", job_id="j0")
        await limits.count()
        for _ in range(2):
            limits.admit("a1", "local:null")
        throttled(limits)
