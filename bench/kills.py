"""200 times ``kill -9`` of a server at random moments during 2,000 jobs, before a faulty vendor.

``python -m bench.kills [KILLS [JOBS [SEED]]] [postgres]`` ends with status 1 when anything was
doubled, lost, unbalanced, or sent without an intent event, when an acknowledged event is gone, or
when the log does not verify against every head that was shown.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.kills import Storm
from tests.support.postgres import PostgresServer

KILLS, JOBS, SEED = 200, 2000, 1


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The DSN of a real server's empty database; empty for SQLite."""
    if kind != "postgres":
        yield ""
        return
    server = PostgresServer(durable=True)
    server.start()
    try:
        yield asyncio.run(server.create())
    finally:
        server.stop()


def main(words: list[str]) -> int:
    """Run and report."""
    numbers = [int(word) for word in words if word.isdigit()]
    kills, jobs, seed = (*numbers, *(KILLS, JOBS, SEED)[len(numbers) :])
    kind = "postgres" if "postgres" in words else "sqlite"
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as room, database(kind) as dsn:
        report = Storm(Path(room), seed, dsn).storm(kills, jobs)
    print(f"{kind}: {report.kills} kills, {report.killed_in_start} of them while it started, "
          f"{report.in_call} while a submission was at the vendor, {report.cut_off} while one was "
          f"being sent; {report.faults} faults armed\n"
          f"{report.jobs} jobs {dict(report.states)}, {report.calls_made} submissions reached the "
          f"vendor\n{report.events} events, {report.acknowledged} of them acknowledged to agents, "
          f"{report.heads} signed heads kept\n"
          f"{time.monotonic() - began:.0f} s, {report.starting_s:.0f} of them waiting for starts, "
          f"{report.settling_s:.0f} after the last kill")  # fmt: skip
    for reason, count in report.reasons.most_common(8):
        print(f"  {count:5} jobs: {reason}")
    for name, found in report.verdict().items():
        print(f"{name:32} {len(found)} {found[:5] or ''}")
    return 0 if report.clean else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
