"""`POST /oauth2/token`: tokens issued per second, and CPU over what a token cannot do without."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from bench.support import (
    EXPERIMENT,
    commit_us,
    drive,
    drive_bare,
    enrol,
    now_ms,
    report,
    request,
    server,
)
from bench.unavoidable import decision_us, sign_us, verify_us
from cryogate.client import Identity

REQUESTS = 4_000
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = "Content-Type: application/x-www-form-urlencoded"


def token_request(url: str, identity: Identity) -> bytes:
    """One request with its own assertion and proof."""
    endpoint = f"{url}/oauth2/token"
    body = urlencode(
        {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": identity.assertion(url, now_ms()),
            "authorization_details": json.dumps(
                [{"type": "qpu_experiment", "experiment_id": EXPERIMENT}]
            ),
        }
    ).encode()
    proof = identity.proof("POST", endpoint, now_ms(), None, None)
    return request("POST", endpoint, [FORM, f"DPoP: {proof}"], body)


def main() -> None:
    echo = drive_bare("echo", "POST", [FORM], b"x" * 900, 10_000)
    bare = drive_bare("token", "POST", [FORM], b"x" * 900, 6000)
    with server() as target:
        identity = enrol(target)
        drive(target, [token_request(target.url, identity) for _ in range(500)])
        load, _ = drive(target, [token_request(target.url, identity) for _ in range(REQUESTS)])
    report(
        "token",
        load,
        bare,
        {
            "echo": echo.cpu_us,
            "ES256 verify x2": 2 * verify_us(),
            "ES256 sign": sign_us(),
            "policy": decision_us("token:issue"),
            "commit": 3 * commit_us(600),
        },
        2.0,
    )
    assert set(load.statuses) == {200}, load.statuses


if __name__ == "__main__":
    main()
