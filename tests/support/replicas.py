"""Server processes that share one PostgreSQL: replicas of one deployment, behind one public URL."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryogate.client import Identity, Operator, read_credential

_START_S = 60.0


@dataclass(frozen=True)
class Replica:
    """One process. ``port`` is its own; clients know the deployment's URL."""

    process: subprocess.Popen[bytes]
    port: int
    state: Path


@dataclass(frozen=True)
class Cluster:
    """The replicas, the URL by which clients know them all, and its operator."""

    url: str
    replicas: tuple[Replica, ...]
    operator_key: Identity

    def send(
        self,
        replica: int,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> tuple[int, dict[str, str], bytes]:
        """One request to one replica, as a proxy in front of them would pass it on."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.replicas[replica].port, timeout=30
        )
        try:
            named = {"Host": self.url.removeprefix("http://"), **headers}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ask(
        self,
        replica: int,
        key: Identity,
        token: str,
        method: str,
        path: str,
        body: object = None,
    ) -> tuple[int, Any]:
        """A request with token and proof, to one replica; a nonce is answered once."""
        target = self.url + path.partition("?")[0]
        nonce: str | None = None
        status, answer = 0, b""
        content = b"" if body is None else json.dumps(body).encode()
        for _ in range(2):
            proof = key.proof(method, target, time.time_ns() // 10**6, token, nonce)
            headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
            if body is not None:
                headers["Content-Type"] = "application/json"
            status, fields, answer = self.send(replica, method, path, headers, content)
            if status != 401 or "dpop-nonce" not in fields:
                break
            nonce = fields["dpop-nonce"]
        return status, json.loads(answer) if answer else None


def _port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _start(state: Path, port: int, url: str, dsn: str, more: Mapping[str, str]) -> Replica:
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    env |= {
        "CRYOGATE_STATE_DIR": str(state),
        "CRYOGATE_STORAGE_URL": dsn,
        "CRYOGATE_SERVER_PORT": str(port),
        "CRYOGATE_SERVER_PUBLIC_URL": url,
        **more,
    }
    command = [sys.executable, "-m", "cryogate.cli.main", "up"]
    with (state.parent / "log").open("ab") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=log)
    return Replica(process, port, state)


def _wait(replica: Replica) -> None:
    until = time.monotonic() + _START_S
    while not (replica.state / "server.json").exists():
        if replica.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError((replica.state.parent / "log").read_text()[-3000:])
        time.sleep(0.02)


@contextmanager
def cluster(
    room: Path, dsn: str, count: int = 3, more: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """``count`` replicas. The first makes keys and operator; all share the master key."""
    ports = [_port() for _ in range(count)]
    url = f"http://127.0.0.1:{ports[0]}"
    made: list[Replica] = []
    try:
        for n, port in enumerate(ports):
            state = room / f"r{n}" / "state"
            state.mkdir(mode=0o700, parents=True)
            if n:
                for name in ("master.key", "operator.jwk", "policy-signer.jwk", "policy-keys.json"):
                    if (made[0].state / name).exists():
                        shutil.copy2(made[0].state / name, state / name)
            shared = {"CRYOGATE_AUDIT_HEADS": str(room / "heads"), **(more or {})}
            made.append(_start(state, port, url, dsn, shared))
            if n == 0:
                _wait(made[0])
        for replica in made:
            _wait(replica)
        key = read_credential(made[0].state / "operator.jwk").identity
        yield Cluster(url, tuple(made), key)
    finally:
        for replica in made:
            replica.process.send_signal(signal.SIGCONT)
            replica.process.send_signal(signal.SIGTERM)
        for replica in made:
            try:
                replica.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                replica.process.kill()
                replica.process.wait()


def enrol(found: Cluster, name: str, experiment: str) -> Identity:
    """An agent in an experiment of its own."""
    identity = Identity.generate(name)
    with Operator(found.url, found.operator_key) as operator:
        operator.call("POST", "admin", "v1", "agents", body={
            "agent_id": name, "owner": "ada@example.org", "jwk": identity.public_jwk(),
            "roles": ["qpu.submit-only", "qpu.read-aggregates"]})  # fmt: skip
        operator.call("POST", "admin", "v1", "experiments", body={
            "experiment_id": experiment, "purpose": "test", "classification": "poc",
            "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
            "allowed_agents": [name], "allowed_backends": ["local:null", "local:aer"],
            "budget_cents": 500, "currency": "USD", "budget_shots": 100_000})  # fmt: skip
    return identity
