"""The commands of the policy pages, run as they stand there, against one server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import httpx
import pytest
from tests.support.live import ROOT, Live, live

from cryogate.client import Operator, read_credential

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    room = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "examples" / "ghz.qasm", room)
    with live(room) as running:
        yield running


def test_the_page_about_policy_does_what_it_says(server: Live) -> None:
    told = [text for _, text in server.page(DOCS / "policy.md")]
    assert "tests passed" in told[1]
    assert "statement:anyone-may-see-the-catalogue" in told[3]
    assert "the policy says yes" in told[6]


@pytest.mark.attack("A9")
def test_the_page_about_bundles_does_what_it_says(server: Live) -> None:
    told = [text for _, text in server.page(DOCS / "policy-bundles.md")]
    assert "not signed" in told[4]
    assert "version 2 is in force" in told[6]
    assert "not newer than 2" in told[8]
    versions = [item["version"] for item in server.json("policy", "history")["items"]]
    assert versions == [1, 2, 1]
    events = server.run("audit", "events", "--json")
    for action in ("policy.activated", "policy.refused", "policy.rolled_back"):
        assert action in events


def test_the_page_about_simulators_first_does_what_it_says(server: Live) -> None:
    told = [text for _, text in server.page(DOCS / "simulator-first.md")]
    assert "local:aer" in told[5]
    assert "max_shots" in told[5]
    [request] = server.json("approval", "list")["items"]
    assert (request["kind"], request["state"]) == ("promotion", "pending")
    assert request["evidence"]["ran"][0]["simulator"] is True
    # one operator asked, and is not the one who decides
    server.run("approval", "approve", request["approval_id"], expect=1)
    assert server.json("agent", "show", "scout")["stage"] == "simulator"


def test_the_page_about_explaining_does_what_it_says(server: Live) -> None:
    told = [text for _, text in server.page(DOCS / "policy-explain.md")]
    assert "use at most 10000 shots" in told[3]
    assert "the policy says yes" in told[3]
    assert "statement:agents-may-use" in told[5]


def test_the_page_about_replaying_does_what_it_says(server: Live) -> None:
    shutil.rmtree(server.room / "next", ignore_errors=True)
    told = [text for _, text in server.page(DOCS / "policy-replay.md")]
    changed = [line for line in told[6].splitlines() if "then-bot" in line]
    assert any("job:submit" in line and "900" in line and "deny" in line for line in changed)
    assert "0 of " in told[8]


def test_the_page_about_suggesting_does_what_it_says(server: Live) -> None:
    shutil.rmtree(server.room / "next", ignore_errors=True)
    told = [text for _, text in server.page(DOCS / "policy-suggest.md")]
    assert '"MaxShots": 900' in told[3]
    found = server.json("policy", "suggest", "least-bot")
    assert found["allows"] == found["asked"] >= 2


def test_the_page_about_authzen_shows_a_request_that_works(server: Live) -> None:
    page = (DOCS / "policy-authzen.md").read_text("utf-8")
    asked = json.loads(page.split("```json\n")[1].split("```")[0])
    held = read_credential(server.state / "operator.jwk")
    url = json.loads((server.state / "server.json").read_text())["url"]
    with Operator(url, held.identity) as operator:
        told = operator.call("POST", "access", "v1", "evaluation", body=asked)
        assert told["decision"] is True
        asked["subject"]["properties"]["roles"] = []
        told = operator.call("POST", "access", "v1", "evaluation", body=asked)
        assert told["decision"] is False
        assert told["context"]["violations"][0]["limit"] == "role"
    found = httpx.get(f"{url}/.well-known/authzen-configuration").json()
    assert found["access_evaluation_endpoint"] == f"{url}/access/v1/evaluation"
    assert httpx.post(found["access_evaluation_endpoint"], json=asked).status_code == 401


def test_the_page_about_kits_does_what_it_says(server: Live) -> None:
    told = [text for _, text in server.page(DOCS / "policies-kit.md")]
    assert "tests passed" in told[1]
    assert "version 3 is in force" in told[4]


def test_every_decision_in_the_log_names_a_bundle_that_was_in_force(server: Live) -> None:
    known = {item["digest"] for item in server.json("policy", "history")["items"]}
    decided: dict[str, set[str]] = {}
    for event in server.json("audit", "events", "--limit", "1000")["items"]:
        by_agent = event.get("agent_id") is not None
        if event["action"] in ("job.accepted", "job.refused", "token.issued") and by_agent:
            decided.setdefault(event["action"], set()).add(event["policy_digest"])
    assert set(decided) == {"job.accepted", "job.refused", "token.issued"}
    assert all(digests <= known for digests in decided.values())
