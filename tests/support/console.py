"""A person at the console, by plain HTTP: cookies, forms and the headers a browser would send."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
from tests.support.process import ServerProcess, running

from cryogate.client import Client, Identity, Operator, read_credential

CIRCUIT = 'OPENQASM 2.0;include "qelib1.inc";qreg q[1];creg c[1];h q[0];measure q[0]->c[0];'
_CSRF = re.compile(r'name="csrf" value="([A-Za-z0-9_-]{43})"')
_ONE_TIME = re.compile(r"one-time password  (\S+)")


@contextmanager
def started(
    folder: Path, port: int = 0, config: Path | None = None, **settings: str | int
) -> Iterator[ServerProcess]:
    """A server on which one job on ``local:null`` costs so much that a person is asked."""
    book = folder / "prices.json"
    entry = {"backend": "local:null", "model": "nominal", "currency": "USD", "task": "6.00",
             "shot": "0.00001", "gate": "0", "source": "test", "as_of": "2026-11-01"}  # fmt: skip
    book.write_text(json.dumps({"version": "test", "entries": [entry]}))
    with running(folder, port, config, prices__book=str(book), **settings) as server:
        yield server


def one_time_password(server: ServerProcess) -> str:
    """What the first start printed."""
    found = _ONE_TIME.findall(server.output.read_text())
    assert len(found) == 1, "the one-time password is printed once"
    return str(found[0])


def operator(server: ServerProcess) -> Operator:
    """The operator of the command line."""
    return Operator(server.url, read_credential(server.state / "operator.jwk").identity)


def parked_job(server: ServerProcess, name: str) -> tuple[Client, str]:
    """A job of agent ``name`` that waits for a person; the agent's client and the job's id."""
    key = Identity.generate(name)
    with operator(server) as admin:
        admin.call("POST", "admin", "v1", "agents", body={
            "agent_id": name, "owner": "kim@example.org", "jwk": key.public_jwk(),
            "roles": ["qpu.submit-only", "qpu.read-aggregates"]})  # fmt: skip
        admin.call("POST", "admin", "v1", "experiments", body={
            "experiment_id": f"for-{name}", "purpose": "<b>wait & see</b>",
            "classification": "poc", "owner": "kim@example.org",
            "closes_at": "2099-01-01T00:00:00.000Z", "allowed_agents": [name],
            "allowed_backends": ["local:null"], "budget_cents": 5000, "currency": "USD",
            "budget_shots": 1000})  # fmt: skip
    client = Client(server.url, name, key, f"for-{name}")
    job = client.submit(CIRCUIT, "local:null", 10)
    assert job.state == "parked", job
    return client, job.job_id


class Console:
    """A browser without JavaScript: it keeps cookies and follows nothing by itself."""

    PASSWORD = "a long enough passphrase"

    def __init__(self, server: ServerProcess) -> None:
        self.url = server.url
        self.http = httpx.Client(base_url=server.url, trust_env=False, timeout=30)
        self.session_cookie = f"insecure-cryogate-{server.address[1]}-session"
        self.csrf = ""

    @classmethod
    def first(cls, server: ServerProcess) -> Self:
        """The first administrator, password chosen."""
        return cls.invited(server, "admin", one_time_password(server))

    @classmethod
    def invited(cls, server: ServerProcess, name: str, one_time: str) -> Self:
        """Somebody who was given a one-time password, and has chosen `PASSWORD`."""
        console = cls(server)
        assert console.sign_in(name, one_time).headers["location"] == "/console/password"
        console.load_session("/console/password")
        form = {"new": cls.PASSWORD, "again": cls.PASSWORD}
        answer = console.post("/console/password", form)
        assert answer.status_code == 303, answer.text
        console.load_session()
        return console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def secret(self) -> str:
        """The session's secret, as the cookie holds it."""
        return self.http.cookies[self.session_cookie]

    def same_origin(self) -> dict[str, str]:
        """What a browser adds to a form of our own page."""
        return {"origin": self.url, "sec-fetch-site": "same-origin"}

    def unsafe(self) -> dict[str, str]:
        """What a request to the API needs that changes something."""
        return {**self.same_origin(), "x-csrf-token": self.csrf}

    def load_form(self) -> None:
        """Open the sign-in page."""
        self._token("/console/login")

    def load_session(self, path: str = "/console/me") -> None:
        """Open a page of the session, for its token."""
        self._token(path)

    def _token(self, path: str) -> None:
        answer = self.http.get(path)
        found = _CSRF.search(answer.text)
        assert found is not None, (answer.status_code, answer.text)
        self.csrf = found[1]

    def sign_in(self, name: str, password: str) -> httpx.Response:
        """Fill in the form and send it."""
        self.load_form()
        return self.post("/console/login", {"name": name, "password": password})

    def post(self, path: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        """Send a form of our own page."""
        data = {"csrf": self.csrf, **(form or {})}
        return self.http.post(path, data=data, headers=self.same_origin())
