"""What the log's tests share: events, a deployment that can be opened again, a plain sealer."""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.audit.note import Ed25519Signer
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import Sealer
from cryogate.ports.store import Store, UnitOfWork
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.testing.clock import FakeClock

ORIGIN = "cryogate.test/log"


class PlainSealer(Sealer):
    """Authenticates and hides nothing: for tests."""

    def __init__(self, key: bytes = b"k" * 32) -> None:
        self._key = key

    def seal(self, value: Secret, context: str) -> str:
        return base64.b64encode(self._tag(value.reveal(), context) + value.reveal()).decode()

    def open(self, sealed: str, context: str) -> Secret:
        raw = base64.b64decode(sealed)
        if not hmac.compare_digest(raw[:32], self._tag(raw[32:], context)):
            raise ValueError("another key, another context, or altered")
        return Secret(raw[32:])

    def _tag(self, value: bytes, context: str) -> bytes:
        return hmac.digest(self._key, context.encode() + b"\n" + value, "sha256")


def signer(seed: int = 1, name: str = ORIGIN) -> Ed25519Signer:
    return Ed25519Signer(name, Secret(bytes([seed]) * 32))


def event(number: int = 0, **fields: str) -> Event:
    """A submit event, of the usual size; ``number`` sets it apart."""
    return Event(
        timestamp_ms=1_800_000_000_000 + number,
        action="job.submit",
        outcome=Outcome.SUCCESS,
        agent_id=fields.get("agent_id", "agent-7"),
        human_owner="ada@example.com",
        experiment_id="exp-42",
        purpose=fields.get("purpose", "calibrate"),
        circuit_sha256="a" * 64,
        gate_set=("cx", "h", "rz"),
        qpu="local:aer",
        shots=1000,
        token_id="tok_" + "x" * 22,
        token_ttl_s=300,
        job_id=f"job_{number:022}",
        cost_estimate_cents=12,
        currency="USD",
        policy_digest="b" * 64,
    )


async def record(store: Store, count: int, first: int = 0) -> None:
    """Commit ``count`` events in units of work of up to 200."""
    for start in range(first, first + count, 200):
        numbers = range(start, min(start + 200, first + count))
        await store.commit(UnitOfWork((), tuple(event(n) for n in numbers)))


class Deployment:
    """A database (SQLite, or PostgreSQL at ``dsn``) and a head directory that a log can be started
    on again and again.
    """

    def __init__(self, directory: Path, dsn: str = "") -> None:
        self.directory, self.dsn = directory, dsn
        self.database = directory / "cryogate.db"
        self.heads = FileHeadStore(directory / "heads")
        self.clock = FakeClock()
        self.signer = signer()

    def log(self, store: Store) -> AuditLog:
        return AuditLog(store, self.clock, self.signer, self.heads, ORIGIN)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        store = (
            PostgresStore(self.dsn, self.clock)
            if self.dsn
            else SqliteStore(self.database, self.clock)
        )
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Store, AuditLog]]:
        """A started log; closed in order at the end."""
        async with self.store() as store:
            log = self.log(store)
            await log.start()
            yield store, log
            await log.close()
