"""The commands of the pages about approvals and alerts, run as they stand there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import ROOT, Live
from tests.support.running import GHZ, Running, running

from cryogate.client import Refused
from cryogate.governance.profiles import DENIALS

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


class Page(Live):
    """An id that a page leaves out (``apr_…``, ``alt_…``) is that of the newest such thing."""

    def _shell(self, command: str, expect: int) -> str:
        for mark, noun, key in (
            ("apr_…", ("approval", "list", "--state", "all"), "approval_id"),
            ("alt_…", ("alert", "list"), "alert_id"),
        ):
            if mark in command:
                command = command.replace(mark, self.json(*noun)["items"][0][key])
        return super()._shell(command, expect)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Running]]:
    room: Path = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "examples" / "ghz.qasm", room)
    with running(room) as made:
        yield Page(room), made


def told(page: Page, name: str) -> dict[str, str]:
    """Every command of a page with what it said."""
    return dict(page.page(DOCS / name))


def said(found: dict[str, str], part: str) -> str:
    [text] = [text for command, text in found.items() if part in command]
    return text


def test_the_page_about_approvals_does_what_it_says(server: tuple[Page, Running]) -> None:
    page, _ = server
    found = told(page, "approvals.md")
    assert "parked" in said(found, "--shots 100")
    assert "6.00 USD" in said(found, "approval show")
    assert "used" in said(found, "as discussed")
    assert "submit" in said(found, "approval mine") or "wait" in said(found, "approval mine")
    assert "done on local:aer" in said(found, "--shots 200 --wait")
    assert "withdrawn" in said(found, "approval retract")
    assert "denied" in said(found, "too dear")
    states = {item["state"] for item in page.json("approval", "list", "--state", "all")["items"]}
    assert states == {"used", "withdrawn", "denied"}


def test_the_page_about_alerts_does_what_it_says(server: tuple[Page, Running]) -> None:
    page, world = server
    agent = world.agent()
    for _ in range(DENIALS):
        with pytest.raises(Refused):
            agent.client.submit(GHZ, "local:null", 50_000)
    until(page, lambda: page.json("alert", "list")["items"])
    found = told(page, "alerts.md")
    assert "denial_burst" in said(found, "alert list")
    assert "refusals" in said(found, "alert show")
    assert "closed" in said(found, "alert close")
    hits = page.json("alert", "scan", "--level", "medium")["hits"]
    assert "denial_burst" in {hit["rule"] for hit in hits}


def until(page: Page, met: Any) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
