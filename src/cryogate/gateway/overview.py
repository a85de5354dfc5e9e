"""Jobs and sessions of everybody, for operators. Holds a store that can only be read."""

from __future__ import annotations

import msgspec

from cryogate.domain.errors import NotFound
from cryogate.domain.ids import JOB, is_minted
from cryogate.gateway.sessions import OpenSession, session_view
from cryogate.gateway.views import JobPage, JobView, job_view
from cryogate.ports.store import ReadStore

_NEWEST = (2**62, "")


class SessionPage(msgspec.Struct, frozen=True):
    """A page of sessions, newest first."""

    items: tuple[OpenSession, ...]
    next: str | None


class Overview:
    """Looks at everything, changes nothing."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    async def job(self, job_id: str) -> JobView:
        """One job, whoever's it is.

        Raises:
            NotFound: absent.
        """
        row = None
        if is_minted(job_id, JOB):
            row = await self._store.fetch_one("job_view", {"job_id": job_id})
        if row is None:
            raise NotFound("job_not_found", "no such job")
        return job_view(row)

    async def jobs(
        self,
        *,
        agent_id: str | None,
        experiment_id: str | None,
        state: str | None,
        limit: int,
        cursor: tuple[int, str] | None,
    ) -> JobPage:
        """Jobs that match every filter given, newest first."""
        before_ms, before_id = cursor or _NEWEST
        rows = await self._store.fetch(
            "jobs_for_operator",
            {
                "agent_id": agent_id,
                "experiment_id": experiment_id,
                "state": state,
                "before_ms": before_ms,
                "before_id": before_id,
                "limit": limit + 1,
            },
        )
        more = None
        if len(rows) > limit:
            last = rows[limit - 1]
            more = f"{last['created_ms']}.{last['job_id']}"
        return JobPage(tuple(job_view(row) for row in rows[:limit]), more)

    async def sessions(self, limit: int, cursor: tuple[int, str] | None) -> SessionPage:
        """Sessions, newest first."""
        before_ms, before_id = cursor or _NEWEST
        rows = await self._store.fetch(
            "sessions_for_operator",
            {"before_ms": before_ms, "before_id": before_id, "limit": limit + 1},
        )
        more = None
        if len(rows) > limit:
            last = rows[limit - 1]
            more = f"{last['opened_ms']}.{last['session_id']}"
        return SessionPage(tuple(session_view(row) for row in rows[:limit]), more)
