"""One road for every vendor of `cryogate dev vendors`: token, lease, job, result, money."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import httpx
import pytest
from tests.support.console import Console
from tests.support.hooks import Receiver, receiving, verified
from tests.support.process import ServerProcess
from tests.support.running import GHZ, PRICES, PROGRAM, Agent, Running, as_simulators, running

from cryogate.dev.serving import served
from cryogate.dev.vendors import Vendor, vendors

TRAPPED = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
r(pi/2,-pi/2) q[0];
rz(pi) q[0];
r(pi/2,-pi/2) q[1];
rz(pi) q[1];
rzz(pi/2) q[0],q[1];
rz(-pi/2) q[0];
rz(-pi/2) q[1];
r(pi/2,-pi/2) q[1];
rz(pi) q[1];
measure q -> c;
"""
NATIVE = GHZ.replace("h q[0];", "x q[0];").replace("cx q[0],q[1];", "cz q[0],q[1];")


class Way(NamedTuple):
    """A device of a vendor's, a circuit that it takes, its price, and what the job must give."""

    backend: str
    source: str
    price: dict[str, str | int]
    counts: frozenset[str]
    cents: int


WAYS = {
    "ionq": Way(
        "ionq:simulator", GHZ,
        {"model": "vendor_estimate", "ceiling": "50", "headroom_percent": 10},
        frozenset({"00", "11"}), 0,
    ),
    "braket": Way(
        "braket:sv1", GHZ, {"model": "per_task_and_shot", "task": "0.30", "shot": "0.01"},
        frozenset({"00", "11"}), 130,
    ),
    "ibm": Way(
        "ibm:ibm_torino", NATIVE, {"model": "per_second_bound", "second": "0.05",
                                   "max_seconds": 60},
        frozenset({"01"}), 8,
    ),
    "azure": Way(
        "azure:ionq.simulator", GHZ,
        {"model": "per_task_and_shot", "task": "12.00", "shot": "0.01"},
        frozenset({"00", "11"}), 1235,
    ),
    "quantinuum": Way(
        "quantinuum:h2-1", TRAPPED,
        {"model": "hqc", "currency": "HQC", "rate": "1", "base": "5", "one_qubit_gate": "1/5000",
         "two_qubit_gate": "10/5000", "spam": "5/5000", "one_qubit_per_two_qubit": 4},
        frozenset({"00", "11"}), 288,
    ),
    "google": Way(
        "google:willow_pink", NATIVE,
        {"model": "per_task_and_shot", "task": "0.30", "shot": "0.001"},
        frozenset({"01"}), 40,
    ),
}  # fmt: skip
RATES = [
    {"from": "HQC", "to": "USD", "rate": "0.50", "source": "test", "as_of": "2026-11-01"},
]
OFFERED = [vendor.scheme for vendor in vendors(1, 0)]


def prices() -> list[dict[str, Any]]:
    return [
        {"backend": f"{scheme}:*", "currency": "USD", "source": "test", "as_of": "2026-11-01",
         **way.price}
        for scheme, way in WAYS.items()
    ]  # fmt: skip


