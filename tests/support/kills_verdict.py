"""What a storm of kills has done: nothing doubled, lost, unbalanced, unannounced or forgotten.

The books are read as they lie in the database, past the server. A call to the vendor is checked
when it arrives: at that very moment an intent event of its own must be on disk.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.sources import StoreSource
from cryogate.audit.verify import VerifyReport, verify_log
from cryogate.cli.local_log import open_log, trust_for_store
from cryogate.config import load

if TYPE_CHECKING:
    from tests.support.kills import Told

    from cryogate.dev.ionq import IonqFake

ENDED = ("done", "failed", "cancelled", "expired", "revoked")
_SETTLE_S = 180
_Seen = tuple[str, str, dict[str, str], bytes]


class StormBooks:
    """The database of the server, read from outside it."""

    def __init__(self, state: Path, dsn: str) -> None:
        self.state, self.dsn = state, dsn
        # asyncpg needs a loop of its own; the vendor's is running
        self._aside = ThreadPoolExecutor(1)

    def rows(self, sql: str, value: str | None = None) -> list[tuple[Any, ...]]:
        """``sql`` with one parameter at most, written ``?``."""
        if self.dsn:
            return self._aside.submit(asyncio.run, self._postgres(sql, value)).result()
        base = sqlite3.connect(f"file:{next(self.state.glob('*.db'))}?mode=ro", uri=True)
        try:
            return base.execute(sql, () if value is None else (value,)).fetchall()
        finally:
            base.close()

    async def _postgres(self, sql: str, value: str | None) -> list[tuple[Any, ...]]:
        base = await asyncpg.connect(self.dsn)
        try:
            found = await base.fetch(sql.replace("?", "$1"), *(() if value is None else (value,)))
        finally:
            await base.close()
        return [tuple(row) for row in found]

    def intents(self, job_id: str) -> int:
        ((found,),) = self.rows(
            "SELECT count(*) FROM events WHERE action = 'job.dispatching' AND job_id = ?", job_id
        )
        return int(found)

    def settle(self) -> None:
        """Wait for every job to end and for every event to get its place in the log."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            states = self.rows("SELECT state FROM jobs")
            waiting = self.rows("SELECT count(*) FROM events WHERE seq IS NULL")
            if all(state in ENDED for (state,) in states) and waiting == [(0,)]:
                return
            time.sleep(0.2)

    def verify(self, kept: dict[str, bytes]) -> VerifyReport:
        """The whole log against every head that anybody was shown."""
        return asyncio.run(self._verify(kept))

    async def _verify(self, kept: dict[str, bytes]) -> VerifyReport:
        settings = {"storage": {"url": self.dsn}} if self.dsn else {}
        config = load(None, overrides={"state_dir": str(self.state), **settings})
        newest = await FileHeadStore(config.heads).read()
        assert newest is not None
        async with open_log(config) as store:
            trust = await trust_for_store((), config.state, store, config.audit.origin)
            assert trust.own
            return await verify_log(
                StoreSource(store), trust.keys, kept={**kept, "the head store": newest},
                origin=config.audit.origin,
            )  # fmt: skip


class Calls(list[_Seen]):
    """The requests that the vendor sees; submissions are checked as they come."""

    def __init__(self, report: Report, books: StormBooks) -> None:
        super().__init__()
        self._report, self._books = report, books
        self.made: Counter[str] = Counter()

    def append(self, seen: _Seen) -> None:
        super().append(seen)
        method, path, _, body = seen
        if method != "POST" or path != "/v0.4/jobs":
            return
        try:
            sent = json.loads(body)
        except ValueError:
            self._report.cut_off += 1  # killed while it was sending: no vendor can act on it
            return
        if sent.get("dry_run"):
            return
        job_id = sent["metadata"]["cryogate_job"]
        self.made[job_id] += 1
        if self.made[job_id] > self._books.intents(job_id):
            self._report.calls_without_intent.append(job_id)


