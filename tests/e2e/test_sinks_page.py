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
    assert json.loads(told[-1][1])["metadata"]["version"] == "1.8.0"
