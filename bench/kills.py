"""200 times ``kill -9`` of a server at random moments during 2,000 jobs, before a faulty vendor.

``python -m bench.kills [KILLS [JOBS [SEED]]]`` ends with status 1 when anything was doubled, lost,
unbalanced, or sent without an intent event.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.support.kills import Storm

KILLS, JOBS, SEED = 200, 2000, 1


def main(words: list[str]) -> int:
    """Run and report."""
    kills, jobs, seed = (int(w) for w in (*words, *map(str, (KILLS, JOBS, SEED)[len(words) :])))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as room:
        report = Storm(Path(room), seed).storm(kills, jobs)
    print(f"{report.kills} kills ({report.cut_off} in the middle of a call), "
          f"{report.faults} faults armed, {report.jobs} jobs "
          f"in {time.monotonic() - began:.0f} s: {dict(report.states)}")  # fmt: skip
    for name in ("double_runs", "lost_jobs", "unbalanced", "calls_without_intent"):
        found = getattr(report, name)
        print(f"{name:22} {len(found)} {found[:5] or ''}")
    return 0 if report.clean else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
