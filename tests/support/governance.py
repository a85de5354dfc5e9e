"""A database with an experiment, an agent and a token in it, for tests of money and approvals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryogate.domain.approvals import Terms
from cryogate.domain.decisions import Violation
from cryogate.domain.money import Money
from cryogate.domain.periods import Span
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approvals import ApprovalRules, SqlApprovals
from cryogate.governance.book import Scope
from cryogate.governance.books import Books
from cryogate.governance.budget_admin import BudgetAdmin
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.experiments import ExperimentAdmin
from cryogate.governance.scoped_budgets import NewLimit, ScopedBudgets
from cryogate.ports.budgets import BudgetView, Hold, Payer
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.storage.statements import SQL_DIR
from cryogate.testing.clock import FakeClock

ROWS = Path(__file__).parent / "governance_sql"
OWNER = "alice@example.com"
SHA = "ab" * 32
PAYER = Payer("a1", OWNER, "cc", "local:null")


class World:
    """Helpers over one opened store."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.ledger = SqlLedger(store)
        self.approvals = SqlApprovals(store, ApprovalRules(max_pending=3))
        self.desk = ApprovalDesk(store, self.ledger, clock)
        self.budgets = BudgetAdmin(store, clock)
        self.limits = ScopedBudgets(store, clock, self.ledger)
        self.books = Books(store, clock, self.ledger)
        self.experiments = ExperimentAdmin(store, clock)

    async def run(self, name: str, **params: SqlValue) -> None:
        await self.store.commit(UnitOfWork((Statement(name, params),)))

    async def commit(self, *statements: Statement) -> Sequence[Sequence[Row]]:
        return await self.store.commit(UnitOfWork(statements))

    async def setup(self, *, cents: int = 10_000, shots: int = 1_000_000) -> None:
        """Agent ``a1``, experiment ``e1`` in USD, token ``t1`` and session ``s1``, all wide."""
        now_ms = self.clock.now_ms()
        await self.run(
            "insert_experiment",
            experiment_id="e1", purpose="p", classification="poc", owner=OWNER, cost_center="cc",
            opens_ms=0, closes_ms=now_ms + 10**9, allowed_agents='["a1"]',
            allowed_backends='["local:null"]', release="raw", created_ms=0,
        )  # fmt: skip
        await self.run(
            "insert_budget",
            experiment_id="e1", currency="USD", limit_cents=cents, limit_shots=shots,
        )  # fmt: skip
        await self.run(
            "post_grant",
            ref="g1", period=197001, now_ms=0, experiment_id="e1", currency="USD", cents=cents,
            shots=shots, note="",
        )  # fmt: skip
        await self.ledger.refresh()
        await self.run("governance_test_agent", agent_id="a1", owner=OWNER, active=1)
        for operator_id in ("bob", "alice", "late", *(f"o{n}" for n in range(10))):
            await self.operator(operator_id)
        await self.token("t1")
        await self.run(
            "governance_test_session", session_id="s1", token_id="t1", agent_id="a1",
            experiment_id="e1", max_jobs=1000, expires_ms=now_ms + 10**6,
        )  # fmt: skip

    async def operator(
        self,
        operator_id: str,
        *,
        person: str = "",
        roles: Sequence[str] = ("approver",),
        active: bool = True,
    ) -> None:
        await self.run(
            "governance_test_operator", operator_id=operator_id, person=person,
            roles=json.dumps(list(roles)), active=int(active),
        )  # fmt: skip

    async def token(
        self, token_id: str, *, jobs: int = 10**6, shots: int = 10**9, cents: int = 10**9
    ) -> None:
        await self.run(
            "governance_test_token", token_id=token_id, agent_id="a1", experiment_id="e1",
            expires_ms=self.clock.now_ms() + 300_000, max_jobs=jobs, max_total_shots=shots,
            max_cost_cents=cents,
        )  # fmt: skip

    def job(
        self, hold: Hold, *, state: str = "queued", approval_id: str | None = None
    ) -> Statement:
        return Statement(
            "governance_test_job",
            {
                "job_id": hold.job_id, "agent_id": "a1", "experiment_id": hold.experiment_id,
                "token_id": hold.token_id, "session_id": hold.session_id, "backend": "local:null",
                "shots": hold.shots, "state": state, "circuit_sha256": SHA,
                "currency": hold.cost.currency, "cost_bound_cents": hold.cost.cents,
                "approval_id": approval_id,
            },
        )  # fmt: skip

    def accepted(self, hold: Hold, now_ms: int, approval_id: str | None = None) -> Statement:
        """The gateway's own statement that accepts a job."""
        return Statement(
            "accept_job",
            {
                "job_id": hold.job_id, "agent_id": "a1", "owner": OWNER,
                "experiment_id": hold.experiment_id, "token_id": hold.token_id,
                "token_issued_ms": 0, "session_id": hold.session_id, "backend": "local:null",
                "shots": hold.shots, "state": "queued", "circuit_sha256": SHA, "program": "",
                "facts": "{}", "results": "raw", "currency": hold.cost.currency,
                "cost_bound_cents": hold.cost.cents, "policy_digest": "d",
                "approval_id": approval_id, "idempotency_key": None, "request_sha256": "r",
                "metadata": "{}", "price_currency": "", "rate": "",
                "claimed_by": None, "claim_fence": 0, "claim_until_ms": 0, "now_ms": now_ms,
            },
            guard="job.live",
        )  # fmt: skip

    async def reserve(self, hold: Hold, payer: Payer = PAYER) -> None:
        """Reserve and insert the job, as the gateway does: one unit of work."""
        await self.commit(*self.ledger.reserve(hold, payer, self.clock.now_ms()), self.job(hold))

    async def limit(self, scope: Scope, subject: str, span: Span = Span.TOTAL, **more: Any) -> None:
        new: dict[str, Any] = {"currency": "USD", **more}
        wanted = NewLimit(scope=scope, subject=subject, span=span, **new)
        await self.limits.set(wanted, "operator:ada")

    async def settle(self, hold: Hold, cents: int) -> None:
        await self.commit(*self.ledger.settle(hold, cents, self.clock.now_ms()))

    async def release(self, hold: Hold) -> None:
        await self.commit(*self.ledger.release(hold, self.clock.now_ms()))

    async def refused(self, hold: Hold, payer: Payer = PAYER) -> tuple[Violation, ...]:
        """What stands in the way of ``hold``; it must be refused."""
        try:
            await self.reserve(hold, payer)
        except GuardFailed as failed:
            return await self.ledger.explain(failed.guard, hold, payer, self.clock.now_ms())
        raise AssertionError("it was reserved")

    async def park(self, hold: Hold, terms: Terms | None = None) -> str:
        """A parked job with its open request; the request's id."""
        now_ms = self.clock.now_ms()
        approval_id, statements, events = self.approvals.open(
            terms or terms_of(hold), hold.job_id, OWNER, "costly", now_ms
        )
        reserve = self.ledger.reserve(hold, PAYER, now_ms)
        job = self.job(hold, state="parked", approval_id=approval_id)
        await self.store.commit(UnitOfWork((*reserve, job, *statements), events))
        return approval_id

    async def explain(self, guard: str, hold: Hold) -> tuple[Violation, ...]:
        return await self.ledger.explain(guard, hold, PAYER, self.clock.now_ms())

    async def budget(self) -> BudgetView:
        view = await self.ledger.view("e1")
        assert view is not None
        return view

    async def row(self, query: str, **params: SqlValue) -> dict[str, SqlValue]:
        row = await self.store.fetch_one(query, params)
        assert row is not None
        return dict(row)

    async def job_row(self, job_id: str = "j1") -> dict[str, SqlValue]:
        return await self.row("governance_test_job_row", job_id=job_id)

    async def used(self, token_id: str = "t1") -> tuple[SqlValue, SqlValue, SqlValue]:  # noqa: S107
        row = await self.row("governance_test_token_row", token_id=token_id)
        return row["used_jobs"], row["used_shots"], row["used_cents"]

    async def events(self) -> list[dict[str, Any]]:
        rows = await self.store.fetch("governance_test_events", {})
        return [json.loads(str(row["body"])) for row in rows]


