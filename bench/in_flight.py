"""A thousand jobs at a vendor at once, watched by one process: memory, questions, and what is left.

``python -m bench.in_flight [JOBS]``. The vendor's fake, in a process of its own, takes every job
and ends none until it is told to. Printed: memory of the server process (the bound is on its peak;
its guarded workers are shown beside it), how often the vendor is asked about its jobs in half a
minute (the bound is the setting `providers.questions_per_s`), what that costs, how long an agent
waits for an answer meanwhile, and how long it takes until all are done once the vendor is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from bench.gateway import Submitter, drive, gateway, line, vendor_process
from bench.support import EXPERIMENT, Server, enrol, now_ms, request
from cryogate.client import Client
from cryogate.config.sections import Providers

JOBS, WATCHED_S = 1000, 30.0
RSS_MB, BACKEND = 300, "ionq:simulator"
_QUESTIONS = ("GET jobs", "GET cost", "GET probabilities")


def seen(vendor: str) -> dict[str, int]:
    with urlopen(f"{vendor}/seen") as answer:  # noqa: S310 - our own process
        found: dict[str, int] = json.load(answer)
    return found


def peak_mb(pid: int) -> float:
    """The largest resident memory so far."""
    for found in Path(f"/proc/{pid}/status").read_text().splitlines():
        if found.startswith("VmHWM"):
            return int(found.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def workers_mb(target: Server) -> float:
    """Resident memory of the process's children."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == target.pid:
            total += Server(int(path.parent.name), "", Path()).rss_mb()
    return total


def states(client: Client) -> dict[str, int]:
    """How many of the agent's jobs are in which state."""
    found: dict[str, int] = {}
    page: str | None = ""
    while page is not None:
        jobs, page = client.jobs(100, page or None)
        for job in jobs:
            found[job.state.value] = found.get(job.state.value, 0) + 1
    return found


def until(client: Client, state: str, jobs: int, within_s: float) -> float:
    """Seconds until ``jobs`` jobs are in ``state``."""
    began = time.monotonic()
    while (found := states(client)).get(state, 0) < jobs:
        if time.monotonic() - began > within_s:
            raise RuntimeError(f"after {within_s:.0f} s: {found}")
        time.sleep(0.5)
    return time.monotonic() - began


def main(words: Sequence[str]) -> int:
    """Measure and judge; 1 when a bound does not hold."""
    count = int(words[0]) if words else JOBS
    with vendor_process() as vendor, gateway(vendor) as target:
        identity = enrol(target, BACKEND)
        with Client(target.url, identity.client_id, identity, EXPERIMENT) as client:
            submit = Submitter(client, identity)
            before = target.rss_mb()
            shots = drive(target.url, [submit() for _ in range(count)])
            assert {shot.status for shot in shots} == {202}, shots[0].body
            sent_s = until(client, "running", count, 120)
            first, cpu, began = seen(vendor), target.cpu_s(), time.monotonic()
            time.sleep(WATCHED_S)
            took = time.monotonic() - began
            asked = sum(seen(vendor).get(k, 0) - first.get(k, 0) for k in _QUESTIONS) / took
            busy = (target.cpu_s() - cpu) / took
            job_id = json.loads(shots[0].body)["job_id"]
            url, access = f"{target.url}/v1/jobs/{job_id}", client.token().value
            polls = drive(target.url, [
                request("GET", url, [f"Authorization: DPoP {access}",
                        f"DPoP: {identity.proof('GET', url, now_ms(), access, None)}"])
                for _ in range(500)
            ], 50)  # fmt: skip
            assert {shot.status for shot in polls} == {200}, polls[0].body
            with urlopen(f"{vendor}/finish") as answer:  # noqa: S310 - our own process
                assert json.load(answer) == count
            done_s = until(client, "done", count, 300)
            now, most, workers = target.rss_mb(), peak_mb(target.pid), workers_mb(target)
    bound = Providers().questions_per_s
    print(f"{count} jobs in flight at one vendor, {sent_s:.1f} s after the last was accepted\n"
          f"  memory of the server process: {before:.0f} MB before, {now:.0f} MB after, "
          f"{most:.0f} MB at most (its workers: {workers:.0f} MB)\n"
          f"  questions to the vendor: {asked:.0f} a second over {took:.0f} s; they take "
          f"{busy:.0%} of a processor")  # fmt: skip
    print(line("an agent's poll meanwhile", [(s.answered - s.due) / 1e6 for s in polls]))
    print(f"  all done {done_s:.1f} s after the vendor was")
    good = most <= RSS_MB and asked <= bound * 1.1
    print(f"  {most:.0f} MB (bound {RSS_MB}), {asked:.0f} questions a second (bound {bound}): "
          f"{'holds' if good else 'DOES NOT HOLD'}")  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
