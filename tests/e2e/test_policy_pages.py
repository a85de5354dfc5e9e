"""The commands of the policy pages, run as they stand there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.live import ROOT, live

DOCS = ROOT / "docs"


@pytest.mark.slow
@pytest.mark.attack("A9")
def test_the_page_about_bundles_does_what_it_says(tmp_path: Path) -> None:
    with live(tmp_path) as server:
        told = server.page(DOCS / "policy-bundles.md")
        outputs = dict(told)
        assert "not signed" in told[4][1]
        assert "version 2 is in force" in outputs[told[6][0]]
        assert "not newer than 2" in told[8][1]
        versions = [item["version"] for item in server.json("policy", "history")["items"]]
        assert versions == [1, 2, 1]
        events = server.run("audit", "events", "--json")
        for action in ("policy.activated", "policy.refused", "policy.rolled_back"):
            assert action in events


@pytest.mark.slow
def test_the_page_about_simulators_first_does_what_it_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "ghz.qasm", tmp_path)
    with live(tmp_path) as server:
        told = [text for _, text in server.page(DOCS / "simulator-first.md")]
        assert "promote" in server.run("agent", "set", "--help")
        assert "local:aer" in told[5]
        assert "tier.max_shots" in told[5] or "max_shots" in told[5]
        [request] = server.json("approval", "list")["items"]
        assert (request["kind"], request["state"]) == ("promotion", "pending")
        assert request["evidence"]["ran"][0]["simulator"] is True
        # one operator asked, and is not the one who decides
        refused = server.run("approval", "approve", request["approval_id"], expect=1)
        assert "yourself" in refused or "approve" in refused
        assert server.json("agent", "show", "scout")["stage"] == "simulator"
