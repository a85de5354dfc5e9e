"""What every driver of the store promises; the same assertions on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum

import pytest
from tests.contract.conftest import NewStore

from cryogate.domain.events import Event, Outcome
from cryogate.ports.audit import encode_event
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    SqlValue,
    Statement,
    Store,
    StoreUnavailable,
    UnitOfWork,
)
from cryogate.storage import PostgresStore
from cryogate.storage.statements import MAX_INT, MIN_INT, BadStatement

EVENT = Event(
    timestamp_ms=1_700_000_000_123,
    action="job:submit",
    outcome=Outcome.INTENT,
    agent_id="agent-1",
    experiment_id="exp-1",
    job_id="job_1",
    shots=1000,
    decision_reasons=("ok", "größer\n"),
)


def put(jti: str, value: SqlValue = 0, *, client: str = "c", guard: str = "") -> Statement:
    return Statement("ct_insert", {"client_id": client, "jti": jti, "value": value}, guard=guard)


def work(*statements: Statement, events: tuple[Event, ...] = ()) -> UnitOfWork:
    return UnitOfWork(statements, events)


async def content(store: Store, client: str = "c") -> dict[SqlValue, SqlValue]:
    rows = await store.fetch("ct_all", {"client_id": client})
    return {row["jti"]: row["value"] for row in rows}


async def actions(store: Store) -> list[SqlValue]:
    return [row["action"] for row in await store.fetch("ct_events", {})]


async def test_a_unit_is_read_as_soon_as_it_is_acknowledged(store: Store) -> None:
    for number in range(20):
        await store.commit(work(put(f"j{number}", number)))
        assert len(await content(store)) == number + 1


async def test_the_state_is_another_one_before_a_commit_is_acknowledged(store: Store) -> None:
    if store.state is None:
        # several processes write: nobody is told that nothing has changed
        assert isinstance(store, PostgresStore)
        return
    seen = [store.state]
    for number in range(5):
        await store.commit(work(put(f"j{number}")))
        seen.append(store.state)
        assert store.state == seen[-1]
    with pytest.raises(GuardFailed):
        await store.commit(work(put("j0")))
    assert len(set(seen)) == 6


async def test_events_are_in_the_transaction_of_the_state(store: Store) -> None:
    await store.commit(work(put("a"), events=(EVENT,)))
    (row,) = await store.fetch("ct_events", {})
    body = row["body"]
    assert isinstance(body, str)
    assert body.encode() == encode_event(EVENT)
    assert {name: row[name] for name in row if name not in ("body", "event_id")} == {
        "seq": None,
        "leaf_hash": None,
        "action": "job:submit",
        "agent_id": "agent-1",
        "experiment_id": "exp-1",
        "job_id": "job_1",
        "timestamp_ms": 1_700_000_000_123,
    }


@pytest.mark.attack("L3")
async def test_a_failed_guard_undoes_everything_and_leaves_no_event(store: Store) -> None:
    await store.commit(work(put("before", 1)))
    nothing = Statement("ct_add", {"client_id": "c", "jti": "absent", "value": 1}, guard="room")
    change = Statement("ct_add", {"client_id": "c", "jti": "before", "value": 5})
    with pytest.raises(GuardFailed) as caught:
        await store.commit(work(change, put("new"), nothing, put("never"), events=(EVENT,)))
    assert caught.value.guard == "room"
    assert type(caught.value) is GuardFailed
    assert await content(store) == {"before": 1}
    assert await actions(store) == []


async def test_a_guard_without_a_name_is_called_like_its_statement(store: Store) -> None:
    with pytest.raises(GuardFailed) as caught:
        await store.commit(work(Statement("ct_delete_all", {"client_id": "nobody"})))
    assert caught.value.guard == "ct_delete_all"


async def test_too_many_rows_fail_a_guard_as_too_few_do(store: Store) -> None:
    await store.commit(work(put("a"), put("b")))
    for due in (0, 1, 3):
        with pytest.raises(GuardFailed):
            await store.commit(work(Statement("ct_delete_all", {"client_id": "c"}, rows=due)))
    assert len(await content(store)) == 2
    await store.commit(work(Statement("ct_delete_all", {"client_id": "c"}, rows=2)))
    await store.commit(work(Statement("ct_delete_all", {"client_id": "c"}, rows=None)))
    await store.commit(work(Statement("ct_delete_all", {"client_id": "c"}, rows=0)))
    assert await content(store) == {}


async def test_a_taken_key_is_told_from_other_failures(store: Store) -> None:
    await store.commit(work(put("a", 1)))
    with pytest.raises(AlreadyExists) as caught:
        await store.commit(work(put("b"), put("a", 2, guard="assertion"), events=(EVENT,)))
    assert caught.value.guard == "assertion"
    assert await content(store) == {"a": 1}
    assert await actions(store) == []
    quiet = Statement("ct_insert_quietly", {"client_id": "c", "jti": "a", "value": 3})
    with pytest.raises(GuardFailed) as other:
        await store.commit(work(quiet))
    assert not isinstance(other.value, AlreadyExists)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ct_agent", {"agent_id": "a", "owner": "o", "stage": "root", "active": 1}),
        ("ct_agent", {"agent_id": "a", "owner": None, "stage": "simulator", "active": 1}),
        ("ct_agent", {"agent_id": "a", "owner": "o", "stage": "simulator", "active": 2}),
        ("ct_budget", {"experiment_id": "absent", "limit_cents": 1}),
    ],
    ids=["check", "not null", "boolean", "foreign key"],
)
async def test_the_schema_itself_is_a_guard(
    store: Store, name: str, params: Mapping[str, SqlValue]
) -> None:
    with pytest.raises(GuardFailed) as caught:
        await store.commit(work(put("x"), Statement(name, params, guard="schema")))
    assert type(caught.value) is GuardFailed
    assert caught.value.guard == "schema"
    assert await content(store) == {}


async def test_a_sum_beyond_64_bit_fails_its_guard(store: Store) -> None:
    await store.commit(work(put("a", MAX_INT)))
    with pytest.raises(GuardFailed):
        await store.commit(work(Statement("ct_add", {"client_id": "c", "jti": "a", "value": 1})))
    assert await content(store) == {"a": MAX_INT}


async def test_rows_come_back_in_the_place_of_their_statement(store: Store) -> None:
    answer = await store.commit(
        work(
            put("a", 1),
            Statement("ct_insert_returning", {"client_id": "c", "jti": "b", "value": 2}),
            Statement("ct_raise_all", {"client_id": "c"}, rows=2),
            Statement("ct_check_present", {"client_id": "c", "jti": "b"}),
            Statement("ct_lock_present", {"client_id": "c", "jti": "b"}),
            events=(EVENT, EVENT),
        )
    )
    assert [len(rows) for rows in answer] == [0, 1, 2, 1, 1]
    assert list(answer[1]) == [{"jti": "b", "value": 2}]
    assert sorted((row["jti"], row["value"]) for row in answer[2]) == [("a", 2), ("b", 3)]
    assert isinstance(answer[1][0], Mapping)


async def test_identities_are_given_in_order(store: Store) -> None:
    given = [
        (await store.commit(work(Statement("ct_revoke", {"subject": f"s{n}"}))))[0][0]["rev_seq"]
        for n in range(3)
    ]
    numbers = [number for number in given if isinstance(number, int)]
    assert len(numbers) == 3
    assert numbers == sorted(set(numbers))


async def test_a_guard_may_be_a_query(store: Store) -> None:
    missing = Statement("ct_check_present", {"client_id": "c", "jti": "a"}, guard="present")
    with pytest.raises(GuardFailed, match="present"):
        await store.commit(work(put("b"), missing))
    assert await content(store) == {}


async def test_a_unit_of_events_alone_commits(store: Store) -> None:
    assert list(await store.commit(work(events=(EVENT, EVENT)))) == []
    assert await actions(store) == ["job:submit", "job:submit"]


async def test_an_empty_unit_commits(store: Store) -> None:
    assert list(await store.commit(work())) == []


async def test_an_event_that_cannot_be_logged_stops_its_unit(store: Store) -> None:
    bad = Event(timestamp_ms=1, action="a", outcome=Outcome.SUCCESS, shots=2**53)
    with pytest.raises(ValueError, match="beyond"):
        await store.commit(work(put("a"), events=(bad,)))
    assert await content(store) == {}


async def test_null_comes_back_as_none(store: Store) -> None:
    await store.commit(
        work(
            Statement("ct_key", {"kid": "k1", "retired_ms": None}),
            Statement("ct_key", {"kid": "k2", "retired_ms": 0}),
        )
    )
    rows = await store.fetch("ct_keys", {})
    assert [dict(row) for row in rows] == [
        {"kid": "k1", "retired_ms": None},
        {"kid": "k2", "retired_ms": 0},
    ]


TEXTS = [
    "",
    "plain",
    "ünïcödé 🧊",
    "'; DROP TABLE agents; --",
    "\x01\x7f\u2028\u202e",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_text_round_trips_unchanged(store: Store, text: str) -> None:
    await store.commit(work(put("k"), Statement("ct_agent", {
        "agent_id": text, "owner": text, "stage": "simulator", "active": 1})))  # fmt: skip
    row = await store.fetch_one("ct_odd_text", {"value": text})
    assert row == {"a:b": ":none", "value": text}


@pytest.mark.attack("C8")
@pytest.mark.parametrize(
    "value",
    ["a\0b", "\ud800", 2**63, -(2**63) - 1, 1.0, b"a", ("a",)],
    ids=["NUL", "surrogate", "2**63", "-2**63-1", "float", "bytes", "tuple"],
)
async def test_values_that_one_database_would_refuse_both_refuse(
    store: Store, value: SqlValue
) -> None:
    for statement in (
        Statement("ct_insert", {"client_id": "c", "jti": value, "value": 1}),
        Statement("ct_insert", {"client_id": "c", "jti": "a", "value": value}),
    ):
        with pytest.raises(BadStatement):
            await store.commit(work(put("z"), statement))
    with pytest.raises(BadStatement):
        await store.fetch("ct_all", {"client_id": value})
    assert await content(store) == {}


async def test_the_widest_integers_round_trip(store: Store) -> None:
    await store.commit(work(put("low", MIN_INT), put("high", MAX_INT)))
    assert await content(store) == {"low": MIN_INT, "high": MAX_INT}


async def test_enumerations_and_booleans_are_stored_as_what_they_stand_for(store: Store) -> None:
    class Name(StrEnum):
        FIRST = "first"

    await store.commit(work(put(Name.FIRST, True)))
    assert await content(store) == {"first": 1}
    assert [type(key) for key in await content(store)] == [str]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("no_such_statement", {}),
        ("ct_insert", {"client_id": "c", "jti": "a"}),
        ("ct_insert", {"client_id": "c", "jti": "a", "value": 1, "more": 2}),
        ("ct_insert", {"client_id": "c", "jti": "a", "valeu": 1}),
    ],
    ids=["unknown", "missing", "surplus", "misspelt"],
)
async def test_a_mistake_in_the_program_is_found_before_anything_is_sent(
    store: Store, name: str, params: Mapping[str, SqlValue]
) -> None:
    with pytest.raises(BadStatement):
        await store.commit(work(put("first"), Statement(name, params)))
    assert await content(store) == {}


async def test_fetch_refuses_a_statement_that_writes(store: Store) -> None:
    for name in ("ct_delete_all", "ct_raise_all"):
        with pytest.raises(BadStatement, match="writes"):
            await store.fetch(name, {"client_id": "c"})


async def test_fetch_one_refuses_several_rows(store: Store) -> None:
    await store.commit(work(put("a"), put("b")))
    with pytest.raises(StoreUnavailable):
        await store.fetch_one("ct_all", {"client_id": "c"})
    assert await store.fetch_one("ct_all", {"client_id": "none"}) is None


@pytest.mark.attack("B1")
async def test_200_concurrent_units_never_exceed_one_budget(store: Store) -> None:
    await store.commit(
        work(
            Statement("ct_experiment", {"experiment_id": "e"}),
            Statement("ct_budget", {"experiment_id": "e", "limit_cents": 70}),
        )
    )

    def submit(number: int) -> UnitOfWork:
        hold = Statement("ct_hold", {"experiment_id": "e", "cents": 10}, guard="budget")
        # The row written first shows whether a failed hold takes it back.
        return work(put(f"j{number}"), hold, events=(EVENT,))

    outcomes = await asyncio.gather(
        *(store.commit(submit(number)) for number in range(200)), return_exceptions=True
    )
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(failed) == 193
    assert {getattr(failure, "guard", repr(failure)) for failure in failed} == {"budget"}
    assert await store.fetch_one("ct_held", {"experiment_id": "e"}) == {"held_cents": 70}
    assert len(await content(store)) == 7
    assert len(await actions(store)) == 7


async def test_units_that_lock_rows_in_opposite_orders_all_end(store: Store) -> None:
    await store.commit(work(put("a"), put("b")))

    def both(first: str, second: str) -> UnitOfWork:
        return work(
            *(
                Statement("ct_add", {"client_id": "c", "jti": jti, "value": 1})
                for jti in (first, second)
            )
        )

    pairs = [("a", "b"), ("b", "a")] * 6
    await asyncio.gather(*(store.commit(both(*pair)) for pair in pairs))
    assert await content(store) == {"a": 12, "b": 12}


async def test_one_failed_unit_does_not_touch_its_neighbours(store: Store) -> None:
    units = [work(put(f"j{n}"), put("same", n), events=(EVENT,)) for n in range(50)]
    outcomes = await asyncio.gather(*map(store.commit, units), return_exceptions=True)
    lost = [outcome for outcome in outcomes if isinstance(outcome, AlreadyExists)]
    assert len(lost) == 49
    assert len(await content(store)) == 2
    assert len(await actions(store)) == 1


async def test_a_caller_that_gives_up_stops_nobody_else(store: Store) -> None:
    tasks = [asyncio.create_task(store.commit(work(put(f"j{n}")))) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    kept = await content(store)
    for number, outcome in enumerate(outcomes):
        if not isinstance(outcome, BaseException):
            assert f"j{number}" in kept
    assert {f"j{number}" for number in range(1, 20, 2)} <= kept.keys()


async def test_close_finishes_what_was_accepted(new_store: NewStore) -> None:
    first = new_store()
    await first.open()
    tasks = [asyncio.create_task(first.commit(work(put(f"j{n}")))) for n in range(30)]
    await asyncio.sleep(0)
    await first.close()
    await asyncio.gather(*tasks)
    second = new_store()
    await second.open()
    assert len(await content(second)) == 30
    await second.close()


async def test_a_store_that_is_not_open_refuses(new_store: NewStore) -> None:
    store = new_store()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.commit(work(put("a")))
        with pytest.raises(StoreUnavailable):
            await store.fetch("ct_all", {"client_id": "c"})
        await store.open()
        await store.close()
