"""A running server in its own process, a load from another, and the cost of unavoidable parts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from cryogate.client import Identity, Operator, read_credential
from cryogate.policies import shipped_bundle
from cryogate.policies.local_key import open_signer, sign_directory

CONNECTIONS = 32
HZ = os.sysconf("SC_CLK_TCK")
AGENT, EXPERIMENT, BACKEND = "bench-bot", "bench", "local:null"
WIDE = 10**12
# The limits are asked on every request as ever, but one client may be as fast as it can.
UNLIMITED = {
    f"CRYOGATE_LIMITS_{who}_{what}": "1000000"
    for who in ("ADDRESS", "CLIENT")
    for what in ("PER_S", "BURST")
} | {f"CRYOGATE_LIMITS_AGENT_JOBS_{what}": "1000000" for what in ("PER_MIN", "BURST", "IN_FLIGHT")}
# In its first seconds a server asks for proofs with its own nonce (a restart must open no replay
# gap); the load is made of proofs without one, so it begins after them.
_GRACE_S = 8


def circuit(gates: int = 20) -> str:
    """A circuit of ``gates`` gates on five qubits, every angle another one."""
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', "qreg q[5];", "creg c[5];"]
    for i in range(gates):
        a = i % 5
        lines.append(f"rz({0.1 + i / 7}) q[{a}];" if i % 2 else f"cx q[{a}],q[{(a + 1) % 5}];")
    return "\n".join([*lines, "measure q -> c;"]) + "\n"


@dataclass(frozen=True)
class Server:
    """A server process that was started for a benchmark."""

    pid: int
    url: str
    state: Path

    def cpu_s(self) -> float:
        """CPU time so far, user and system, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / HZ

    def rss_mb(self) -> float:
        """Resident memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")


@contextmanager
def server(
    prepare: Callable[[Path], Sequence[str]] = lambda state: (),
    module: Sequence[str] = ("-m", "cryogate.cli.main"),
) -> Iterator[Server]:
    """``cryogate up`` on SQLite FULL with wide limits, so that the path is measured, not them.

    ``prepare`` may change the state directory before policy is signed, and gives more options.
    """
    with tempfile.TemporaryDirectory(prefix="cryogate-bench-") as room:
        state = Path(room) / "state"
        state.mkdir(mode=0o700)
        shutil.copytree(shipped_bundle(), state / "policy")
        tiers = state / "policy" / "cryogate_data" / "tiers" / "data.json"
        data = json.loads(tiers.read_text())
        for bound in ("max_total_shots", "max_jobs", "max_cost_cents", "approval_above_cents",
                      "approval_above_total_cents"):  # fmt: skip
            data["sandbox"][bound] = WIDE
        tiers.write_text(json.dumps(data))
        # its own tests speak of the narrow bounds; one that still holds is enough to start with
        tests = state / "policy" / "tests" / "data.json"
        told = json.loads(tests.read_text())
        name = "a job within every limit"
        tests.write_text(json.dumps({"start": told["start"], "cases": {name: told["cases"][name]}}))
        options = prepare(state)
        sign_directory(state / "policy", open_signer(state))
        env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
        command = [sys.executable, *module, "up", "--port", "0", *options]
        process = subprocess.Popen(
            command,
            env={**env, "CRYOGATE_STATE_DIR": str(state), **UNLIMITED},
            stdout=subprocess.DEVNULL,
        )
        try:
            known = state / "server.json"
            while not known.exists():
                if process.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.02)
            time.sleep(_GRACE_S)
            yield Server(process.pid, json.loads(known.read_text())["url"], state)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


@contextmanager
def bare_server(what: str) -> Iterator[Server]:
    """`bench.bare` in a process of its own; its one route is ``/bare``."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(port), what])
    try:
        wait_for(port)
        yield Server(process.pid, f"http://127.0.0.1:{port}", Path())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def drive_bare(what: str, method: str, headers: Sequence[str], body: bytes, count: int) -> Load:
    """The same load on the bare server."""
    with bare_server(what) as bare:
        payload = request(method, f"{bare.url}/bare", headers, body)
        drive(bare, [payload] * (count // 4))
        load, _ = drive(bare, [payload] * count)
    assert set(load.statuses) == {200}, load.statuses
    return load


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    import socket

    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("nothing listens")


def enrol(target: Server, backend: str = BACKEND) -> Identity:
    """An agent in an experiment that allows everything the benchmark does."""
    identity = Identity.generate(AGENT)
    held = read_credential(target.state / "operator.jwk")
    with Operator(target.url, held.identity) as operator:
        operator.call("POST", "admin", "v1", "agents", body={
            "agent_id": AGENT, "owner": "bench@example.org", "tier": "sandbox",
            "stage": "simulator", "roles": ["qpu.submit-only", "qpu.read-aggregates"],
            "attributes": {}, "jwk": identity.public_jwk()})  # fmt: skip
        operator.call("POST", "admin", "v1", "experiments", body={
            "experiment_id": EXPERIMENT, "purpose": "benchmark", "classification": "poc",
            "owner": "bench@example.org", "cost_center": "none",
            "closes_at": "2099-01-01T00:00:00.000Z", "allowed_agents": [AGENT],
            "allowed_backends": [backend], "release": "aggregates", "budget_cents": WIDE,
            "currency": "USD", "budget_shots": WIDE})  # fmt: skip
    return identity


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def request(method: str, url: str, headers: Sequence[str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as bytes."""
    host, _, path = url.removeprefix("http://").partition("/")
    lines = [f"{method} /{path} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@dataclass(frozen=True)
class Load:
    """What a load gave. Latencies in milliseconds."""

    requests: int
    seconds: float
    latencies: Sequence[float]
    statuses: dict[int, int]
    cpu_us: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def quantile(self, q: float) -> float:
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(q * len(self.latencies)))]

    def line(self, name: str) -> str:
        return (f"{name:<22} {self.rate:8.0f} req/s  p50 {self.quantile(0.5):6.2f} ms  "
                f"p99 {self.quantile(0.99):6.2f} ms  CPU {self.cpu_us:6.0f} us/req  "
                f"statuses {self.statuses}")  # fmt: skip


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is complete."""

    def __init__(self, work: _Work) -> None:
        self.work = work
        self.buffer = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        payload = next(self.work.payloads, None)
        if payload is None:
            self.transport.close()
            self.work.left()
            return
        self.began = time.perf_counter()
        self.transport.write(payload)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.work.done(int(head[9:12]), time.perf_counter() - self.began, rest[:length])
        self.send()


class _Work:
    def __init__(self, payloads: Sequence[bytes], keep: bool) -> None:
        self.payloads = iter(payloads)
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.bodies: list[bytes] = []
        self.keep = keep
        self.open = CONNECTIONS
        self.finished = asyncio.Event()

    def done(self, status: int, seconds: float, body: bytes) -> None:
        self.latencies.append(seconds * 1e3)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if self.keep or (status >= 400 and self.statuses[status] == 1):
            self.bodies.append(body)

    def left(self) -> None:
        self.open -= 1
        if not self.open:
            self.finished.set()


def drive(
    target: Server, payloads: Sequence[bytes], keep: bool = False
) -> tuple[Load, list[bytes]]:
    """Send all payloads over `CONNECTIONS` connections as fast as they are answered."""

    async def main() -> _Work:
        work = _Work(payloads, keep)
        host, _, port = target.url.removeprefix("http://").partition(":")
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: _Connection(work), host, int(port))
        await work.finished.wait()
        return work

    cpu, began = target.cpu_s(), time.perf_counter()
    work = uvloop.run(main())
    seconds = time.perf_counter() - began
    spent = target.cpu_s() - cpu
    count = len(work.latencies)
    return Load(count, seconds, work.latencies, work.statuses, spent / count * 1e6), work.bodies


def cpu_us(action: Callable[[], Any], seconds: float = 0.5) -> float:
    """CPU microseconds of one call, the median of five batches."""
    action()
    batch, found = 1, []
    while True:
        began = time.process_time()
        for _ in range(batch):
            action()
        took = time.process_time() - began
        if took >= seconds / 10:
            break
        batch *= 2
    for _ in range(5):
        began = time.process_time()
        for _ in range(batch):
            action()
        found.append((time.process_time() - began) / batch * 1e6)
    return statistics.median(found)


def commit_us(row_bytes: int, group: int = 16, groups: int = 100) -> float:
    """CPU microseconds per row of a bare SQLite FULL commit in groups, sync included."""
    with tempfile.TemporaryDirectory() as room:
        db = sqlite3.connect(Path(room) / "raw.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT) STRICT")
        body = "x" * row_bytes
        began = time.process_time()
        for _ in range(groups):
            db.execute("BEGIN IMMEDIATE")
            for _ in range(group):
                db.execute("INSERT INTO t (body) VALUES (?)", (body,))
            db.execute("COMMIT")
        spent = time.process_time() - began
        db.close()
    return spent / (group * groups) * 1e6


def report(name: str, load: Load, bare: Load, parts: dict[str, float], limit: float) -> None:
    """The overhead factor: CPU per request over that of what cannot be avoided.

    Twice: over the bare server, which does the unavoidable once a request under the same load, and
    over the sum of the parts, each measured in a loop of its own.
    """
    total = sum(parts.values())
    print(bare.line(f"bare {name}"))
    print(load.line(name))
    print("  parts, each in a loop: " + " + ".join(f"{k} {v:.0f}" for k, v in parts.items())
          + f" = {total:.0f} us; factor {load.cpu_us / total:.2f}")  # fmt: skip
    factor = load.cpu_us / bare.cpu_us
    verdict = "holds" if factor <= limit else "DOES NOT HOLD"
    print(
        f"  overhead factor of {name}: {factor:.2f} over the bare server (bound {limit}) {verdict}"
    )
