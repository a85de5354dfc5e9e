"""`POST /v1/jobs` with a 20-gate circuit: accepted and durable jobs per second.

The backend is ``local:null``, so no simulator's time is counted; the dispatcher takes every job
through to its end in the same process meanwhile, and that is counted.
"""

from __future__ import annotations

import json
import sys

from bench.support import (
    BACKEND,
    EXPERIMENT,
    circuit,
    commit_us,
    drive,
    drive_bare,
    enrol,
    now_ms,
    report,
    request,
    server,
)
from bench.unavoidable import decision_us, parse_us, verify_us
from cryogate.client import Client

REQUESTS = 6_000
JSON = "Content-Type: application/json"


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    body = json.dumps(
        {"backend": BACKEND, "shots": 100,
         "program": {"format": "openqasm2", "source": circuit(20)}}
    ).encode()  # fmt: skip
    echo = drive_bare("echo", "POST", [JSON], body, 10_000)
    bare = drive_bare("submit", "POST", [JSON], body, 6000)
    with server() as target:
        identity = enrol(target)
        idle = target.rss_mb()
        url = f"{target.url}/v1/jobs"
        with Client(target.url, identity.client_id, identity, EXPERIMENT) as client:
            token = client.token()

            def batch(count: int) -> list[bytes]:
                access = token.value
                return [
                    request("POST", url, [
                        JSON, f"Authorization: DPoP {access}",
                        f"DPoP: {identity.proof('POST', url, now_ms(), access, None)}"], body)
                    for _ in range(count)
                ]  # fmt: skip

            drive(target, batch(1_000))
            load, _ = drive(target, batch(requests))
    print(f"  RSS of the idle server process {idle:.0f} MB (bound 250)")
    report(
        "submit",
        load,
        bare,
        {
            "echo": echo.cpu_us,
            "ES256 verify": verify_us(),
            "parse": parse_us(circuit(20)),
            "policy": decision_us("job:submit"),
            "commit": 4 * commit_us(900),
        },
        2.0,
    )
    verdict = "holds" if load.rate >= 1000 else "DOES NOT HOLD"
    print(f"  {load.rate:.0f} accepted per second (bound 1000) {verdict}")
    assert set(load.statuses) == {202}, load.statuses


if __name__ == "__main__":
    main()
