"""The commands of the policy pages, run as they stand there, against one server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.support.live import ROOT, Live, live

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    room = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "examples" / "ghz.qasm", room)
    with live(room) as running:
        yield running


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
    assert "0 of " in told[7]


def test_the_page_about_suggesting_does_what_it_says(server: Live) -> None:
    shutil.rmtree(server.room / "next", ignore_errors=True)
    told = [text for _, text in server.page(DOCS / "policy-suggest.md")]
    assert '"MaxShots": 900' in told[3]
    found = server.json("policy", "suggest", "least-bot")
    assert found["allows"] == found["asked"] >= 2
