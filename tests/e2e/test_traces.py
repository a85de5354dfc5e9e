"""Traces of a running server, as a real OpenTelemetry Collector has them in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.receivers import Collector
from tests.support.running import PROGRAM, Agent, Running, running

from cryogate.telemetry.spans import place_of_job

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Traces(Collector):
    signal, path = "traces", "/v1/traces"

    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for request in self.requests()
            for resource in request["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@dataclass
class World:
    server: Running
    agent: Agent
    collector: Traces
    runner: asyncio.Runner

    def waited(self, *names: str) -> list[dict[str, Any]]:
        """The spans, once these are among them."""
        deadline = time.monotonic() + 30
        while True:
            found = self.collector.spans()
            if set(names) <= {span["name"] for span in found}:
                return found
            assert time.monotonic() < deadline, sorted({span["name"] for span in found})
            time.sleep(0.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("traces")
    collector = Traces(folder)
    with asyncio.Runner() as runner:
        runner.run(collector.start())
        settings = f'[tracing]\nurl = "{collector.url.removeprefix("otlp+")}"\n'
        try:
            with running(folder, settings) as server:
                yield World(server, server.agent(), collector, runner)
        finally:
            runner.run(collector.close())


def ids(span: dict[str, Any]) -> dict[str, str]:
    return {a["key"]: next(iter(a["value"].values())) for a in span.get("attributes", ())}


def test_a_job_is_one_story(world: World) -> None:
    agent = world.agent
    body = {"backend": "local:null", "program": PROGRAM, "shots": 10}
    agent.call("GET", "/v1/backends")  # past the first nonces
    headers = {**agent.headers("POST", "/v1/jobs"), "traceparent": GOOD}
    done = agent.http.post("/v1/jobs", headers=headers, json=body)
    assert done.status_code == 202, done.text
    job_id = done.json()["job_id"]
    spans = world.waited(
        "POST /oauth2/token", "POST /v1/jobs", "job.reserve", "job.accept", "job.carry",
        "vendor.submit", "job.settle", "check.policy", "token.sign",
    )  # fmt: skip
    submits = [s for s in spans if s["name"] == "POST /v1/jobs"]
    [submit] = [s for s in submits if ids(s).get("cryogate.job_id") == job_id]
    assert ids(submit)["cryogate.agent_id"] == "bot-0"
    assert ids(submit)["http.response.status_code"] == "202"
    inside = {s["name"] for s in spans if s["traceId"] == submit["traceId"]}
    assert {"check.circuit", "check.policy", "policy.decide", "job.reserve"} <= inside
    assert submit["traceId"] != GOOD[3:35]
    root = place_of_job(job_id)
    assert {(link["traceId"], link["spanId"]) for link in submit["links"]} == {
        (GOOD[3:35], GOOD[36:52]), (root.trace_id, root.span_id),
    }  # fmt: skip
    story = [s for s in spans if s["traceId"] == root.trace_id]
    assert {s["name"] for s in story} >= {"job.accept", "job.carry", "vendor.submit", "job.settle"}
    [first] = [s for s in story if not s.get("parentSpanId")]
    assert (first["name"], first["spanId"]) == ("job.accept", root.span_id)
    issued = [s for s in spans if s["name"] == "POST /oauth2/token"]
    inside = {s["name"] for s in spans if s["traceId"] in {i["traceId"] for i in issued}}
    assert {"policy.decide", "token.sign"} <= inside
    # a result that does not come with the receipt has to be asked for
    asked = agent.call("POST", "/v1/jobs", {**body, "backend": "local:aer"}).json()
    world.server.admin(
        "POST", "approvals", asked["approval"]["approval_id"], "approve", body={"note": "go"}
    )
    world.waited("vendor.result")


@pytest.mark.attack("T4")
def test_no_span_holds_a_token_a_proof_a_circuit_or_what_a_client_chose(
    world: World,
) -> None:
    agent = world.agent
    headers = {**agent.headers("GET", "/v1/jobs"), "baggage": "canary=1", "tracestate": "canary=2"}
    agent.http.get("/v1/jobs?limit=canary", headers=headers)
    agent.http.get("/canary/path", headers={**headers, "user-agent": "canary"})
    body = {"backend": "canary:canary", "program": PROGRAM, "shots": 10,
            "metadata": {"canary": "canary"}}  # fmt: skip
    assert agent.call("POST", "/v1/jobs", body).status_code >= 400
    agent.http.request("CANARY", "/v1/jobs")
    world.waited("POST /v1/jobs", "GET none", "GET /v1/jobs")
    told = world.collector.out.read_text()
    token = agent.client.token().value
    for secret in (token, token.split(".")[1], headers["dpop"], "canary", "CANARY", "OPENQASM"):
        assert secret not in told


def done(agent: Agent) -> None:
    body = {"backend": "local:null", "program": PROGRAM, "shots": 10}
    job_id = agent.call("POST", "/v1/jobs", body).json()["job_id"]
    deadline = time.monotonic() + 30
    while agent.call("GET", f"/v1/jobs/{job_id}").json()["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_collector_that_is_away_holds_nobody_up(world: World) -> None:
    world.runner.run(world.collector.kill())
    before = len(world.collector.spans())
    done(world.agent)
    world.runner.run(world.collector.start())
    deadline = time.monotonic() + 30
    while "job.settle" not in {span["name"] for span in world.collector.spans()[before:]}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