@dataclass
class Report:
    """What was found. Lists must be empty."""

    kills: int = 0
    killed_in_start: int = 0
    jobs: int = 0
    calls_made: int = 0
    faults: int = 0
    cut_off: int = 0
    in_call: int = 0
    events: int = 0
    heads: int = 0
    acknowledged: int = 0
    starting_s: float = 0.0
    settling_s: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    double_runs: list[str] = field(default_factory=list)
    lost_jobs: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)
    calls_without_intent: list[str] = field(default_factory=list)
    lost_events: list[str] = field(default_factory=list)
    log_findings: list[str] = field(default_factory=list)

    def calls(self, books: StormBooks) -> Calls:
        """What the vendor writes down from now on."""
        return Calls(self, books)

    def verdict(self) -> dict[str, list[str]]:
        """What must be empty, by name."""
        return {
            "double runs": self.double_runs,
            "lost jobs": self.lost_jobs,
            "unbalanced cents": self.unbalanced,
            "vendor calls without an intent": self.calls_without_intent,
            "acknowledged events lost": self.lost_events,
            "findings of audit verify": self.log_findings,
        }

    @property
    def clean(self) -> bool:
        return not any(self.verdict().values())


def judge(report: Report, told: Told, books: StormBooks, fake: IonqFake, jobs: int) -> None:
    """Fill ``report`` with what is wrong, once the server has ended."""
    rows = books.rows("SELECT job_id, state, hold, cost_actual_cents, failure FROM jobs")
    report.jobs = len(rows)
    report.states = Counter(row[1] for row in rows)
    report.reasons = Counter(row[4] for row in rows if row[4])
    assert isinstance(fake.faults.seen, Calls)
    report.calls_made = sum(fake.faults.seen.made.values())
    _judge_jobs(report, told, rows, fake, jobs)
    _judge_money(report, books, rows)
    _judge_events(report, told, books, rows)


def _judge_jobs(
    report: Report, told: Told, rows: list[tuple[Any, ...]], fake: IonqFake, jobs: int
) -> None:
    known = {row[0] for row in rows}
    report.lost_jobs += [key for key, job_id in told.jobs.items() if job_id not in known]
    report.lost_jobs += [f"job-{n}" for n in range(jobs) if f"job-{n}" not in told.jobs]
    if len(rows) != jobs:
        report.lost_jobs.append(f"{len(rows)} rows")
    ran = Counter((job["metadata"] or {}).get("cryogate_job") for job in fake.jobs.values())
    for job_id, state, *_ in rows:
        if ran[job_id] > 1:
            report.double_runs.append(job_id)
        # what ran was asked for and is accounted for: only jobs that the vendor has not may end
        # as if they had not been sent
        if state not in ENDED or (state == "done" and ran[job_id] != 1):
            report.lost_jobs.append(f"{job_id} {state} ran {ran[job_id]}")
    report.double_runs += [f"{tag}: of no job" for tag in ran if tag not in known]


def _judge_money(report: Report, books: StormBooks, rows: list[tuple[Any, ...]]) -> None:
    for job_id, _, hold, cents, _ in rows:
        if hold == "held" or (hold == "settled" and cents is None):
            report.unbalanced.append(f"{job_id} {hold}")
    ((held, spent),) = books.rows("SELECT sum(held_cents), sum(spent_cents) FROM budgets")
    due = sum(cents or 0 for _, _, hold, cents, _ in rows if hold == "settled")
    if held != 0 or spent != due:
        report.unbalanced.append(f"held {held}, spent {spent}, due {due}")


def _judge_events(
    report: Report, told: Told, books: StormBooks, rows: list[tuple[Any, ...]]
) -> None:
    events = [(seq, json.loads(body)) for seq, body in books.rows("SELECT seq, body FROM events")]
    report.events, report.heads = len(events), len(told.heads)
    report.lost_events += [f"{e['action']}: no place" for seq, e in events if seq is None]
    have = {(event["action"], event.get("job_id")) for _, event in events}
    issued = {e["token_id"] for _, e in events if e["action"] == "token.issued"}
    report.acknowledged = len(told.jobs) + len(told.tokens) + len(told.cancelled)
    for job_id in told.jobs.values():
        if ("job.accepted", job_id) not in have:
            report.lost_events.append(f"job.accepted {job_id}")
    report.lost_events += [f"token.issued {token}" for token in told.tokens - issued]
    for job_id, state, *_ in rows:
        # an end that an agent could read is acknowledged, and so is a cancel
        if (f"job.{state}", job_id) not in have:
            report.lost_events.append(f"job.{state} {job_id}")
        asked = have & {("job.stop_requested", job_id), ("job.cancelled", job_id)}
        if job_id in told.cancelled and not asked:
            report.lost_events.append(f"cancel of {job_id}")
    verified = books.verify(told.heads)
    report.log_findings += [f"{f.kind.value}: {f.detail}" for f in verified.findings]
    if not verified.ok or verified.size != len(events):
        report.log_findings.append(f"{verified.size} of {len(events)} events are signed")
