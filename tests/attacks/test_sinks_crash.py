"""Killing sender and receiver, 503s and a silent network: no entry is lost on the way to a SIEM.

The full count is measured by ``python -m bench.sinks``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.http_receivers import ALL
from tests.support.sink_trial import Trial


@pytest.mark.slow
@pytest.mark.attack("L3")
@pytest.mark.parametrize("kind", ["relp", "syslog", "syslog.syslog-ng"])
async def test_nothing_is_lost_on_the_way(kind: str, tmp_path: Path) -> None:
    seen = await Trial(ALL[kind](tmp_path), tmp_path, 1000, 20).run(kills=1, cut_s=0.3)
    assert seen.lost == 0
    assert seen.sender_kills + seen.receiver_kills >= 1


@pytest.mark.slow
@pytest.mark.attack("L3")
async def test_nor_with_the_place_in_postgresql(tmp_path: Path, migrated_dsn: str) -> None:
    receiver = ALL["otlp"](tmp_path)
    seen = await Trial(receiver, tmp_path, 1000, 20, migrated_dsn).run(kills=1, cut_s=0.3)
    assert seen.lost == 0
    assert seen.sender_kills + seen.receiver_kills >= 1
