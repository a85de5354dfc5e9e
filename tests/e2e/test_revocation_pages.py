"""The commands of the pages about ending and handing on rights, run as they stand there."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import ROOT, Live, live

from cryogate.client import Client, Identity, Refused

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    room = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "examples" / "ghz.qasm", room)
    with live(room) as running:
        yield running


@pytest.mark.attack("T8")
def test_the_page_about_delegation_does_what_it_says(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / "delegation.md"
    server.page(page)
    [code] = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(server.room)
    told: dict[str, Any] = {}
    exec(compile(code, "delegation.md", "exec"), told)  # noqa: S102 - the page's own code
    assert sum(told["result"].counts.values()) == 100
    events = server.run("audit", "events", "--json")
    assert "token.delegated" in events
    used = server.json("token", "list", "--agent", "lead")["items"][0]
    assert (used["used_jobs"], used["used_shots"]) == (1, 100)


def test_the_page_about_alerts_does_what_it_says(server: Live, tmp_path: Path) -> None:
    # Proofs in its name that are by another key: ten of them within a minute are a sign.
    known = (server.state / "server.json").read_text()
    where = re.search(r'http://[^"]+', known)
    assert where is not None
    for _ in range(12):
        with (
            Client(where[0], "lead", Identity.generate("lead"), "ghz-team") as stranger,
            pytest.raises(Refused),
        ):
            stranger.token()
    alert = _alert(server)
    assert (alert["kind"], alert["subject"], alert["severity"]) == (
        "proof_failures", "lead", "high",
    )  # fmt: skip
    page = tmp_path / "alerts.md"
    text = (DOCS / "alerts.md").read_text("utf-8").replace("alt_\u2026", alert["alert_id"])
    page.write_text(text)
    told = [output for _, output in server.page(page)]
    assert alert["alert_id"] in told[0]
    assert "closed" in told[3]


def _alert(server: Live) -> dict[str, Any]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for item in server.json("alert", "list")["items"]:
            if item["kind"] == "proof_failures":
                found: dict[str, Any] = item
                return found
        time.sleep(0.2)
    raise AssertionError("no alert was raised")


def test_the_commands_about_signing_keys_do_what_they_say(server: Live, tmp_path: Path) -> None:
    page = tmp_path / "tokens.md"
    text = (DOCS / "tokens.md").read_text("utf-8")
    blocks = [b for b in re.findall(r"```console\n.*?```", text, re.DOTALL) if "cryogate keys" in b]
    page.write_text("\n".join(blocks))
    told = [output for _, output in server.page(page)]
    assert "2 keys are published" in told[1]
    assert "every token that was signed before is dead" in told[2]
    [key] = server.json("keys", "list")["items"]
    assert key["signs"] is True


@pytest.mark.attack("R1")
def test_the_page_about_revocation_does_what_it_says(server: Live) -> None:
    server.run(
        "agent", "create", "ghz-bot", "--owner", "you@example.org", "--role", "qpu.submit-only",
    )  # fmt: skip
    told = [output for _, output in server.page(DOCS / "revocation.md")]
    assert "no replica accepts it any more" in told[0]
    assert told[3].count("\n") >= 3
    assert server.json("agent", "show", "ghz-bot")["active"] is False
    server.run("token", "show", "--as", "lead.json", expect=1)
