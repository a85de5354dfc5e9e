"""``docs/identity.md``: its commands are run as they stand, against a server of their own."""

from __future__ import annotations

from pathlib import Path

from tests.support.live import ROOT, live


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    with live(tmp_path) as server:
        told = dict(server.page(ROOT / "docs" / "identity.md"))
    assert any(command.startswith("cryogate token show") for command in told)
