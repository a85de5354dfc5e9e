"""The log: events made durable a second, time to a receipt, and how long a million verify.

    python -m bench.audit [EVENTS_TO_VERIFY]

Beside each rate, in the same run, what the database does at best: groups of rows of the same size
in durable commits, from the same callers through the same driver, and nothing of ours. A machine's
load moves both; the ratio travels.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.audit import ORIGIN, event, signer
from tests.support.postgres import PostgresServer

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.ports.clock import SystemClock
from cryogate.ports.store import Statement, Store, UnitOfWork
from cryogate.storage import PostgresStore, SqliteStore

CALLERS, GROUP, COUNT, ROUNDS = 4, 32, 16_384, 3
RATE, P99_MS, VERIFY_S, VERIFY_MB, RECEIPT_S = 8_000, 20.0, 15.0, 300, 1.5
MILLION = 1_000_000


async def flood(one: Callable[[int], Awaitable[None]]) -> float:
    """Events a second in groups, as fast as it goes."""
    left = iter(range(0, COUNT, GROUP))

    async def caller() -> None:
        for first in left:
            await one(first)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return COUNT / (time.perf_counter() - began)


async def paced(one: Callable[[int], Awaitable[None]]) -> float:
    """The 99th percentile of a group's time to durable, in ms, when `RATE` events a second come.

    Groups begin on the clock whether or not the one before is done, so a stall is not hidden.
    """
    times, running = list[float](), list[asyncio.Task[None]]()
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def timed(first: int, due: float) -> None:
        await one(first)
        times.append(loop.time() - due)

    for n in range(COUNT // GROUP):
        due = start + n * GROUP / RATE
        await asyncio.sleep(max(0.0, due - loop.time()))
        running.append(asyncio.create_task(timed(n * GROUP, due)))
    await asyncio.gather(*running)
    return sorted(times)[int(len(times) * 0.99)] * 1000


async def measure(name: str, store: Store, folder: Path) -> bool:
    """One driver; whether its bounds hold."""
    log = AuditLog(store, SystemClock(), signer(), FileHeadStore(folder / f"h-{name}"), ORIGIN)
    await log.start()
    task = asyncio.create_task(log.run())
    serial = iter(range(10**9))

    async def events(first: int) -> None:
        group = tuple(event(first + n) for n in range(GROUP))
        await store.commit(UnitOfWork((), group))

    async def raw(first: int) -> None:
        rows = tuple(
            Statement(
                "assertion_use",
                {"client_id": "x" * 500, "jti": f"{name}-{next(serial)}", "expires_ms": 0},
            )
            for _ in range(GROUP)
        )
        await store.commit(UnitOfWork(rows))

    best, best_raw, best_p99, raw_p99 = 0.0, 0.0, 10.0**9, 10.0**9
    for _ in range(ROUNDS):
        best_raw, raw_p99 = max(best_raw, await flood(raw)), min(raw_p99, await paced(raw))
        best, best_p99 = max(best, await flood(events)), min(best_p99, await paced(events))
    await asyncio.sleep(2)
    began = time.perf_counter()
    size = log.published_size
    await store.commit(UnitOfWork((), (event(1),)))
    log.poke()
    while log.published_size == size:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    receipt_s = time.perf_counter() - began
    await log.close()
    await task
    held = best >= RATE and best_p99 <= P99_MS and receipt_s <= RECEIPT_S
    print(
        f"{name}: {best:,.0f} durable events/s (want {RATE:,}), "
        f"p99 {best_p99:.1f} ms at {RATE:,}/s in groups of {GROUP} "
        f"(want {P99_MS}), "
        f"bare rows {best_raw:,.0f}/s and {raw_p99:.1f} ms, ratio {best / best_raw:.2f}, "
        f"receipt {receipt_s:.2f} s (want {RECEIPT_S}): {'ok' if held else 'MISSED'}"
    )
    return held


async def fill(database: Path, heads: Path, count: int) -> str:
    """A signed log of ``count`` entries; its key."""
    store = SqliteStore(database, SystemClock())
    await store.open()
    log = AuditLog(store, SystemClock(), signer(), FileHeadStore(heads), ORIGIN)
    await log.start()
    for first in range(0, count, 10_000):
        many = range(first, min(first + 10_000, count))
        await store.commit(UnitOfWork((), tuple(event(n) for n in many)))
        await log.sequence_now()
        await log.checkpoint_now()
    await store.close()
    return log.verifier.vkey()


async def verify(folder: Path, count: int) -> bool:
    """The command itself, as an auditor runs it; whether its bounds hold."""
    state = folder / "state"
    state.mkdir()
    key = await fill(state / "cryogate.db", state / "heads", count)
    (folder / "cryogate.toml").write_text(f'state_dir = "{state}"\n[audit]\norigin = "{ORIGIN}"\n')
    command = [sys.executable, "-m", "cryogate.cli.main", "audit", "verify",
               "--config", str(folder / "cryogate.toml"), "--state-dir", str(state),
               "--vkey", key]  # fmt: skip
    began = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: ASYNC221
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    held = not ran.returncode and took <= VERIFY_S * count / MILLION + 1 and peak <= VERIFY_MB
    print(f"verify {count:,} entries: {took:.1f} s (want {VERIFY_S} a million), "
          f"{peak:.0f} MB (want {VERIFY_MB}): {'ok' if held else 'MISSED'}")  # fmt: skip
    if ran.returncode:
        print(ran.stdout[-2000:], ran.stderr[-2000:])
    return held


async def main(count: int) -> int:
    """All of it; 1 if a bound was missed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, held = Path(temporary), []
        held.append(await verify(folder, count))
        sqlite = SqliteStore(folder / "bench.db", SystemClock())
        server = PostgresServer(durable=True)
        server.start()
        try:
            postgres = PostgresStore(await server.create(), SystemClock())
            for name, store in (("sqlite", sqlite), ("postgres", postgres)):
                await store.open()
                held.append(await measure(name, store, folder))
                await store.close()
        finally:
            server.stop()
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MILLION)))
