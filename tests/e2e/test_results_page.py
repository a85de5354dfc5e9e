"""The commands of the pages about results and dispatch, run as they stand there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import httpx
import pytest
from tests.support.live import ROOT, Live, live

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    room = tmp_path_factory.mktemp("results")
    shutil.copy(ROOT / "examples" / "ghz.qasm", room)
    with live(room) as running:
        yield running


@pytest.mark.attack("D3")
def test_the_page_about_results_does_what_it_says(server: Live) -> None:
    told = [text for _, text in server.page(DOCS / "results.md")]
    shown, waited, _, read = told[-4:]
    assert ("min_count", "5") in [tuple(line.split()) for line in shown.splitlines()]
    for text in (waited, read):
        assert "withheld: " in text
        assert "all but the 1 most frequent outcomes" in text
    assert "<ZZZ> = " in read


def test_the_page_about_dispatch_does_what_it_says(server: Live) -> None:
    told = dict(server.page(DOCS / "dispatch.md"))
    assert "local:aer" in told["cryogate backend list"]
    assert "does not take jobs" not in told["cryogate backend list"]
    url = json.loads((server.state / "server.json").read_text())["url"]
    with httpx.Client(base_url=url, trust_env=False) as http:
        assert http.get("/readyz").json() == {"status": "ok", "failing": [], "degraded": []}
