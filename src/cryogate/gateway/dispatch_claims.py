"""Claims: the statements by which a replica takes jobs, keeps them, and gives them back.

A claim has an owner, an end and a fence. ``prefix`` is what the names of all claimants of this
replica begin with, those of its earlier processes included.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cryogate.gateway.dispatch_desk import Desk
from cryogate.ports.store import Row, SqlValue, Statement, UnitOfWork


class Claims:
    """The claims of one process. Every method raises `StoreUnavailable` as the store does."""

    def __init__(self, desk: Desk, prefix: str) -> None:
        self._desk, self._prefix = desk, prefix

    async def expire_predecessor(self) -> None:
        """Free the claims of this replica's earlier process: it is dead."""
        await self._write("dispatch_expire_predecessor", {**self._of_replica(), **self._owner()})

    async def free_the_dead(self, now_ms: int) -> None:
        """Free the claims of replicas that are silent.

        A silent replica may still be in a call to a vendor: its fence is gone at once, and what is
        recovered waits for as long as such a call could last before anything is sent again.
        """
        silent_ms = now_ms - self._desk.limits.silent_ms
        await self._write("dispatch_free_dead", {**self._of_replica(), "silent_ms": silent_ms})

    async def queued(self, shut_out: Sequence[str], now_ms: int, most: int) -> Sequence[Row]:
        """Take queued jobs, oldest first, but those of the schemes that are shut out."""
        params: dict[str, SqlValue] = {"busy": _json(shut_out), "now_ms": now_ms}
        return await self._take("dispatch_claim_queued", params, now_ms, most)

    async def orphans(self, now_ms: int, most: int) -> Sequence[Row]:
        """Take jobs whose claimant stopped renewing its claim; the vendor may have them."""
        expired_ms = now_ms - self._desk.limits.claim_grace_ms
        return await self._take("dispatch_claim_orphans", {"expired_ms": expired_ms}, now_ms, most)

    async def renew(self, jobs: Sequence[str]) -> Sequence[Row]:
        """Keep the claims on ``jobs``; the marks on them."""
        until_ms = self._desk.clock.now_ms() + self._desk.limits.claim_ms
        params = {"jobs": _json(jobs), "until_ms": until_ms, **self._owner()}
        return await self._write("dispatch_renew", params)

    async def let_go(self, jobs: Sequence[str]) -> None:
        """Give the claims on ``jobs`` back."""
        await self._write("dispatch_let_go", {"jobs": _json(jobs), **self._owner()})

    async def _take(
        self, name: str, params: dict[str, SqlValue], now_ms: int, most: int
    ) -> Sequence[Row]:
        limits = self._desk.limits
        until_ms = now_ms + limits.claim_ms
        ours = {"until_ms": until_ms, "most": most, "inline": limits.inline_program}
        return await self._write(name, {**params, **ours, **self._owner()})

    async def _write(self, name: str, params: dict[str, SqlValue]) -> Sequence[Row]:
        work = UnitOfWork((Statement(name, params, rows=None),))
        return (await self._desk.store.commit(work))[0]

    def _of_replica(self) -> dict[str, SqlValue]:
        return {"prefix": self._prefix, "prefix_length": len(self._prefix)}

    def _owner(self) -> dict[str, SqlValue]:
        return {"owner": self._desk.owner}


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()
