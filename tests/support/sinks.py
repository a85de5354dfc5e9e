"""A log with entries, a feeder over it, and what a sink's tests need."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
from tests.support.audit import ORIGIN, Deployment, record

from cryogate.audit.log import AuditLog
from cryogate.domain.decisions import Scalar
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.sinks import Entry, EntryRefused, Sink
from cryogate.ports.store import Store
from cryogate.sinks.feeder import Feeder
from cryogate.sinks.registry import FORMATS
from cryogate.sinks.setup import SinkSetup
from cryogate.wiring.sinks import reader


class Told(Alerts):
    """Remembers."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, str]] = []
        self.heard = asyncio.Event()

    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        self.kinds.append((kind, subject))
        self.heard.set()


def fetcher(ca_file: Path | None = None) -> Fetcher:
    """The guarded one, let into this machine only."""
    return Fetcher(
        allowed=networks(["127.0.0.0/8"]), insecure_http=True, ca_file=ca_file, timeout_s=5
    )


def setup(url: str, send: Fetcher, form: str = "json", **more: object) -> SinkSetup:
    known: dict[str, object] = {
        "name": "under-test", "url": url, "line": FORMATS[form], "send": send.send,
        "now_ms": lambda: 1_800_000_000_000, "token": "canary-sink-token", "insecure_clear": True,
    }  # fmt: skip
    return SinkSetup(**(known | more))  # type: ignore[arg-type]


class World:
    """A store whose log is sequenced."""

    def __init__(self, place: Deployment, store: Store, audit: AuditLog) -> None:
        self.place, self.store, self.told, self.audit = place, store, Told(), audit
        self.read = reader(store, ORIGIN)

    def feeder(self, sink: Sink, holder: str = "one", *, from_start: bool = True) -> Feeder:
        return Feeder(
            "under-test", sink, store=self.store, clock=self.place.clock, read=self.read,
            alerts=self.told, holder=holder, from_start=from_start,
        )  # fmt: skip

    async def position(self) -> int:
        row = await self.store.fetch_one("sink_place", {"name": "under-test"})
        return int(row["position"] or 0) if row else 0

    async def dead(self) -> list[int]:
        rows = await self.store.fetch(
            "sink_letters", {"name": "under-test", "after": -1, "limit": 100}
        )
        return [int(row["seq"] or 0) for row in rows]


@asynccontextmanager
async def world(directory: Path, count: int = 0, dsn: str = "") -> AsyncIterator[World]:
    """Over SQLite in ``directory``, or PostgreSQL at ``dsn``."""
    place = Deployment(directory, dsn)
    async with place.running() as (store, log):
        if count:
            await record(store, count)
            while await log.sequence_now():
                pass
        yield World(place, store, log)


Log = Callable[[int], AbstractAsyncContextManager[World]]


class Scripted(Sink):
    """Does with a batch what it is told to."""

    batch = 50

    def __init__(self, act: Callable[[Sequence[Entry]], None] = lambda _: None) -> None:
        self.act, self.taken, self.closed = act, list[int](), 0

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        self.act(entries)
        self.taken += [entry.seq for entry in entries]

    async def close(self) -> None:
        self.closed += 1


async def alter(w: World, sql: str) -> None:
    """Past the store, as somebody with the database's password would."""
    if w.place.dsn:
        connection = await asyncpg.connect(w.place.dsn)
        await connection.execute(sql)
        await connection.close()
        return
    with sqlite3.connect(w.place.database) as database:
        database.execute(sql)


def refuse(*seqs: int) -> Callable[[Sequence[Entry]], None]:
    def act(entries: Sequence[Entry]) -> None:
        if {entry.seq for entry in entries} & set(seqs):
            raise EntryRefused("too odd")

    return act
