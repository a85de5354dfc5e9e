"""`POST /oauth2/introspect` by an operator's token, possession proven on every request."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlencode

from bench.support import (
    EXPERIMENT,
    drive,
    drive_bare,
    enrol,
    now_ms,
    report,
    request,
    server,
)
from bench.unavoidable import read_us, verify_us
from cryogate.client import Client, Operator, read_credential

REQUESTS = 20_000
BOUND = 5000
FORM = "Content-Type: application/x-www-form-urlencoded"


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    echo = drive_bare("echo", "POST", [FORM], b"x" * 900, 20_000)
    bare = drive_bare("poll", "POST", [FORM], b"x" * 900, 20_000)
    with server() as target:
        identity = enrol(target)
        held = read_credential(target.state / "operator.jwk").identity
        with (
            Client(target.url, identity.client_id, identity, EXPERIMENT) as client,
            Operator(target.url, held) as operator,
        ):
            body = urlencode({"token": client.token().value}).encode()
            access = operator.token().value
            url = f"{target.url}/oauth2/introspect"

            def batch(count: int) -> list[bytes]:
                return [
                    request("POST", url, [
                        FORM, f"Authorization: DPoP {access}",
                        f"DPoP: {held.proof('POST', url, now_ms(), access, None)}"], body)
                    for _ in range(count)
                ]  # fmt: skip

            drive(target, batch(2_000))
            load, bodies = drive(target, batch(requests), keep=True)
    assert set(load.statuses) == {200}, load.statuses
    assert all(json.loads(answer)["active"] is True for answer in bodies)
    parts = {"echo": echo.cpu_us, "ES256 verify": verify_us(), "read": read_us()}
    report("introspect", load, bare, parts, 2.0)
    verdict = "holds" if load.rate >= BOUND else "DOES NOT HOLD"
    print(f"  {load.rate:.0f} introspections per second (bound {BOUND}) {verdict}")


if __name__ == "__main__":
    main()
