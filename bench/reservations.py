"""Reservations against one hot budget: exact to the cent, and how many a second.

64 callers at once, through the gateway's own unit of work: job row, token, budget, journal, event.
Beside it, in the same run, what the database does at best: one row in one durable commit, from the
same number of callers through the same driver. A machine's load moves both; the ratio travels.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.governance import PAYER, World, hold_of, world
from tests.support.postgres import PostgresServer

from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import JOB, new_id
from cryogate.gateway.accepting import Acceptance, Acceptor
from cryogate.ports.store import GuardFailed, Statement, UnitOfWork

CALLERS = 64
COUNT = 6_400
BOUNDS = {"sqlite": 1_000, "postgres": 2_000}
ROUNDS = 3


async def flood(count: int, one: Callable[[], Awaitable[None]]) -> float:
    """Calls a second, from `CALLERS` callers at once."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return count / (time.perf_counter() - began)


def raw(w: World) -> Callable[[], Awaitable[None]]:
    """One row, one durable commit, nothing else."""

    async def one() -> None:
        statement = Statement(
            "assertion_use",
            {"client_id": "bench", "jti": new_id(JOB), "expires_ms": 0},
        )
        await w.store.commit(UnitOfWork((statement,)))

    return one


def reservation(w: World, most: int) -> Callable[[], Awaitable[None]]:
    """One job accepted, as the gateway does it."""
    acceptor = Acceptor(w.store, w.ledger, most=most)

    async def one() -> None:
        now_ms = w.clock.now_ms()
        hold = hold_of(new_id(JOB), cents=1, shots=1)
        event = Event(
            timestamp_ms=now_ms,
            action="job.accepted",
            outcome=Outcome.INTENT,
            agent_id="a1",
            experiment_id="e1",
            job_id=hold.job_id,
            shots=1,
            cost_estimate_cents=1,
            currency="USD",
        )
        job = w.accepted(hold, now_ms)
        await acceptor.commit(Acceptance(job, hold, PAYER, now_ms, (event,)))

    return one


async def exact(w: World, most: int) -> None:
    """64 at once with room for 40: 40 are held, and not a cent more."""
    await w.run(
        "set_budget_limit", experiment_id="e1", limit_cents=40, limit_shots=10**9, soft_percent=0,
        old_limit_cents=10**9, old_limit_shots=10**9, old_soft_percent=0,
    )  # fmt: skip
    submit = reservation(w, most)

    async def one() -> bool:
        try:
            await submit()
        except GuardFailed:
            return False
        return True

    held = sum(await asyncio.gather(*(one() for _ in range(CALLERS))))
    view = await w.budget()
    assert (held, view.held_cents, view.left_cents) == (40, 40, 0), (held, view)
    await w.run(
        "set_budget_limit", experiment_id="e1", limit_cents=10**9, limit_shots=10**9,
        soft_percent=0, old_limit_cents=40, old_limit_shots=10**9, old_soft_percent=0,
    )  # fmt: skip


async def measure(driver: str, dsn: str | None, most: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as room:
        async with world(Path(room), dsn=dsn, cents=10**9, shots=10**9) as w:
            await exact(w, most)
            await flood(count // 8, raw(w))
            await flood(count // 8, reservation(w, most))
            pairs = []
            for _ in range(ROUNDS):
                base = await flood(count, raw(w))
                pairs.append((await flood(count, reservation(w, most)), base))
            held = (await w.budget()).held_cents
            due = 40 + ROUNDS * count + count // 8
            assert held == due, (held, due)
    for rate, base in pairs:
        print(f"  {rate:7.0f} reservations/s  raw commits {base:7.0f}/s  ratio {rate / base:.2f}")
    best = max(rate for rate, _ in pairs)
    if driver == "postgres" and most == 1:
        print(f"  best {best:.0f}/s, for comparison; exact to the cent")
        return
    verdict = "holds" if best >= BOUNDS[driver] else "DOES NOT HOLD"
    print(f"  best {best:.0f}/s (bound {BOUNDS[driver]}) {verdict}; exact to the cent")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    print(f"sqlite, {CALLERS} callers, one budget")
    asyncio.run(measure("sqlite", None, 1, count))
    server = PostgresServer(durable=True)
    server.start()
    try:
        for most in (1, 64):
            told = "each in a transaction of its own" if most == 1 else "merged"
            print(f"postgres, {CALLERS} callers, one budget, {told}")
            dsn = asyncio.run(server.create())
            asyncio.run(measure("postgres", dsn, most, count if most > 1 else count // 4))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
