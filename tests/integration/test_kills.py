"""B2, L3, P2: a real server, killed at random moments, before a vendor that fails at random."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.kills import Storm


@pytest.mark.slow
@pytest.mark.attack("B2", "L3", "P2")
def test_killed_at_random(tmp_path: Path) -> None:
    report = Storm(tmp_path, seed=6).storm(kills=3, jobs=15)
    assert report.clean, report
    assert report.kills == 3
    assert report.states["done"] > 0
    assert report.acknowledged > 0 < report.heads
