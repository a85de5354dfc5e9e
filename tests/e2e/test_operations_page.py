"""docs/operations.md on a running server, and every line it writes meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.support.live import ROOT, live


@pytest.mark.attack("L4")
def test_the_page_is_true_and_every_line_is_json(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    config = tmp_path / "cryogate.toml"
    config.write_text('[logs]\nformat = "json"\n[tokens]\ninsecure_bearer = true\n')
    with live(room, "--config", str(config)) as server:
        (tmp_path / "server.log").symlink_to(room / "server.log")
        url = json.loads((server.state / "server.json").read_text())["url"]
        for path in ("/v1/jobs%0d%0a%7b%22forged%22%3a1%7d", "/%00", "/v1/jobs?x=%0aforged"):
            httpx.get(url + path, headers={"x-canary": "canary"})
        server.page(ROOT / "docs/operations.md")
    lines = (room / "server.log").read_text().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert {line["logger"] for line in told} >= {"uvicorn.error", "cryogate"}
    assert [line["message"] for line in told if line["level"] == "warning"]
    assert "forged" not in "".join(lines)
    assert "canary" not in "".join(lines)
    shown = [line for line in lines if not line.startswith("{")]
    assert not [line for line in shown if "INFO" in line or "WARNING" in line]


def test_what_is_less_than_safe_is_said_at_every_level(tmp_path: Path) -> None:
    config = tmp_path / "cryogate.toml"
    config.write_text('[logs]\nlevel = "error"\n[tokens]\ninsecure_bearer = true\n')
    with live(tmp_path, "--config", str(config)):
        told = (tmp_path / "server.log").read_text()
    assert "tokens.insecure_bearer" in told
    assert "uvicorn" not in told
