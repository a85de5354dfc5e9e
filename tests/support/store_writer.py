"""A process that writes to a store and says what was acknowledged, for tests that kill it."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from tests.contract.conftest import SqliteDatabase

from cryogate.domain.events import Event, Outcome
from cryogate.ports.store import Statement, StoreUnavailable, UnitOfWork
from cryogate.storage import SqliteStore

EVENT = Event(timestamp_ms=1, action="test", outcome=Outcome.INTENT)


def put(jti: str, client: str = "c") -> UnitOfWork:
    statement = Statement("ct_insert", {"client_id": client, "jti": jti, "value": 0})
    return UnitOfWork((statement,), (EVENT,))


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def stream(store: SqliteStore) -> None:
    """Many callers at once, without end."""

    async def caller(number: int) -> None:
        count = 0
        while True:
            jti = f"{number}-{count}"
            await store.commit(put(jti))
            tell(jti)
            count += 1

    await asyncio.gather(*(caller(number) for number in range(16)))


async def full(store: SqliteStore) -> None:
    """The file system refuses to let any file grow, then relents."""

    async def attempt(jti: str, padding: str = "") -> None:
        try:
            work = put(jti).statements
            if padding:
                more = Statement("ct_insert", {"client_id": padding, "jti": jti, "value": 0})
                work = (*work, more)
            await store.commit(UnitOfWork(work, (EVENT,)))
            tell(f"{jti}=ok")
        except StoreUnavailable:
            tell(f"{jti}=StoreUnavailable")

    await attempt("first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    await asyncio.gather(*(attempt(f"big{number}", "x" * 2_000_000) for number in range(5)))
    await attempt("big5", "x" * 2_000_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await attempt("after")


async def main(path: Path, mode: str) -> None:
    store = SqliteDatabase(path).store()
    try:
        await store.open()
    except StoreUnavailable as refusal:
        tell(str(refusal))
        return
    await {"stream": stream, "full": full}[mode](store)
    await store.close()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
