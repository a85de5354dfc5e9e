"""`GET /v1/jobs/{id}` with possession proven on every request."""

from __future__ import annotations

import sys

from bench.support import (
    BACKEND,
    EXPERIMENT,
    circuit,
    drive,
    drive_bare,
    enrol,
    now_ms,
    report,
    request,
    server,
)
from bench.unavoidable import read_us, verify_us
from cryogate.client import Client

REQUESTS = 20_000


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    echo = drive_bare("echo", "GET", [], b"", 10_000)
    bare = drive_bare("poll", "GET", [], b"", 20000)
    with server() as target:
        identity = enrol(target)
        with Client(target.url, identity.client_id, identity, EXPERIMENT) as client:
            job = client.submit(circuit(20), BACKEND, 100)
            client.wait(job.job_id, timeout_s=30)
            access = client.token().value
            url = f"{target.url}/v1/jobs/{job.job_id}"

            def batch(count: int) -> list[bytes]:
                return [
                    request("GET", url, [
                        f"Authorization: DPoP {access}",
                        f"DPoP: {identity.proof('GET', url, now_ms(), access, None)}"])
                    for _ in range(count)
                ]  # fmt: skip

            drive(target, batch(2_000))
            load, _ = drive(target, batch(requests))
    report(
        "poll",
        load,
        bare,
        {"echo": echo.cpu_us, "ES256 verify": verify_us(), "read": read_us()},
        1.8,
    )
    verdict = "holds" if load.rate >= 4000 else "DOES NOT HOLD"
    print(f"  {load.rate:.0f} polls per second (bound 4000) {verdict}")
    assert set(load.statuses) == {200}, load.statuses


if __name__ == "__main__":
    main()
