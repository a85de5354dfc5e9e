"""Metrics and sinks of a running server: what they say, and what they never say."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from tests.support.live import ROOT, live
from tests.support.receivers import absent, cache
from tests.support.running import GHZ, PROGRAM, Agent, Running, running

DEPLOY = ROOT / "deploy"
FORMS = ("json", "ocsf", "cef", "ecs")
VENDOR_KEY = "canary-vendor-key-4711"


@dataclass
class World:
    server: Running
    agent: Agent
    folder: Path
    token: str

    def metrics(self) -> str:
        answer = httpx.get(
            f"{self.server.url}/metrics", headers={"authorization": "Bearer a-long-random-token"}
        )
        assert answer.status_code == 200
        return answer.text

    def copies(self, wanted: str) -> dict[str, str]:
        """What each sink has, once it has the job."""
        deadline = time.monotonic() + 60
        while True:
            found = {p.name: p.read_text() for p in self.folder.glob("copy-*")}
            if len(found) == len(FORMS) and all(wanted in text for text in found.values()):
                return found
            assert time.monotonic() < deadline, {name: len(text) for name, text in found.items()}
            time.sleep(0.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("metrics")
    secret = folder / "token"
    secret.touch(0o600)
    secret.write_text("a-long-random-token\n")
    settings = f'[metrics]\ntoken_file = "{secret}"\n' + "".join(
        f'[[sinks]]\nname = "{form}"\nurl = "file://{folder}/copy-{form}"\nformat = "{form}"\n'
        for form in FORMS
    )
    with running(folder, settings) as server:
        yield World(server, server.agent(), folder, "a-long-random-token")


def done(world: World) -> str:
    body = {"backend": "local:null", "program": PROGRAM, "shots": 10}
    job_id: str = world.agent.call("POST", "/v1/jobs", body).json()["job_id"]
    deadline = time.monotonic() + 60
    while world.agent.call("GET", f"/v1/jobs/{job_id}").json()["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job_id


@pytest.mark.attack("T4")
def test_no_copy_of_the_log_holds_a_token_a_key_or_a_circuit(world: World) -> None:
    world.server.admin("POST", "secrets", "ionq", body={"value": VENDOR_KEY})
    job_id = done(world)
    token = world.agent.client.token().value
    for name, text in world.copies(job_id).items():
        for canary in (token, token.split(".")[1], VENDOR_KEY, GHZ, "cx q[0]", world.token):
            assert canary not in text, name
    assert VENDOR_KEY not in world.metrics()


def test_metrics_need_their_own_token(world: World) -> None:
    for headers in ({}, {"authorization": "Bearer another"}, {"authorization": "Bearer x y"}):
        answer = httpx.get(f"{world.server.url}/metrics", headers=headers)
        assert answer.status_code == 401
        assert "cryogate_" not in answer.text


def test_no_label_is_an_id(world: World) -> None:
    job_id = done(world)
    world.agent.call("GET", "/v1/jobs/job_" + "x" * 22)
    httpx.get(f"{world.server.url}/teapot/{job_id}")
    httpx.request("TRACE", f"{world.server.url}/v1/jobs")
    text = world.metrics()
    for name in (job_id, "bot-0", "exp-0", "teapot", "TRACE", "job_x"):
        assert name not in text
    routes = {s.labels["route"] for f in families(text).values() for s in f.samples
              if "route" in s.labels}  # fmt: skip
    assert {"/v1/jobs", "none"} <= routes, routes


def families(text: str) -> dict[str, Any]:
    return {f.name: f for f in text_string_to_metric_families(text)}


def names(text: str) -> set[str]:
    return {sample.name for family in families(text).values() for sample in family.samples}


def queries() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus/cryogate.rules.yml").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana/cryogate.json").read_text())
    return found + [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]


@pytest.mark.parametrize("query", queries())
def test_dashboard_and_rules_ask_for_what_there_is(world: World, query: str) -> None:
    done(world)
    plain = query.replace("$__rate_interval", "5m")
    promql_parser.parse(plain)
    selectors = set(re.findall(r"\bcryogate_[a-z_]+", plain))
    assert selectors
    assert selectors <= names(world.metrics())


def promtool(*words: str, feed: str = "") -> subprocess.CompletedProcess[str]:
    program = cache() / "bin" / "promtool"
    if not program.exists():
        absent("promtool", ".ci/collector")
    return subprocess.run(
        [program, *words], input=feed, capture_output=True, text=True, timeout=60, check=False
    )


def test_prometheus_own_tool_takes_the_rules(tmp_path: Path) -> None:
    rules = DEPLOY / "prometheus/cryogate.rules.yml"
    told = promtool("check", "rules", "--lint-fatal", str(rules))
    assert told.returncode == 0, told.stdout + told.stderr
    broken = tmp_path / "broken.yml"
    broken.write_text(rules.read_text().replace("expr: ", "expr: ) ", 1))
    assert promtool("check", "rules", str(broken)).returncode != 0


def test_prometheus_own_tool_takes_the_metrics(world: World) -> None:
    done(world)
    told = promtool("check", "metrics", feed=world.metrics())
    # it calls a unit that is not a base unit bad style: ours are cents
    found = [line for line in told.stderr.splitlines() if "cents" not in line]
    assert not found, found


def test_every_alert_fires_when_it_should_and_not_otherwise() -> None:
    cases = DEPLOY / "prometheus/cryogate.tests.yml"
    told = promtool("test", "rules", str(cases))
    assert told.returncode == 0, told.stdout + told.stderr
    rules = yaml.safe_load((DEPLOY / "prometheus/cryogate.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == set(re.findall(r'alertname="(\w+)"', cases.read_text()))


def test_rules_and_dashboard_are_whole() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/cryogate.rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
    dashboard = json.loads((DEPLOY / "grafana/cryogate.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_openmetrics_reads_it_for_who_asks_for_that(world: World) -> None:
    done(world)
    answer = httpx.get(
        f"{world.server.url}/metrics",
        headers={"authorization": f"Bearer {world.token}",
                 "accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"},
    )  # fmt: skip
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = {f.name: f for f in openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert "cryogate_http_requests" in found
    assert {sample.name for f in found.values() for sample in f.samples} == names(world.metrics())


def test_every_metric_is_on_the_page(world: World) -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    for name in names(world.metrics()):
        base = re.sub(r"_(bucket|sum|count|created)$", "", name)
        assert f"`{base}`" in page or name.startswith("process_"), name


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a-long-random-token\n")
    config = tmp_path / "cryogate.toml"
    config.write_text(f'[metrics]\ntoken_file = "{token}"\n')
    with live(tmp_path, "--config", str(config)) as server:
        monkeypatch.setenv("URL", json.loads((server.state / "server.json").read_text())["url"])
        told = server.page(ROOT / "docs/metrics.md")
    assert told[0][1].strip() == "401"
    assert "cryogate_audit_ok 1.0" in told[1][1]
