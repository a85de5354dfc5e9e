"""What the gateway costs over calling a vendor directly: the same jobs, both ways, in one run.

``python -m bench.gateway [SUBMITS [RATE]]``. A vendor's fake and the server have a process each;
the load comes from this one, over 16 connections each way, the two ways in turns of a few seconds.
Each job is another circuit, so that none of the gateway's memories helps it.

Two comparisons, each with the direct call as what it is held against:

* **answered**: from the agent's send to the answer. Directly that is the vendor's receipt; through
  the gateway it is the acceptance, durable and audited, before the vendor is called.
* **at the vendor**: from the agent's send to the request's arrival at the vendor. Through the
  gateway that is everything: checks, policy, money, two durable commits, the vendor call.

The bounds are on the difference of the two ways, for the p50 and the p99 of *answered*, when
submits come at a steady pace (`RATE` a second) that leaves neither side waiting for a processor. As
fast as 16 connections can, both are queues for two cores, and a latency is 16 times the CPU of one
request: that is printed too, and bounds nothing. Latencies count from when a submit was due.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from urllib.request import urlopen

import uvloop

from bench.support import EXPERIMENT, Server, enrol, free_port, now_ms, request, server, wait_for
from cryogate.circuits import Dialect, Format, emit, parse_flat
from cryogate.client import Client, Identity, Operator, read_credential

CONNECTIONS, SUBMITS, RATE, ROUNDS = 16, 2000, 100, 5
P50_MS, P99_MS = 3.0, 15.0
BACKEND, KEY = "ionq:simulator", "bench-key"
_PRICE = {"backend": "ionq:*", "model": "nominal", "currency": "USD", "task": "0.01", "shot": "0",
          "gate": "0", "source": "bench", "as_of": "2026-11-01"}  # fmt: skip
_ANGLE = itertools.count(1)


@dataclass(frozen=True)
class Shot:
    """The ``n``-th submit: when it was due, when answered (monotonic ns), and with what."""

    n: int
    due: int
    answered: int
    status: int
    body: bytes


Job = tuple[str, Shot]


def source() -> str:
    """A circuit of 20 gates that nobody has seen."""
    angle = next(_ANGLE) * 1e-5
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', "qreg q[5];", "creg c[5];"]
    for i in range(20):
        a = i % 5
        lines.append(f"rz({angle + i / 7}) q[{a}];" if i % 2 else f"cx q[{a}],q[{(a + 1) % 5}];")
    return "\n".join([*lines, "measure q -> c;"]) + "\n"


def direct(vendor: str, tag: str) -> bytes:
    """The vendor's own request for such a circuit, as its clients send it."""
    program = parse_flat(source().encode(), Format.OPENQASM2)
    circuit = json.loads(emit(program, Dialect.IONQ_JSON))
    circuit.pop("registers", None)
    body = json.dumps({
        "type": "ionq.circuit.v1", "backend": "simulator", "name": tag, "shots": 100,
        "metadata": {"cryogate_job": tag}, "input": circuit,
    }).encode()  # fmt: skip
    headers = ["Content-Type: application/json", f"Authorization: apiKey {KEY}"]
    return request("POST", f"{vendor}/v0.4/jobs", headers, body)


class Submitter:
    """Requests of an agent, each with a proof of its own."""

    def __init__(self, client: Client, identity: Identity) -> None:
        self._client, self._identity = client, identity

    def __call__(self) -> bytes:
        body = json.dumps({"backend": BACKEND, "shots": 100,
                           "program": {"format": "openqasm2", "source": source()}})  # fmt: skip
        url, access = f"{self._client.url}/v1/jobs", self._client.token().value
        proof = self._identity.proof("POST", url, now_ms(), access, None)
        headers = ["Content-Type: application/json", f"Authorization: DPoP {access}",
                   f"DPoP: {proof}"]  # fmt: skip
        return request("POST", url, headers, body.encode())


async def _drive(url: str, payloads: Sequence[bytes], rate: float | None) -> list[Shot]:
    host, _, port = url.removeprefix("http://").partition(":")
    turns, shots = iter(enumerate(payloads)), list[Shot]()
    start = time.monotonic_ns()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for n, payload in turns:
            due = time.monotonic_ns()
            if rate is not None:
                due = start + int(n / rate * 1e9)
                await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            writer.write(payload)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            body = await reader.readexactly(length)
            shots.append(Shot(n, due, time.monotonic_ns(), int(head[9:12]), body))
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return shots


def drive(url: str, payloads: Sequence[bytes], rate: float | None = None) -> list[Shot]:
    """Send all over `CONNECTIONS` connections, at ``rate`` a second or as fast as it goes."""
    return uvloop.run(_drive(url, payloads, rate))


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def line(name: str, values: Sequence[float]) -> str:
    found = "  ".join(f"p{q * 100:.0f} {quantile(values, q):7.2f}" for q in (0.5, 0.9, 0.99))
    return f"  {name:<34} {found} ms  ({len(values)})"


