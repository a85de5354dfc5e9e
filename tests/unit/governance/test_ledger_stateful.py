"""The ledger as a state machine: any order, at once, crashing, with clocks that jump.

The oracle is what is left in the database itself: jobs and their holds. Whatever happened, each
budget and each window must be exactly what its jobs come to, and every entry must sum to zero.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.support.governance import OWNER, World, hold_of, opened, world
from tests.support.postgres import PostgresServer

from cryogate.domain.errors import CryogateError
from cryogate.domain.ids import JOB, new_id
from cryogate.domain.periods import Span, next_month
from cryogate.domain.periods import show as shown
from cryogate.gateway.accepting import Acceptance, Acceptor
from cryogate.governance.book import EACH, Scope
from cryogate.governance.books import Close, Correction
from cryogate.governance.budget_admin import BudgetLimits, Reason
from cryogate.governance.scoped_budgets import Lifted
from cryogate.ports.budgets import Hold, Payer
from cryogate.ports.store import GuardFailed

ADA = "operator:ada"
AMOUNTS = st.integers(0, 400)
PAYERS = [Payer(f"a{n}", OWNER, cc, "local:null") for n in (1, 2) for cc in ("", "cc")]
orders = st.lists(st.tuples(AMOUNTS, st.integers(1, 40), st.sampled_from(PAYERS)), max_size=6)
SCOPES = [
    (Scope.AGENT, "a1"), (Scope.AGENT, EACH), (Scope.OWNER, OWNER), (Scope.COST_CENTER, "cc"),
    (Scope.TOKEN, EACH), (Scope.EXPERIMENT, "e1"),
]  # fmt: skip
spans = st.sampled_from([Span.DAY, Span.MONTH])


class Money(RuleBasedStateMachine):
    """Rules are what people, agents and failures do."""

    dsn_of: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.holds: list[tuple[Hold, Payer]] = []
        self.corrected = 0
        self.runner.run(self._open())

    async def _open(self) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.dsn = None if self.dsn_of is None else await self.dsn_of()
        self.folder = folder
        self.w = await self.stack.enter_async_context(
            world(folder, dsn=self.dsn, cents=3000, shots=400)
        )
        self.began_ms = self.w.clock.now_ms()
        self._begin()

    def _begin(self) -> None:
        self.acceptor = Acceptor(self.w.store, self.w.ledger, most=4)

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it; a refusal is an answer, anything else is a failure."""

        async def quietly() -> Any:
            with suppress(CryogateError):
                return await work

        return self.runner.run(quietly())

    # -- agents ------------------------------------------------------------------------------

    def _acceptances(self, wanted: list[tuple[int, int, Payer]]) -> list[Acceptance]:
        made = []
        for cents, shots, payer in wanted:
            hold = hold_of(new_id(JOB), cents=cents, shots=shots)
            self.holds.append((hold, payer))
            job = self.w.accepted(hold, self.began_ms)
            made.append(Acceptance(job, hold, payer, self.w.clock.now_ms(), ()))
        return made

    @rule(wanted=orders)
    def submit_at_once(self, wanted: list[tuple[int, int, Payer]]) -> None:
        async def all_of_them() -> None:
            found = await asyncio.gather(
                *(self.acceptor.commit(one) for one in self._acceptances(wanted)),
                return_exceptions=True,
            )
            assert not [e for e in found if not isinstance(e, GuardFailed | None)]

        self.runner.run(all_of_them())

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), actual=st.integers(0, 500))
    def settle(self, data: st.DataObject, actual: int) -> None:
        hold, _ = data.draw(st.sampled_from(self.holds))
        self.do(self.w.settle(hold, actual))

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def end_twice_at_once(self, data: st.DataObject) -> None:
        hold, _ = data.draw(st.sampled_from(self.holds))

        async def both() -> None:
            ends = self.w.settle(hold, hold.cost.cents), self.w.release(hold)
            found = await asyncio.gather(*ends, return_exceptions=True)
            assert found.count(None) <= 1

        self.do(both())

    # -- operators ---------------------------------------------------------------------------

    @rule(whose=st.sampled_from(SCOPES), span=spans, cents=AMOUNTS, shots=st.integers(1, 100))
    def set_a_limit(self, whose: tuple[Scope, str], span: Span, cents: int, shots: int) -> None:
        scope, subject = whose
        self.do(self.w.limit(scope, subject, span, limit_cents=5 * cents, limit_shots=2 * shots))

    @rule(whose=st.sampled_from(SCOPES), span=spans)
    def lift_a_limit(self, whose: tuple[Scope, str], span: Span) -> None:
        gone = Lifted(scope=whose[0], subject=whose[1], span=span, reason="r")
        self.do(self.w.limits.remove(gone, ADA))

    @rule(cents=st.integers(0, 6000))
    def set_the_total(self, cents: int) -> None:
        self.do(self.w.budgets.set_limits("e1", BudgetLimits(limit_cents=cents), ADA))

    @rule(whose=st.sampled_from(SCOPES), span=spans)
    def unblock(self, whose: tuple[Scope, str], span: Span) -> None:
        self.do(self.w.budgets.unblock("e1", Reason(reason="r"), ADA))
        looked = Lifted(scope=whose[0], subject=whose[1], span=span, reason="r")
        self.do(self.w.limits.unblock(looked, ADA))

    @rule()
    def close_a_month(self) -> None:
        async def close() -> None:
            book = await self.w.ledger.refresh()
            month = next_month(book.open_period) if book.open_period else 202611
            await self.w.books.close(Close(month=shown(month)), ADA)

        self.do(close())

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), cents=st.integers(-300, 300))
    def correct(self, data: st.DataObject, cents: int) -> None:
        hold, _ = data.draw(st.sampled_from(self.holds))
        wanted = Correction(job_id=hold.job_id, cents=cents, reason="r")
        if self.do(self.w.books.correct(wanted, ADA)) is not None:
            self.corrected += cents

    # -- the world ---------------------------------------------------------------------------

    @rule(days=st.integers(-40, 40))
    def the_clock_jumps(self, days: int) -> None:
        self.w.clock.advance(days * 86_400_000)

    @rule(wanted=orders, steps=st.integers(0, 12), data=st.data())
    def crash(self, wanted: list[tuple[int, int, Payer]], steps: int, data: st.DataObject) -> None:
        """Everything under way is dropped, and all that was in memory with it."""
        ending = [hold for hold, _ in self.holds[-3:]]

        async def begin_and_die() -> None:
            tasks = [
                asyncio.ensure_future(self.acceptor.commit(one))
                for one in self._acceptances(wanted)
            ]
            tasks += [asyncio.ensure_future(self.w.settle(hold, 5)) for hold in ending]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.w.store.close()
            store = opened(self.folder, self.w.clock, self.dsn)
            await store.open()
            self.stack.push_async_callback(store.close)
            self.w = World(store, self.w.clock)
            await self.w.ledger.refresh()
            self._begin()

        self.runner.run(begin_and_die())

    # -- what must hold ----------------------------------------------------------------------

    @invariant()
    def no_cent_is_lost_or_made(self) -> None:
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        findings = await self.w.books.check()
        assert findings.balanced, findings
        held = spent = held_shots = 0
        for row in await self.w.store.fetch("governance_test_jobs", {}):
            bound, actual, shots = row["cost_bound_cents"], row["cost_actual_cents"], row["shots"]
            assert isinstance(bound, int)
            assert isinstance(shots, int)
            if row["hold"] == "held":
                held += bound
                held_shots += shots
            elif row["hold"] == "settled":
                assert isinstance(actual, int)
                spent += actual
        view = await self.w.budget()
        assert (view.held_cents, view.held_shots) == (held, held_shots)
        assert view.spent_cents == spent + self.corrected
        for row in await self.w.store.fetch("governance_test_spent", {}):
            assert row["spent_cents"] == row["due"], dict(row)


