"""What is asked for all day stands first in the router."""

from __future__ import annotations

from pathlib import Path

from cryogate.server.endpoints import _HOT

SERVER = Path(__file__).parents[3] / "src" / "cryogate" / "server"


def test_every_hot_path_is_a_path_that_is_declared() -> None:
    declared = "".join(page.read_text("utf-8") for page in SERVER.glob("*_routes.py"))
    assert not [path for path in _HOT if f'"{path}"' not in declared]
