"""`POST /oauth2/token`: tokens issued per second, and CPU over what a token cannot do without."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from bench.support import (
    AGENT,
    EXPERIMENT,
    commit_us,
    drive,
    echo_server,
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
    with echo_server() as echo:
        plain = request("POST", f"{echo.url}/echo", [FORM], b"x" * 900)
        drive(echo, [plain] * 2_000)
        base, _ = drive(echo, [plain] * 10_000)
    with server() as target:
        identity = enrol(target)
        drive(target, [token_request(target.url, identity) for _ in range(500)])
        load, _ = drive(target, [token_request(target.url, identity) for _ in range(REQUESTS)])
    print(base.line("bare Starlette echo"))
    print(load.line(f"token ({AGENT})"))
    report(
        "token",
        load,
        {
            "echo": base.cpu_us,
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
