"""``kill -9`` of a server at random moments, while jobs go to a vendor that fails at random.

The vendor lives in this process, so it survives every kill and knows what reached it. So do those
who were told something: agents of their jobs and tokens, an auditor of signed heads. What is found
when the storm is over is in `kills_verdict`.

Moments are chosen so that every part of a server's life is hit: while it starts, in its first
instants, when jobs are being sent, and after the time for which it asks a vendor about lost calls.
Every life is given jobs of its own, so that there is always something to lose.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.support.kills_verdict import ENDED, Report, StormBooks, judge
from tests.support.running import GHZ, PRICES, Agent, Running
from tests.support.up import CLI, clean_env

from cryogate.client import Client, Refused
from cryogate.dev.ionq import IonqFake
from cryogate.dev.serving import served
from cryogate.domain.errors import CryogateError
from cryogate.policies import shipped_bundle

_FAULTS = (
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
#: How often a life ends in its start, and how often it is long enough to ask about lost calls.
_IN_START, _LONG = 0.15, 0.25
_CANCELLED = 0.03
_AGENTS = 4


@dataclass
class Told:
    """What the server has acknowledged: nothing of it may be lost."""

    jobs: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    heads: dict[str, bytes] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


class Storm:
    """A server that is killed, its agents, the vendor and an auditor.

    ``dsn`` is an empty PostgreSQL database, whose server is not killed; without it SQLite is used.
    """

    def __init__(self, folder: Path, seed: int, dsn: str = "") -> None:
        self.folder, self.random, self.dsn = folder, random.Random(seed), dsn
        self.fake = IonqFake("vendor-key", polls=1)
        self.told = Told()
        self.report = Report()
        self.books = StormBooks(self.state, dsn)
        self.process: subprocess.Popen[bytes] | None = None
        self._allowed = self._taken = self._calls = 0
        self._turn = threading.Lock()
        self._over = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    # -- the server --------------------------------------------------------------------------

    def configure(self, vendor: str) -> None:
        bundle = self.folder / "bundle"
        shutil.copytree(shipped_bundle(), bundle)
        rules = bundle / "cryogate_data/settings/data.json"
        rules.write_text(rules.read_text().replace('"local:*"', '"local:*", "ionq:simulator"'))
        book = self.folder / "prices.json"
        book.write_text(json.dumps({**PRICES, "entries": [*PRICES["entries"], _PRICE]}))
        storage = f'[storage]\nurl = "{self.dsn}"\n' if self.dsn else ""
        (self.folder / "tmp").mkdir()
        (self.folder / "cryogate.toml").write_text(
            f'[prices]\nbook = "{book}"\n[policy]\nbundle = "{bundle}"\ninsecure_unsigned = true\n'
            f'[providers]\nenabled = ["ionq"]\nrefresh_s = 5\n[ionq]\nurl = "{vendor}/v0.4"\n'
            f"{storage}"
        )

    def spawn(self) -> None:
        env = clean_env(self.state) | _UNLIMITED | {"TMPDIR": str(self.folder / "tmp")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*CLI, "up", "--port", str(self.port),
                 "--config", str(self.folder / "cryogate.toml")],
                env=env, stdout=log, stderr=log,
            )  # fmt: skip

    def await_ready(self) -> None:
        began = time.monotonic()
        assert self.process is not None
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", trust_env=False).is_success:
                    self.report.starting_s += time.monotonic() - began
                    return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < began + 60
            time.sleep(0.02)

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        if sign is signal.SIGKILL and self._calls:
            self.report.in_call += 1
        self.process.send_signal(sign)
        self.process.wait(60)

    def _slow(self, app: ASGIApp) -> ASGIApp:
        """A vendor takes its time before and after it acts, so that kills fall into calls."""
        chance = random.Random(0)

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            calls = scope["method"] == "POST"
            self._calls += calls
            try:
                await asyncio.sleep(chance.uniform(0.0, 0.05))
                late = chance.uniform(0.0, 0.05)

                async def answer(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        await asyncio.sleep(late)
                    await send(message)

                await app(scope, receive, answer)
            finally:
                self._calls -= calls

        return slow

    # -- the storm ---------------------------------------------------------------------------

    def storm(self, kills: int, jobs: int) -> Report:
        self.fake.faults.seen = self.report.calls(self.books)
        with served(self._slow(self.fake.app)) as vendor:
            self.configure(vendor)
            self.spawn()
            self.await_ready()
            try:
                running = Running(self.state)
                running.admin("POST", "secrets", "ionq", body={"value": self.fake.key})
                threads = [threading.Thread(target=self._watch_heads, daemon=True)]
                threads += [
                    threading.Thread(target=self._submit, args=(self._agent(running), jobs))
                    for _ in range(_AGENTS)
                ]
                for thread in threads:
                    thread.start()
                self._kill_again_and_again(kills, jobs)
                self._allowed = jobs
                began = time.monotonic()
                for thread in threads[1:]:
                    thread.join(60 + jobs)
                    assert not thread.is_alive(), (len(self.told.jobs), self.told.refused)
                self.fake.faults.armed.clear()
                self.books.settle()
                self.report.settling_s = time.monotonic() - began
                found = running.admin("GET", "ledger", "check")
                if found["balanced"] is not True:
                    self.report.unbalanced.append(json.dumps(found))
                running.close()
                self._over.set()
                threads[0].join()
            finally:
                self._over.set()
                self.kill(signal.SIGTERM)
        judge(self.report, self.told, self.books, self.fake, jobs)
        return self.report

    def _agent(self, running: Running) -> Agent:
        return running.agent(
            agent={"tier": "standard"}, allowed_backends=["ionq:simulator"],
            budget_cents=10**8, budget_shots=10**9,
        )  # fmt: skip

    def _kill_again_and_again(self, kills: int, jobs: int) -> None:
        for n in range(kills):
            self._allowed = jobs * (n + 1) // kills
            for _ in range(self.random.randrange(3)):
                self._harm()
            if self.random.random() < _LONG:
                time.sleep(self.random.uniform(0.8, 4.0))
            else:
                time.sleep(self.random.uniform(0.02, 0.8))
            self.kill()
            self.report.kills += 1
            self.spawn()
            if n + 1 < kills and self.random.random() < _IN_START:
                time.sleep(self.random.uniform(0.2, 1.5))
                self.report.killed_in_start += 1
                continue
            self.await_ready()

    def _harm(self) -> None:
        kind, value = self.random.choice(_FAULTS)
        method = self.random.choice(("POST", "GET"))
        self.fake.faults.add(kind, value, method=method, path="/v0.4/jobs")
        self.report.faults += 1

    # -- those who are told something --------------------------------------------------------

    def _next_job(self, jobs: int) -> int | None:
        while True:
            with self._turn:
                if self._taken >= jobs:
                    return None
                if self._taken < self._allowed:
                    self._taken += 1
                    return self._taken - 1
            time.sleep(0.01)

    def _submit(self, agent: Agent, jobs: int) -> None:
        chance, client = random.Random(agent.client.experiment), agent.client
        while (n := self._next_job(jobs)) is not None:
            key = f"job-{n}"
            while key not in self.told.jobs:
                try:
                    job = client.submit(GHZ, "ionq:simulator", 100, idempotency_key=key)
                    self.told.tokens.add(_token_id(client.token().value))
                except Refused as refused:
                    self.told.refused[refused.code] += 1
                    client.close()
                    client = Client(agent.url, client.client_id, agent.key, client.experiment)
                    time.sleep(0.05)  # a token of its own, with room for more jobs
                except CryogateError:
                    time.sleep(0.05)
                else:
                    self.told.jobs[key] = job.job_id
            if chance.random() < _CANCELLED:
                self._cancel(client, self.told.jobs[key])
        client.close()

    def _cancel(self, client: Client, job_id: str) -> None:
        while True:
            try:
                job = client.cancel(job_id)
            except Refused as refused:
                self.told.refused[refused.code] += 1
                return
            except CryogateError:
                time.sleep(0.05)
            else:
                if job.state == "cancelled" or job.state not in ENDED:  # else it was over already
                    self.told.cancelled.add(job_id)
                return

    def _watch_heads(self) -> None:
        """An auditor who keeps the heads that were shown: the log must contain each for ever."""
        with httpx.Client(trust_env=False, timeout=5) as http:
            while not self._over.wait(0.1):
                with suppress(httpx.HTTPError):
                    answer = http.get(f"{self.url}/audit/checkpoint")
                    if answer.is_success:
                        self.told.heads[answer.text.split("\n")[1]] = answer.content


def _token_id(token: str) -> str:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return str(claims["jti"])