def test_any_interleaving_on_sqlite() -> None:
    run_state_machine_as_test(
        Money,
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_any_interleaving_on_postgres(postgres_server: PostgresServer) -> None:
    machine = type("OnPostgres", (Money,), {"dsn_of": staticmethod(postgres_server.create)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=5, stateful_step_count=20, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.mark.attack("B1", "A7")
@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
def test_sixty_four_at_once_are_exact_to_the_cent(
    driver: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dsn = None
    if driver == "postgres":
        server = request.getfixturevalue("postgres_server")
        dsn = asyncio.run(server.create())

    async def race() -> None:
        async with world(tmp_path, dsn=dsn, cents=64 * 7 - 1) as w:
            acceptor = Acceptor(w.store, w.ledger, most=64)
            now_ms = w.clock.now_ms()

            async def one(n: int) -> str:
                hold = hold_of(f"j{n}", cents=7)
                payer = PAYERS[n % 4]
                try:
                    await acceptor.commit(
                        Acceptance(w.accepted(hold, now_ms), hold, payer, now_ms, ())
                    )
                except GuardFailed as failed:
                    return failed.guard
                return "held"

            outcomes = await asyncio.gather(*(one(n) for n in range(64)))
            assert outcomes.count("held") == 63
            assert outcomes.count("budget.experiment") == 1
            view = await w.budget()
            assert (view.held_cents, view.left_cents) == (63 * 7, 6)
            assert await w.used() == (63, 630, 63 * 7)
            assert (await w.books.check()).balanced

    asyncio.run(race())
