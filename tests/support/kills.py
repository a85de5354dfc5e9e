"""``kill -9`` of a server at random moments, while jobs go to a vendor that fails at random.

The vendor lives in this process, so it survives every kill and knows what reached it. Afterwards:
no job ran twice, none is forgotten, every cent is accounted for, and no submission reached the
vendor without an intent event of its own on disk.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.support.running import GHZ, PRICES, Agent, Running

from cryogate.client import Client, Refused
from cryogate.dev.ionq import IonqFake
from cryogate.dev.serving import served
from cryogate.domain.errors import CryogateError
from cryogate.policies import shipped_bundle

_FAULTS: Sequence[tuple[str, int]] = (
    ("status", 503), ("status", 429), ("after", 500), ("lost", 0), ("malformed", 0),
    ("latency", 300),
)  # fmt: skip
_PRICE = {"backend": "ionq:*", "model": "nominal", "currency": "USD", "task": "0.05", "shot": "0",
          "gate": "0", "source": "test", "as_of": "2026-11-01"}  # fmt: skip
_UNLIMITED = {
    f"CRYOGATE_LIMITS_{name}": "1000000"
    for name in ("ADDRESS_PER_S", "ADDRESS_BURST", "CLIENT_PER_S", "CLIENT_BURST",
                 "AGENT_JOBS_PER_MIN", "AGENT_JOBS_BURST", "AGENT_JOBS_IN_FLIGHT")
}  # fmt: skip
_FINAL = ("done", "failed", "cancelled", "expired", "revoked")


@dataclass
class Report:
    """What was found. Lists must be empty."""

    kills: int = 0
    jobs: int = 0
    faults: int = 0
    cut_off: int = 0
    states: Counter[str] = field(default_factory=Counter)
    double_runs: list[str] = field(default_factory=list)
    lost_jobs: list[str] = field(default_factory=list)
    calls_without_intent: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (
            self.double_runs or self.lost_jobs or self.calls_without_intent or self.unbalanced
        )


class Storm:
    """A server that is killed, its agent, and the vendor."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.fake = IonqFake("vendor-key", polls=1)
        self.report = Report()
        self.process: subprocess.Popen[bytes] | None = None
        self.accepted: dict[str, str] = {}
        self.refused: Counter[str] = Counter()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def configure(self, vendor: str) -> None:
        bundle = self.folder / "bundle"
        shutil.copytree(shipped_bundle(), bundle)
        rules = bundle / "cryogate_data/settings/data.json"
        rules.write_text(rules.read_text().replace('"local:*"', '"local:*", "ionq:simulator"'))
        book = self.folder / "prices.json"
        book.write_text(json.dumps({**PRICES, "entries": [*PRICES["entries"], _PRICE]}))
        (self.folder / "cryogate.toml").write_text(
            f'[prices]\nbook = "{book}"\n[policy]\nbundle = "{bundle}"\ninsecure_unsigned = true\n'
            f'[providers]\nenabled = ["ionq"]\nrefresh_s = 5\n[ionq]\nurl = "{vendor}/v0.4"\n'
        )

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self) -> None:
        env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")} | _UNLIMITED
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cryogate.cli.main", "up", "--port", str(self.port),
                 "--config", str(self.folder / "cryogate.toml")],
                env={**env, "CRYOGATE_STATE_DIR": str(self.state)}, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(sign)
        self.process.wait(60)

    def storm(self, kills: int, jobs: int) -> Report:
        with served(self.fake.app) as vendor:
            self.configure(vendor)
            self.start()
            try:
                running = Running(self.state)
                running.admin("POST", "secrets", "ionq", body={"value": self.fake.key})
                agent = running.agent(
                    agent={"tier": "standard"}, allowed_backends=["ionq:simulator"],
                    budget_cents=10**8, budget_shots=10**9,
                )  # fmt: skip
                submitting = threading.Thread(target=self._submit, args=(agent, jobs), daemon=True)
                submitting.start()
                for _ in range(kills):
                    for _ in range(self.random.randrange(3)):
                        self._harm()
                    time.sleep(self.random.uniform(0.05, 2.0))
                    self.kill()
                    self.report.kills += 1
                    self.start()
                submitting.join(60 + jobs)
                assert not submitting.is_alive(), (len(self.accepted), self.refused)
                self.fake.faults.armed.clear()
                self._settle()
                found = running.admin("GET", "ledger", "check")
                if found["balanced"] is not True:
                    self.report.unbalanced.append(json.dumps(found))
                running.close()
            finally:
                self.kill(signal.SIGTERM)
        self._judge(jobs)
        return self.report

    def _harm(self) -> None:
        kind, value = self.random.choice(_FAULTS)
        method = self.random.choice(("POST", "GET"))
        self.fake.faults.add(kind, value, method=method, path="/v0.4/jobs")
        self.report.faults += 1

    def _submit(self, agent: Agent, jobs: int) -> None:
        client = agent.client
        for n in range(jobs):
            key = f"job-{n}"
            while key not in self.accepted:
                try:
                    job = client.submit(GHZ, "ionq:simulator", 100, idempotency_key=key)
                except Refused as refused:
                    self.refused[refused.code] += 1
                    client.close()
                    client = Client(agent.url, client.client_id, agent.key, client.experiment)
                    time.sleep(0.1)  # a token of its own, with room for more jobs
                except CryogateError:
                    time.sleep(0.05)
                else:
                    self.accepted[key] = job.job_id

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        base = sqlite3.connect(f"file:{self._database()}?mode=ro", uri=True)
        try:
            return base.execute(sql).fetchall()
        finally:
            base.close()

    def _database(self) -> Path:
        return next(p for p in self.state.rglob("*.db"))

    def _settle(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            states = self._rows("SELECT state FROM jobs")
            if all(state in _FINAL for (state,) in states):
                return
            time.sleep(0.2)

    def _judge(self, jobs: int) -> None:
        report = self.report
        rows = self._rows("SELECT job_id, state, hold, cost_actual_cents FROM jobs")
        intents = Counter(
            dict(
                self._rows(
                    "SELECT job_id, count(*) FROM events WHERE action = 'job.dispatching'"
                    " GROUP BY job_id"
                )
            )
        )
        calls: Counter[str] = Counter()
        for method, path, _, body in self.fake.faults.seen:
            if method == "POST" and path == "/v0.4/jobs":
                try:
                    sent = json.loads(body)
                except ValueError:
                    report.cut_off += 1  # killed while it was sending: no vendor can act on it
                    continue
                if not sent.get("dry_run"):
                    calls[sent["metadata"]["cryogate_job"]] += 1
        report.jobs = len(rows)
        report.states = Counter(state for _, state, _, _ in rows)
        report.calls_without_intent = [j for j, n in calls.items() if n > intents[j]]
        known = {job_id for job_id, *_ in rows}
        report.lost_jobs = [key for key, job_id in self.accepted.items() if job_id not in known]
        report.lost_jobs += [f"job-{n}" for n in range(jobs) if f"job-{n}" not in self.accepted]
        if len(rows) != jobs:
            report.lost_jobs.append(f"{len(rows)} rows")
        for job_id, state, hold, cents in rows:
            ran = len(self.fake.ran(job_id))
            if ran > 1:
                report.double_runs.append(job_id)
            if state not in _FINAL or (state == "done" and ran != 1):
                report.lost_jobs.append(f"{job_id} {state} ran {ran}")
            if hold == "held" or (hold == "settled" and cents is None):
                report.unbalanced.append(f"{job_id} {hold}")
        ((held, spent),) = self._rows("SELECT held_cents, spent_cents FROM budgets")
        due = sum(cents or 0 for _, _, hold, cents in rows if hold == "settled")
        if held != 0 or spent != due:
            report.unbalanced.append(f"held {held}, spent {spent}, due {due}")
