"""Which leases nobody may use again: their session, experiment or agent is over, or was revoked.

Asked for those that no job in hand uses; a job at a vendor keeps its lease until the vendor has
said that it is over, since it could not be cancelled without. Where it cannot be told, the lease
is kept: it is short, and is given back when it has not been used for a while.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from cryogate.domain.errors import Unavailable
from cryogate.gateway.dispatch_desk import Desk
from cryogate.gateway.leases import Key
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView, Subject
from cryogate.ports.store import ReadStore


async def give_back(desk: Desk, in_use: Collection[Key]) -> None:
    """End what no job in hand uses and nobody may use again, or has used for a while.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    idle = desk.leases.idle(in_use)
    await desk.leases.tidy(in_use, await over(desk.store, desk.revocations, desk.clock, idle))


async def over(
    store: ReadStore, revocations: RevocationView, clock: Clock,
    idle: Mapping[Key, Subject | None],
) -> Collection[Key]:  # fmt: skip
    """Those of ``idle`` that can be given back at once.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    asked = [key for key in idle if not key[0].startswith("local:")]
    if not asked:
        return frozenset()
    names = {
        "experiments": {experiment for _, experiment, _, _ in asked},
        "agents": {agent for _, _, agent, _ in asked},
        "sessions": {session for _, _, _, session in asked},
    }
    params = {kind: msgspec.json.encode(sorted(n - {""})).decode() for kind, n in names.items()}
    rows = await store.fetch("leases_unneeded", {**params, "now_ms": clock.now_ms()})
    ended = {(str(row["kind"]), str(row["name"])) for row in rows}
    return {
        key
        for key in asked
        if ("experiment", key[1]) in ended
        or ("agent", key[2]) in ended
        or ("session", key[3]) in ended
        or _revoked(revocations, idle[key])
    }


def _revoked(revocations: RevocationView, user: Subject | None) -> bool:
    try:
        return user is not None and revocations.revoked(user) is not None
    except Unavailable:
        return False
