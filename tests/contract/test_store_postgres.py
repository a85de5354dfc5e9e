"""What only PostgreSQL can show: several replicas, broken connections."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.conftest import FixedClock, PostgresDatabase

from cryogate.ports.store import GuardFailed, Statement, StoreUnavailable, UnitOfWork
from cryogate.storage import PostgresStore

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'cryogate' AND datname = current_database()"
)


def put(jti: str) -> UnitOfWork:
    return UnitOfWork((Statement("ct_insert", {"client_id": "c", "jti": jti, "value": 0}),))


@pytest.mark.attack("B1", "A7")
async def test_replicas_share_one_budget(postgres_database: PostgresDatabase) -> None:
    stores = [postgres_database.store() for _ in range(2)]
    for store in stores:
        await store.open()
    await stores[0].commit(
        UnitOfWork(
            (
                Statement("ct_experiment", {"experiment_id": "e"}),
                Statement("ct_budget", {"experiment_id": "e", "limit_cents": 7}),
            )
        )
    )
    hold = UnitOfWork((Statement("ct_hold", {"experiment_id": "e", "cents": 1}, guard="budget"),))
    outcomes = await asyncio.gather(
        *(stores[number % 2].commit(hold) for number in range(60)), return_exceptions=True
    )
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(failed) == 53
    assert all(isinstance(failure, GuardFailed) for failure in failed)
    for store in stores:
        assert await store.fetch_one("ct_held", {"experiment_id": "e"}) == {"held_cents": 7}
        await store.close()


@pytest.mark.attack("L3")
async def test_connections_cut_by_the_server_cost_no_acknowledged_unit(
    postgres_database: PostgresDatabase,
) -> None:
    store = postgres_database.store()
    await store.open()
    tasks = [asyncio.create_task(store.commit(put(f"j{number}"))) for number in range(100)]
    await tasks[0]
    await postgres_database.run(KILL)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(
        isinstance(outcome, StoreUnavailable)
        for outcome in outcomes
        if isinstance(outcome, BaseException)
    )
    acknowledged = {
        f"j{number}"
        for number, outcome in enumerate(outcomes)
        if not isinstance(outcome, BaseException)
    }
    # A connection that was cut while idle may fail one call; none after that.
    for attempt in range(20):
        try:
            await store.commit(put(f"later{attempt}"))
            break
        except StoreUnavailable:
            continue
    else:
        pytest.fail("the store did not recover")
    found = {row["jti"] for row in await store.fetch("ct_all", {"client_id": "c"})}
    assert acknowledged <= found
    await store.close()


@pytest.mark.attack("S1")
async def test_an_absent_server_is_unavailable_and_the_password_stays_secret(
    postgres_database: PostgresDatabase,
) -> None:
    directory = postgres_database.dsn.partition("host=")[2]
    dsn = f"postgresql://postgres:canary@/absent?host={directory}"
    for url in (dsn, dsn + "/nowhere"):
        store = PostgresStore(url, FixedClock())
        with pytest.raises(StoreUnavailable) as caught:
            await store.open()
        assert "canary" not in repr(caught.value) + repr(caught.value.__cause__) + repr(vars(store))
