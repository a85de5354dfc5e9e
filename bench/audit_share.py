"""Which share of a request's CPU is audit: the same server with it, and with parts of it left out.

``python -m bench.audit_share [SUBMITS]``. Four servers stand side by side: as it is; one whose
events are committed but never sequenced, hashed and signed; one that writes no events at all; one
whose events are in clear. They
are given the same submits in turns, so that the machine's load falls on all alike; what is compared
is the CPU of the server process for each submit, carried to its end on ``local:null``: the median
of the turns, and the least. Where the two disagree the machine was busy; the larger share counts.

A submit that is dispatched in the same process has three events: accepted, dispatching, done. What
the request path pays is their encoding and writing; sequencing, hashing and signing happen beside
it, in the same process. Both are counted, and the bound is on their sum.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from bench.support import BACKEND, EXPERIMENT, circuit, drive, enrol, now_ms, request, server
from cryogate.client import Client, Identity

SUBMITS, TURNS, SHARE = 1500, 5, 0.15
_WAYS = ("nothing", "sequencer", "events", "sealing")
_JSON = "Content-Type: application/json"


def batch(client: Client, identity: Identity, body: bytes, count: int) -> list[bytes]:
    url, access = f"{client.url}/v1/jobs", client.token().value
    return [
        request("POST", url, [_JSON, f"Authorization: DPoP {access}",
                f"DPoP: {identity.proof('POST', url, now_ms(), access, None)}"], body)
        for _ in range(count)
    ]  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Measure and judge; 1 when the bound does not hold."""
    submits = int(words[0]) if words else SUBMITS
    program = {"format": "openqasm2", "source": circuit(20)}
    body = json.dumps({"backend": BACKEND, "shots": 100, "program": program}).encode()
    found: dict[str, list[float]] = {way: [] for way in _WAYS}
    with ExitStack() as stack:
        servers = {}
        for way in _WAYS:
            module = ["-m", "bench.without", way]
            target = stack.enter_context(server(module=module))
            identity = enrol(target)
            client = stack.enter_context(
                Client(target.url, identity.client_id, identity, EXPERIMENT)
            )
            servers[way] = (target, client, identity)
        for turn in range(TURNS + 1):
            for way, (target, client, identity) in servers.items():
                load, _ = drive(target, batch(client, identity, body, submits))
                assert set(load.statuses) == {202}, load.statuses
                if turn:  # the first warms up
                    found[way].append(load.cpu_us)
    print(f"CPU of the server for a submit with its dispatch, {TURNS} turns of {submits}, us")
    for way, name in zip(
        _WAYS, ("as it is", "never sequenced", "no events", "in clear"), strict=True
    ):
        print(f"  {name:<16} median {median(found[way]):5.0f}   least {min(found[way]):5.0f}")
    shares = []
    for name, of in (("medians", median), ("least", min)):
        whole, unsequenced, bare, clear = (of(found[way]) for way in _WAYS)
        writing, beside = (unsequenced - bare) / whole, (whole - unsequenced) / whole
        shares.append(writing + beside)
        print(f"  by {name:<8} writing events {writing:6.1%}, sequencing, hashing and signing "
              f"{beside:6.1%}, both {shares[-1]:6.1%}")  # fmt: skip
        print(f"  by {name:<8} of it sealing {whole - clear:5.1f} us")
    share = max(shares)
    verdict = "holds" if share <= SHARE else "DOES NOT HOLD"
    print(f"  share of audit {share:.1%} (bound {SHARE:.0%}): {verdict}")
    return 0 if share <= SHARE else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