class World:
    receiver: Receiver

    def __init__(self, server: Running, made: list[Vendor], folder: Path) -> None:
        self.server, self.folder = server, folder
        self.vendors = {vendor.scheme: vendor for vendor in made}
        self.devices = {d["name"]: d for d in server.admin("GET", "backends")["items"]}
        invited = server.admin(
            "POST", "operators", body={"operator_id": "second", "roles": ["approver"]}
        )
        port = int(server.url.rpartition(":")[2])
        where = SimpleNamespace(url=server.url, address=("127.0.0.1", port))
        password = invited["one_time_password"]
        self.second = Console.invited(cast(ServerProcess, where), "second", password)

    def agent(self, scheme: str, *roles: str, **experiment: Any) -> Agent:
        backend = WAYS[scheme].backend
        roles = ("qpu.submit-only", "qpu.read-aggregates", *roles)
        made = self.server.agent(
            agent={"tier": "trusted", "roles": roles},
            allowed_backends=["local:null", backend], **experiment,
        )  # fmt: skip
        if not self.devices[backend]["simulator"]:
            body = {"backend": "local:null", "shots": 10, "program": PROGRAM}
            assert self.ended(made, made.call("POST", "/v1/jobs", body).json()["job_id"])
            self._promote(made.client.client_id)
            made.client._session.token = None  # the next one is for hardware too
        return made

    def _promote(self, name: str) -> None:
        """It has run on a simulator; one operator asks for hardware, another says yes."""
        asked = self.server.admin("POST", "agents", name, "promotion", body={"reason": "a trial"})
        decide = f"/admin/v1/approvals/{asked['approval_id']}/approve"
        yes = self.second.http.post(decide, json={"note": "go"}, headers=self.second.unsafe())
        assert yes.status_code == 200, yes.text

    def post(self, agent: Agent, scheme: str, **more: Any) -> httpx.Response:
        way = WAYS[scheme]
        body = {"backend": way.backend, "shots": 100, **more,
                "program": {"format": "openqasm2", "source": way.source}}  # fmt: skip
        return agent.call("POST", "/v1/jobs", body)

    def submit(self, agent: Agent, scheme: str, **more: Any) -> str:
        answer = self.post(agent, scheme, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def job(self, agent: Agent, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = agent.call("GET", f"/v1/jobs/{job_id}").json()
        return found

    def ended(self, agent: Agent, job_id: str) -> dict[str, Any]:
        over = ("done", "failed", "cancelled")
        until(lambda: self.job(agent, job_id)["state"] in over)
        return self.job(agent, job_id)

    def leases(self, agent: Agent) -> list[dict[str, Any]]:
        found = self.server.admin("GET", "leases")["items"]
        return [lease for lease in found if lease["agent_id"] == agent.client.client_id]

    def secrets(self, scheme: str) -> list[str]:
        """Each piece of the vendor's long-lived secret that is one."""
        text = self.vendors[scheme].secret
        fields = json.loads(text) if text.startswith("{") else {"value": text}
        if "private_key" in fields:
            return [fields["private_key"].splitlines()[5]]
        return [
            v
            for k, v in fields.items()
            if "secret" in k or k in ("value", "api_key", "refresh_token")
        ]

    def seen(self, scheme: str) -> str:
        """Everything that the vendor ever got."""
        return "".join(f"{m}{p}{h}{b!r}" for m, p, h, b in self.vendors[scheme].app._faults.seen)  # type: ignore[attr-defined]


def until(holds: Callable[[], object], s: float = 150) -> None:
    deadline = time.monotonic() + s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _offered() -> list[Vendor]:
    """On ports in a row that are free now, below those that connections are made from."""
    while True:
        made = vendors(random.randrange(20_000, 32_000), 1)
        if all(_free(vendor.port) for vendor in made):
            return made


def _free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("every")
    made = _offered()
    settings = as_simulators(folder, *(way.backend for way in WAYS.values())) + "[providers]\n"
    settings += f"enabled = {json.dumps([v.scheme for v in made])}\nrefresh_s = 5\n"
    settings += "".join(f"[{vendor.scheme}]\n{vendor.settings}\n" for vendor in made)
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving(folder))
        settings += f'[notify]\nwebhook_hosts = ["{receiver.host}"]\n[outbound]\n'
        settings += f'private_networks = ["127.0.0.0/8", "::1/128"]\nca_file = "{receiver.ca}"\n'
        for vendor in made:
            stack.enter_context(served(vendor.app, vendor.port))
        server = stack.enter_context(
            running(folder, settings, prices(), {**PRICES, "conversions": RATES})
        )
        for vendor in made:
            server.admin("POST", "secrets", vendor.scheme, body={"value": vendor.secret})
        wanted = {way.backend for way in WAYS.values()}
        until(lambda: wanted <= {d["name"] for d in server.admin("GET", "backends")["items"]})
        found = World(server, made, folder)
        found.receiver = receiver
        with found.second:
            yield found


def test_every_vendor_that_is_offered_is_tried() -> None:
    assert sorted(WAYS) == sorted(OFFERED), "a vendor without a way: add its line to WAYS"


@pytest.mark.attack("T4", "S1")
@pytest.mark.parametrize("scheme", OFFERED)
def test_a_job_goes_from_a_token_to_settled_money(world: World, scheme: str) -> None:
    way, agent = WAYS[scheme], world.agent(scheme)
    session = agent.call("POST", "/v1/sessions", {}).json()
    assert world.leases(agent) == [], "a session alone needs no credential"
    job_id = world.submit(agent, scheme, session_id=session["session_id"])
    job = world.ended(agent, job_id)
    assert job["state"] == "done", job
    result = agent.call("GET", f"/v1/jobs/{job_id}/result").json()
    assert set(result["counts"]) <= way.counts
    assert sum(result["counts"].values()) == 100
    assert result["released"] == "aggregates"
    assert "memory" not in result
    # money: what the vendor said is what is charged, and nothing is held any more
    assert job["cost_actual_cents"] == way.cents
    budget = world.server.admin("GET", "experiments", job["experiment_id"])["budget"]
    local = 1 if not world.devices[way.backend]["simulator"] else 0
    assert (budget["held_cents"], budget["spent_cents"]) == (0, way.cents + local)
    # the vendor got the job once, under a lease of this session, and never the agent's token
    [lease] = world.leases(agent)
    assert (lease["scheme"], lease["session_id"]) == (scheme, session["session_id"])
    seen, token = world.seen(scheme), agent.client.token().value
    assert job_id in seen
    assert not any(part in seen for part in token.split("."))
    for canary in (token, *world.secrets(scheme)):
        for file in world.folder.rglob("*"):
            assert not file.is_file() or canary.encode() not in file.read_bytes(), file
    # closing the session ends the lease, now that its job is over
    assert agent.call("DELETE", f"/v1/sessions/{session['session_id']}").status_code == 200
    until(lambda: world.leases(agent)[0]["state"] == "revoked")
    # the result is the experiment's and the agent's, not the token's: a fresh one reads it too
    agent.client._session.token = None
    again = agent.call("GET", f"/v1/jobs/{job_id}/result")
    assert agent.client.token().value != token
    assert again.json()["counts"] == result["counts"]
    assert world.server.agent().call("GET", f"/v1/jobs/{job_id}/result").status_code == 404
    told = {a["kind"] for a in world.server.admin("GET", "alerts")["items"]}
    assert not told & {"budget_bill_unknown", "budget_overrun", "vendor_lied", "lease_not_revoked"}


@pytest.mark.attack("D2")
def test_a_session_gives_raw_results_only_when_it_says_so(world: World) -> None:
    agent = world.agent("braket", "qpu.read-raw", release="raw")

    def gives(asked: dict[str, str]) -> tuple[str, bool, int]:
        session = agent.call("POST", "/v1/sessions", asked).json()
        job_id = world.submit(agent, "braket", session_id=session["session_id"])
        assert world.ended(agent, job_id)["state"] == "done"
        answer = agent.call("GET", f"/v1/jobs/{job_id}/result")
        return session["results"], "memory" in answer.json(), answer.status_code

    assert gives({}) == ("aggregates", False, 200)
    assert gives({"results": "raw"}) == ("raw", True, 200)
    assert gives({"results": "none"}) == ("none", False, 403)
    narrow = world.agent("braket")
    refused = narrow.call("POST", "/v1/sessions", {"results": "raw"})
    assert refused.status_code == 403
    assert [v["limit"] for v in refused.json()["violations"]] == ["results"]


@pytest.mark.attack("P4", "L5")
def test_a_webhook_hears_that_a_job_is_over_and_nothing_else(world: World) -> None:
    agent, receiver = world.agent("braket"), world.receiver
    refused = world.post(agent, "braket", webhook="https://elsewhere.example.org/x")
    assert refused.status_code == 403
    assert [v["limit"] for v in refused.json()["violations"]] == ["webhook_hosts"]
    receiver.answers = [503]  # it fails first
    job_id = world.submit(agent, "braket", webhook=f"{receiver.url}/done?key=hook-canary")
    until(lambda: len(receiver.got) == 2)
    (_, first, body), (path, headers, again) = receiver.got
    assert (first["webhook-id"], body) == (headers["webhook-id"], again)
    told = json.loads(body)
    job = world.job(agent, job_id)
    assert told["type"] == "job.done"
    assert told["data"] == {
        "job_id": job_id, "experiment_id": job["experiment_id"],
        "agent_id": agent.client.client_id, "state": "done",
    }  # fmt: skip
    directory = agent.http.get("/.well-known/http-message-signatures-directory")
    assert directory.headers["content-type"].startswith("application/http-message-signatures")
    [jwk] = directory.json()["keys"]
    assert verified(jwk, "POST", receiver.url + path, headers, again) >= {"@target-uri"}
    events = str(world.server.operator.call("GET", "audit", "events", query={"limit": 1000}))
    assert "hook-canary" not in events + (world.folder / "server.log").read_text()


@pytest.mark.attack("S1")
def test_without_a_credential_jobs_wait_and_somebody_is_told(world: World) -> None:
    """For every back end at once: a secret that the vendor does not know any more."""
    jobs: dict[str, tuple[Agent, str]] = {}
    for scheme, vendor in world.vendors.items():
        agent = world.agent(scheme)
        if scheme == "ionq":
            # what is lent is the secret itself, and its price is the vendor's own to say
            world.server.admin("DELETE", "secrets", scheme)
            refused = world.post(agent, scheme)
            assert refused.status_code == 403
            assert [v["limit"] for v in refused.json()["violations"]] == ["price.no_credential"]
            continue
        pieces, fields = world.secrets(scheme), json.loads(vendor.secret)
        for name, value in fields.items():
            if any(piece in value for piece in pieces):
                fields[name] = "x" * len(value)
        spoilt = json.dumps(fields)
        world.server.admin("POST", "secrets", scheme, "rotate", body={"value": spoilt})
        jobs[scheme] = agent, world.submit(agent, scheme)

    def told() -> set[str]:
        found = world.server.admin("GET", "alerts")["items"]
        return {a["subject"] for a in found if a["kind"] == "no_credential"}

    until(lambda: told() >= set(world.vendors))
    for scheme, (agent, job_id) in jobs.items():
        until(lambda: world.job(agent, job_id)["waiting_for"] == "no_credential")  # noqa: B023
        assert job_id not in world.seen(scheme)
    for scheme, vendor in world.vendors.items():
        how = ("rotate",) if scheme in jobs else ()
        world.server.admin("POST", "secrets", scheme, *how, body={"value": vendor.secret})
    for agent, job_id in jobs.values():
        assert world.ended(agent, job_id)["state"] == "done"