@contextmanager
def vendor_process() -> Iterator[str]:
    """`bench.vendor` in a process of its own; its URL."""
    port = free_port()
    process = Popen([sys.executable, "-m", "bench.vendor", str(port), KEY])
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def gateway(vendor: str) -> Iterator[Server]:
    """A server that sends its jobs to ``vendor``."""

    def prepare(state: Path) -> Sequence[str]:
        data = state / "policy" / "cryogate_data"
        for file, *way in (("settings", "simulators"), ("tiers", "sandbox", "backends")):
            path = data / file / "data.json"
            found = place = json.loads(path.read_text())
            for name in way:
                place = place[name]
            place.append(BACKEND)
            path.write_text(json.dumps(found))
        book, config = state.parent / "prices.json", state.parent / "cryogate.toml"
        book.write_text(json.dumps({"version": "bench", "entries": [_PRICE]}))
        config.write_text(
            f'[prices]\nbook = "{book}"\n[providers]\nenabled = ["ionq"]\n'
            f'[ionq]\nurl = "{vendor}/v0.4"\n'
        )
        return ["--config", str(config)]

    with server(prepare) as target:
        with Operator(target.url, read_credential(target.state / "operator.jwk").identity) as admin:
            admin.call("POST", "admin", "v1", "secrets", "ionq", body={"value": KEY})
        yield target


def arrivals(vendor: str) -> dict[str, int]:
    with urlopen(f"{vendor}/arrivals") as answer:  # noqa: S310 - our own process
        found: dict[str, int] = json.load(answer)
    return found


def settled(vendor: str, tags: set[str]) -> dict[str, int]:
    """The arrivals, once every job of ``tags`` has arrived."""
    deadline = time.monotonic() + 120
    while not tags <= (found := arrivals(vendor)).keys():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(tags - found.keys())} jobs never reached the vendor")
        time.sleep(0.2)
    return found


def compare(name: str, here: Sequence[float], there: Sequence[float]) -> tuple[float, float]:
    """Print both ways, and what the gateway adds at p50 and p99, in ms."""
    print(line(f"{name}, directly", here))
    print(line(f"{name}, through the gateway", there))
    more = [quantile(there, q) - quantile(here, q) for q in (0.5, 0.99)]
    times = [quantile(there, q) / quantile(here, q) for q in (0.5, 0.99)]
    print(f"  {'the gateway adds':<34} p50 {more[0]:7.2f} ({times[0]:.1f} x)  "
          f"p99 {more[1]:7.2f} ms ({times[1]:.1f} x)")  # fmt: skip
    return more[0], more[1]


def main(words: Sequence[str]) -> int:
    """Run both loads both ways; 1 when a bound does not hold."""
    submits = int(words[0]) if words else SUBMITS
    rate = float(words[1]) if len(words) > 1 else RATE
    with vendor_process() as vendor, gateway(vendor) as target:
        identity = enrol(target, BACKEND)
        with Client(target.url, identity.client_id, identity, EXPERIMENT) as client:
            submit, tags = Submitter(client, identity), itertools.count()

            def ways(count: int, pace: float | None) -> tuple[list[Job], list[Job]]:
                """``count`` jobs directly, and as many through the gateway, by their tags."""
                sent = [f"direct-{next(tags)}" for _ in range(count)]
                here = drive(vendor, [direct(vendor, tag) for tag in sent], pace)
                found = drive(target.url, [submit() for _ in range(count)], pace)
                assert {s.status for s in here} == {201}, here[0].body
                assert {s.status for s in found} == {202}, found[0].body
                return [(sent[s.n], s) for s in here], [
                    (json.loads(s.body)["job_id"], s) for s in found
                ]

            ways(300, None)  # warm
            rounds = [ways(submits // ROUNDS, rate) for _ in range(ROUNDS)]
            here = [job for directly, _ in rounds for job in directly]
            there = [job for _, through in rounds for job in through]
            at = settled(vendor, {tag for tag, _ in (*here, *there)})
            bare = commits(rate)
            cpu = target.cpu_s()
            fast, fast_there = ways(submits // 2, None)
            settled(vendor, {tag for tag, _ in fast_there})
            cpu = (target.cpu_s() - cpu) / len(fast)
    print(f"{CONNECTIONS} connections each way, {rate:.0f} submits a second")
    p50, p99 = compare("answered", answered(here), answered(there))
    print(line("a bare durable commit", bare))
    print(line("accepted, to at the vendor", [_ms(s.answered, at[tag]) for tag, s in there]))
    compare("at the vendor", *([_ms(s.due, at[t]) for t, s in jobs] for jobs in (here, there)))
    print(f"{CONNECTIONS} connections each way, as fast as each is answered (queues for two cores; "
          f"{cpu * 1e6:.0f} us CPU a submit with its dispatch)")  # fmt: skip
    compare("answered", answered(fast), answered(fast_there))
    good = p50 <= P50_MS and p99 <= P99_MS
    print(f"  overhead of a submit: p50 {p50:.2f} ms (bound {P50_MS:.0f}), p99 {p99:.2f} ms "
          f"(bound {P99_MS:.0f}): {'holds' if good else 'DOES NOT HOLD'}")  # fmt: skip
    return 0 if good else 1


def commits(rate: float) -> list[float]:
    """How long a bare durable commit takes at that pace: what no gateway can do without."""
    found = []
    with tempfile.TemporaryDirectory() as room:
        base = sqlite3.connect(Path(room) / "raw.db", isolation_level=None)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT) STRICT")
        for _ in range(300):
            began = time.monotonic_ns()
            base.execute("BEGIN IMMEDIATE")
            base.execute("INSERT INTO t (body) VALUES (?)", ("x" * 3000,))
            base.execute("COMMIT")
            found.append(_ms(began, time.monotonic_ns()))
            time.sleep(1 / rate)
        base.close()
    return found


def answered(jobs: Sequence[Job]) -> list[float]:
    return [_ms(shot.due, shot.answered) for _, shot in jobs]


def _ms(start: int, end: int) -> float:
    return (end - start) / 1e6


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
