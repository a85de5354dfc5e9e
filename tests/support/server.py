"""A ``cryogate up`` process for tests, with settings from the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.up import up

from cryogate.client import Operator, read_credential


class Server:
    """A running server and its operator."""

    def __init__(self, state: Path, ca_file: Path | None) -> None:
        self.state, self.ca_file = state, ca_file
        self.url: str = json.loads((state / "server.json").read_text())["url"]
        self.operator = Operator(
            self.url,
            read_credential(state / "operator.jwk").identity,
            ca_file=str(ca_file) if ca_file else None,
        )

    def agent(self, name: str, jwk: Mapping[str, str] | None = None) -> None:
        body = {"agent_id": name, "owner": "ada@example.org",
                "roles": ["qpu.submit-only", "qpu.read-aggregates"]}  # fmt: skip
        self.operator.call(
            "POST", "admin", "v1", "agents", body={**body, **({"jwk": dict(jwk)} if jwk else {})}
        )

    def experiment(self, name: str, *agents: str) -> None:
        self.operator.call("POST", "admin", "v1", "experiments", body={
            "experiment_id": name, "purpose": "test", "classification": "poc",
            "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
            "allowed_agents": list(agents), "allowed_backends": ["local:null", "local:aer"],
            "budget_cents": 500, "currency": "USD", "budget_shots": 100_000})  # fmt: skip

    def credential(self, name: str, **credential: object) -> str:
        """Register it; its id."""
        answer = self.operator.call(
            "POST", "admin", "v1", "agents", name, "credentials", body={"credential": credential}
        )
        found: str = answer["credentials"][-1]["kid"]
        return found


@contextmanager
def server(state: Path, ca_file: Path | None = None, **settings: str) -> Iterator[Server]:
    """``SERVER_TLS_CERT="…"`` sets ``server.tls_cert``."""
    env = {f"CRYOGATE_{name}": value for name, value in settings.items()}
    with up(state, state.with_suffix(".log"), env=env):
        made = Server(state, ca_file)
        try:
            yield made
        finally:
            made.operator.close()
