"""A real server process with a configuration of the test's, its operator, and agents."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.support.up import up

from cryogate.client import Client, Identity, Operator, read_credential
from cryogate.policies import shipped_bundle

GHZ = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0],q[1];
measure q -> c;
"""
PROGRAM = {"format": "openqasm2", "source": GHZ}
PRICES = {
    "version": "test",
    "entries": [
        {"backend": name, "model": "nominal", "currency": "USD", "task": task, "shot": "0",
         "gate": "0", "source": "test", "as_of": "2026-11-01"}
        for name, task in (("local:null", "0.01"), ("local:aer", "6.00"))
    ],
}  # fmt: skip


class Agent:
    """An agent's client, and requests that the client has no method for."""

    def __init__(self, url: str, client: Client, key: Identity) -> None:
        self.url, self.client, self.key = url, client, key
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=30)
        self._nonce: str | None = None

    def headers(self, method: str, path: str) -> dict[str, str]:
        token = self.client.token().value
        proof = self.key.proof(method, self.url + path, time.time_ns() // 10**6, token, self._nonce)
        return {"authorization": f"DPoP {token}", "dpop": proof}

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A request with token and proof; ``path`` without a query."""
        answer = self.http.request(method, path, headers=self.headers(method, path), json=body)
        if "dpop-nonce" in answer.headers:
            self._nonce = answer.headers["dpop-nonce"]
            answer = self.http.request(method, path, headers=self.headers(method, path), json=body)
        return answer

    def run(self, backend: str, source: str) -> dict[str, Any]:
        """A job of 100 shots, when it is over."""
        body = {"backend": backend, "shots": 100,
                "program": {"format": "openqasm2", "source": source}}  # fmt: skip
        answer = self.call("POST", "/v1/jobs", body)
        assert answer.status_code == 202, answer.text
        deadline = time.monotonic() + 60
        while True:
            job: dict[str, Any] = self.call("GET", f"/v1/jobs/{answer.json()['job_id']}").json()
            if job["state"] in ("done", "failed", "cancelled"):
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.05)

    def close(self) -> None:
        self.client.close()
        self.http.close()


class Running:
    """The server, seen from outside."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.url: str = json.loads((state / "server.json").read_text())["url"]
        self.operator = Operator(self.url, read_credential(state / "operator.jwk").identity)
        self._made: list[Agent] = []

    def admin(self, method: str, *path: str, body: object = None) -> Any:
        return self.operator.call(method, "admin", "v1", *path, body=body)

    def agent(self, *, agent: Mapping[str, Any] = {}, **experiment: Any) -> Agent:
        """A fresh agent in a fresh experiment."""
        name, purpose = f"bot-{len(self._made)}", f"exp-{len(self._made)}"
        identity = Identity.generate(name)
        self.admin("POST", "agents", body={
            "agent_id": name, "owner": "ada@example.org", "jwk": identity.public_jwk(),
            "roles": ["qpu.submit-only", "qpu.read-aggregates"], **agent})  # fmt: skip
        self.admin("POST", "experiments", body={
            "experiment_id": purpose, "purpose": "test", "classification": "poc",
            "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
            "allowed_agents": [name], "allowed_backends": ["local:null", "local:aer"],
            "budget_cents": 5000, "currency": "USD", "budget_shots": 100_000,
            **experiment})  # fmt: skip
        made = Agent(self.url, Client(self.url, name, identity, purpose), identity)
        self._made.append(made)
        return made

    def close(self) -> None:
        for agent in self._made:
            agent.close()
        self.operator.close()


def as_simulators(folder: Path, *backends: str) -> str:
    """Settings that make ``backends`` simulators to policy: new agents may use no others."""
    bundle = folder / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    rules = bundle / "cryogate_data/settings/data.json"
    listed = ", ".join(json.dumps(name) for name in ("local:*", *backends))
    rules.write_text(rules.read_text().replace('"local:*"', listed))
    return f'[policy]\nbundle = "{bundle}"\ninsecure_unsigned = true\n'


@contextmanager
def running(
    folder: Path,
    settings: str = "",
    prices: Sequence[Mapping[str, Any]] = (),
    whole: Mapping[str, Any] = PRICES,
) -> Iterator[Running]:
    """``cryogate up`` on a free port. local:aer costs 6.00 a job, local:null 0.01."""
    state, book, config = folder / "state", folder / "prices.json", folder / "cryogate.toml"
    entries = [*whole["entries"], *prices]
    book.write_text(json.dumps({**whole, "entries": entries}))
    config.write_text(f'[prices]\nbook = "{book}"\n{settings}')
    made: Running | None = None
    try:
        with up(state, folder / "server.log", ["--config", str(config)]):
            made = Running(state)
            yield made
    finally:
        # after the server has gone: some tests watch what its end does to what is open
        if made is not None:
            made.close()
