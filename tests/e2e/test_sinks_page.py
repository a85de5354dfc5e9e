"""docs/sinks.md on a running server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.live import ROOT, live


def test_the_page_is_true(tmp_path: Path) -> None:
    config = tmp_path / "cryogate.toml"
    config.write_text(
        f'[[sinks]]\nname = "siem"\nurl = "file://{tmp_path}/events.jsonl"\nformat = "ocsf"\n'
    )
    with live(tmp_path, "--config", str(config)) as server:
        told = server.page(ROOT / "docs/sinks.md")
    answers = dict(told)
    [copied] = [a for c, a in told if "head -n 1" in c]
    assert json.loads(copied)["metadata"]["version"] == "1.8.0"
    assert "siem" in answers["cryogate audit sinks"]
    assert "no dead letters" in answers["cryogate audit dead-letters list siem"]
    assert "no_such_letter" in told[-1][1] or "no dead letter" in told[-1][1]
