"""Guarded workers end badly in every way we know, and the pool goes on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cryogate.circuits import GuardedPool, WorkerFailed, WorkerLimits

HERE = "tests.unit.circuits.entrypoints"


@pytest.fixture
async def pool() -> AsyncIterator[GuardedPool]:
    limits = WorkerLimits(cpu_seconds=1, max_reply_bytes=1 << 12)
    made = GuardedPool(
        f"{HERE}:misbehave", size=1, limits=limits, max_jobs=100, request_timeout_s=30.0
    )
    yield made
    await made.close()


@pytest.mark.attack("C1")
@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("loop", "timeout"),
        ("memory", "memory"),
        ("crash", "crash"),
        ("exit", "crash"),
        ("raise", "error"),
        ("panic", "error"),
        ("write", "error"),
        ("open", "error"),
        ("big", "error"),
    ],
)
async def test_a_worker_that_fails_is_replaced(pool: GuardedPool, order: str, reason: str) -> None:
    with pytest.raises(WorkerFailed) as caught:
        await pool.call(order.encode())
    assert caught.value.reason == reason
    assert caught.value.detail.isprintable()
    assert await pool.call(b"") == b"fine"


async def test_output_of_a_library_cannot_enter_the_protocol(pool: GuardedPool) -> None:
    assert await pool.call(b"print") == b"fine"


@pytest.mark.attack("C1")
async def test_a_job_that_waits_for_ever_is_killed() -> None:
    pool = GuardedPool(f"{HERE}:misbehave", size=1, max_jobs=9, request_timeout_s=0.5)
    with pytest.raises(WorkerFailed) as caught:
        await pool.call(b"wait")
    assert caught.value.reason == "timeout"
    await pool.close()


async def test_workers_share_nothing_with_the_server() -> None:
    os.environ["CRYOGATE_TEST_SECRET"] = "not for workers"
    reader, writer = os.pipe()
    try:
        pool = GuardedPool(f"{HERE}:who", size=1, max_jobs=9, request_timeout_s=30.0)
        told = json.loads(await pool.call(b""))
        await pool.close()
    finally:
        del os.environ["CRYOGATE_TEST_SECRET"]
        os.close(reader)
        os.close(writer)
    assert told["cwd"] == []
    assert "CRYOGATE_TEST_SECRET" not in told["environment"]
    assert "PATH" not in told["environment"]
    # 0, 1, 2 are the null device; two pipes; one is the listing itself.
    assert len(told["descriptors"]) == 6


async def test_a_worker_has_no_network_where_the_kernel_lets_it() -> None:
    pool = GuardedPool(f"{HERE}:who", size=1, max_jobs=9, request_timeout_s=30.0)
    told = json.loads(await pool.call(b""))
    await pool.close()
    if not os.access("/proc/self/ns/user", os.F_OK) or _max_user_namespaces() == 0:
        pytest.skip("this kernel has no user namespaces")
    assert told["interfaces"] in (["lo"], [])


def _max_user_namespaces() -> int:
    try:
        with open("/proc/sys/user/max_user_namespaces", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 0


async def test_a_worker_retires_after_its_jobs() -> None:
    pool = GuardedPool(f"{HERE}:who", size=1, max_jobs=2, request_timeout_s=30.0)
    pids = [json.loads(await pool.call(b""))["pid"] for _ in range(5)]
    await pool.close()
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert len(set(pids)) == 3


async def test_nobody_waits_for_the_successor_of_a_worker_that_retires() -> None:
    started = list[int]()
    second = asyncio.Event()

    class Counting(GuardedPool):
        async def _start(self) -> Any:
            worker = await super()._start()
            started.append(worker.jobs)
            if len(started) == 2:
                second.set()
            return worker

    pool = Counting(f"{HERE}:who", size=1, max_jobs=20, request_timeout_s=30.0)
    pids = [json.loads(await pool.call(b""))["pid"] for _ in range(19)]
    await second.wait()  # the successor starts while the worker has a job left
    pids += [json.loads(await pool.call(b""))["pid"] for _ in range(2)]
    assert len(started) == 2
    assert len(set(pids[:20])) == 1
    assert pids[20] != pids[0]
    await pool.close()
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_callers_queue_and_each_gets_its_own_answer() -> None:
    pool = GuardedPool(f"{HERE}:echo", size=2, max_jobs=7, request_timeout_s=30.0)
    payloads = [str(i).encode() * 1000 for i in range(40)]
    assert await asyncio.gather(*(pool.call(p) for p in payloads)) == payloads
    await pool.close()


async def test_a_cancelled_caller_takes_its_worker_with_it() -> None:
    pool = GuardedPool(f"{HERE}:misbehave", size=1, max_jobs=9, request_timeout_s=30.0)
    assert await pool.call(b"") == b"fine"
    task = asyncio.create_task(pool.call(b"wait"))
    await asyncio.sleep(0)
    queued = asyncio.create_task(pool.call(b""))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await queued == b"fine"
    await pool.close()


async def test_closing_reaps_every_child() -> None:
    pool = GuardedPool(f"{HERE}:who", size=2, max_jobs=9, request_timeout_s=30.0)
    answers = await asyncio.gather(*(pool.call(b"") for _ in range(6)))
    await pool.close()
    for pid in {json.loads(answer)["pid"] for answer in answers}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(WorkerFailed) as caught:
        await pool.call(b"")
    assert caught.value.reason == "closed"


@pytest.mark.parametrize("entry", ["no.such.module:f", f"{HERE}:no_such_function"])
async def test_a_worker_that_cannot_start_says_so(entry: str) -> None:
    pool = GuardedPool(entry, size=1, max_jobs=9, request_timeout_s=30.0)
    with pytest.raises(WorkerFailed) as caught:
        await pool.call(b"")
    assert caught.value.reason == "start"
    await pool.close()


async def test_warm_workers_are_ready_before_the_first_call() -> None:
    pool = GuardedPool(f"{HERE}:echo", size=2, max_jobs=9, request_timeout_s=30.0)
    pool.prewarm()
    assert await pool.call(b"x") == b"x"
    await pool.close()


def test_a_pool_needs_room_for_work() -> None:
    with pytest.raises(ValueError, match="at least one"):
        GuardedPool(f"{HERE}:echo", size=0, max_jobs=1, request_timeout_s=1.0)
