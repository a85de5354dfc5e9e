"""L3: no room is left. Paid actions are refused with 503, reads go on, and with room all goes on.

The disk is a small one of its own where that may be mounted; otherwise, and besides, the kernel
refuses the server's files to grow.
"""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.kills_verdict import StormBooks
from tests.support.running import PROGRAM, Agent, Running
from tests.support.up import up

from cryogate.client import Client
from cryogate.domain.errors import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.attack("L3")]
_DISK_MB = 24


@dataclass
class Disk:
    """Where the server keeps its state, and how it gets full and has room again."""

    state: Path
    fill: Callable[[], None] = lambda: None
    free: Callable[[], None] = lambda: None


@contextmanager
def _small_disk(path: Path) -> Iterator[Disk]:
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=0700", "tmpfs", str(path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk may be mounted here: {mounted.stderr.strip()}")
    filler = path / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    try:
        yield Disk(path / "state", fill, filler.unlink)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def _file_limit(path: Path) -> Iterator[Disk]:
    path.mkdir()
    disk = Disk(path / "state")

    def limit(size: int) -> None:
        pid = json.loads((disk.state / "server.json").read_text())["pid"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    disk.fill = lambda: limit(max(f.stat().st_size for f in disk.state.glob("*.db*")))
    disk.free = lambda: limit(resource.RLIM_INFINITY)
    yield disk


@pytest.fixture(params=[_small_disk, _file_limit])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with request.param(tmp_path / "disk") as made:
        yield made


def submit(agent: Agent, key: str) -> httpx.Response:
    body = {"backend": "local:null", "shots": 10, "program": PROGRAM, "idempotency_key": key}
    return agent.call("POST", "/v1/jobs", body)


def until_refused(agent: Agent, accepted: dict[str, str]) -> tuple[str, httpx.Response]:
    # What the file has room for already may still be written.
    for n in range(20_000):
        key = f"job-{n}"
        answer = submit(agent, key)
        if answer.status_code != 202:
            return key, answer
        accepted[key] = answer.json()["job_id"]
    raise AssertionError("the disk never got full")


def test_without_room_nothing_paid_begins_and_reads_go_on(disk: Disk, tmp_path: Path) -> None:
    env = {f"CRYOGATE_LIMITS_{name}": "1000000" for name in
           ("CLIENT_PER_S", "CLIENT_BURST", "AGENT_JOBS_PER_MIN", "AGENT_JOBS_BURST",
            "AGENT_JOBS_IN_FLIGHT")}  # fmt: skip
    with up(disk.state, tmp_path / "server.log", env=env):
        running = Running(disk.state)
        agent = running.agent(agent={"tier": "trusted"}, budget_cents=10**8, budget_shots=10**9)
        accepted: dict[str, str] = {}
        first = submit(agent, "first")
        accepted["first"] = first.json()["job_id"]
        agent.client.wait(accepted["first"], timeout_s=20)
        disk.fill()

        key, refused = until_refused(agent, accepted)
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "unavailable"
        assert "retry-after" in refused.headers
        for word in ("sqlite", "Traceback", "disk", ".db"):
            assert word not in refused.text
        for _ in range(20):
            assert submit(agent, key).status_code == 503

        # nothing else that must be durable is said to be done
        other = Client(agent.url, agent.client.client_id, agent.key, agent.client.experiment)
        with other, pytest.raises(Unavailable):
            other.token()
        with pytest.raises(Unavailable):
            running.admin(
                "POST",
                "revocations",
                body={"kind": "agent", "subject": "bot-0", "reason": "a test"},
            )

        # reads go on; handing out a result is on the record before it happens, or does not happen
        job = f"/v1/jobs/{accepted['first']}"
        for path in (job, "/v1/jobs", "/v1/backends"):
            assert agent.call("GET", path).status_code == 200, path
        assert agent.call("GET", f"{job}/result").status_code == 503
        for path in ("/audit/checkpoint", "/healthz", "/.well-known/jwks.json"):
            assert agent.http.get(path).status_code == 200, path
        assert running.admin("GET", "agents")["items"]
        signed = int(agent.http.get("/audit/checkpoint").text.split("\n")[1])

        disk.free()
        after = again(agent, key)
        accepted[key] = after.json()["job_id"]
        for job_id in accepted.values():
            assert agent.client.wait(job_id, timeout_s=60).state == "done"
        deadline = time.monotonic() + 30
        while int(agent.http.get("/audit/checkpoint").text.split("\n")[1]) <= signed:
            assert time.monotonic() < deadline, "the log does not get on"
            time.sleep(0.1)
        assert agent.http.get("/readyz").status_code == 200
        assert running.admin("GET", "ledger", "check")["balanced"] is True
        running.close()
    judge(disk.state, accepted)


def again(agent: Agent, key: str) -> httpx.Response:
    deadline = time.monotonic() + 30
    while (answer := submit(agent, key)).status_code != 202:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline, "it does not go on"
        time.sleep(0.1)
    return answer


def judge(state: Path, accepted: dict[str, str]) -> None:
    """No acknowledged event is lost, nothing else has begun, and the log verifies."""
    books = StormBooks(state, "")
    jobs = {job_id for (job_id,) in books.rows("SELECT job_id FROM jobs")}
    assert jobs == set(accepted.values())
    for action in ("job.accepted", "job.dispatching", "job.done"):
        found = books.rows("SELECT job_id FROM events WHERE action = ?", action)
        assert sorted(job_id for (job_id,) in found) == sorted(jobs), action
    verified = books.verify({})
    assert verified.ok, verified.findings