def hold_of(
    job_id: str = "j1",
    *,
    cents: int = 100,
    shots: int = 10,
    token_id: str = "t1",  # noqa: S107
    session_id: str | None = None,
    currency: str = "USD",
    experiment_id: str = "e1",
) -> Hold:
    return Hold(job_id, experiment_id, token_id, session_id, Money(cents, currency), shots)


def terms_of(hold: Hold, **changes: Any) -> Terms:
    fields: dict[str, Any] = {
        "agent_id": "a1", "experiment_id": hold.experiment_id, "circuit_sha256": SHA,
        "backend": "local:null", "shots": hold.shots, "cost_ceiling_cents": hold.cost.cents,
        "currency": hold.cost.currency, **changes,
    }  # fmt: skip
    return Terms(**fields)


def opened(folder: Path, clock: FakeClock, dsn: str | None) -> Store:
    """A store of the database in ``folder``, or at ``dsn``; still to be opened."""
    directories = (SQL_DIR, ROWS)
    if dsn is None:
        return SqliteStore(folder / "governance.db", clock, sql_directories=directories)
    return PostgresStore(dsn, clock, sql_directories=directories)


@asynccontextmanager
async def world(
    tmp_path: Path, *, dsn: str | None = None, cents: int = 10_000, shots: int = 1_000_000
) -> AsyncIterator[World]:
    """A fresh database: SQLite, or PostgreSQL where ``dsn`` names an empty one."""
    clock = FakeClock()
    store = opened(tmp_path, clock, dsn)
    await store.open()
    try:
        made = World(store, clock)
        await made.setup(cents=cents, shots=shots)
        yield made
    finally:
        await store.close()
