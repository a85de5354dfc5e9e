"""The whole story of one job, circuit or agent, in the order of the log, with proofs.

A job's story is its own events and those of the token and the approval that it rests on: who was
let in, who said yes, what ran, who read it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from cryogate.audit.checkpoint import open_checkpoint, peek_checkpoint
from cryogate.audit.errors import NoteRefused
from cryogate.audit.log import AuditLog
from cryogate.audit.receipts import Receipt, Receipts
from cryogate.audit.timestamps import first_over
from cryogate.domain.errors import Malformed, NotFound
from cryogate.domain.ids import JOB, is_minted, is_slug
from cryogate.ports.privacy import EventReader, Opening
from cryogate.ports.store import ReadStore, Row, SqlValue

MAX_ENTRIES = 2000


class Story(msgspec.Struct, frozen=True):
    """Entries in the order of the log; ``next`` continues an agent's long one.

    ``timestamp`` is an RFC 3161 token in base64 about the head that all proofs lead to.
    """

    about: str
    origin: str
    receipts: tuple[Receipt, ...]
    pending: int
    next: int | None = None
    timestamp: str | None = None
    openings: dict[str, Opening] = {}


@dataclass(frozen=True, slots=True)
class _Found:
    rows: dict[int, Row]
    pending: int


class Tracer:
    """Finds what the log says about something."""

    def __init__(
        self,
        store: ReadStore,
        log: AuditLog,
        cosigned: Callable[[], bytes | None] | None = None,
        reader: EventReader | None = None,
    ) -> None:
        """``cosigned`` gives the newest head with a quorum of witnesses, where there are any;
        ``reader`` opens what is sealed, and without one it stays so.
        """
        self._store = store
        self._log = log
        self._cosigned = cosigned or (lambda: None)
        self._reader = reader
        self._receipts = Receipts(store, log)

    async def job(self, job_id: str) -> Story:
        """A job's story.

        Raises:
            NotFound: no event is about it.
            LogIntegrityError: what is stored is not what was logged.
            StoreUnavailable: the database did not answer.
        """
        if not is_minted(job_id, JOB):
            raise Malformed("malformed_job", "not the id of a job")
        return await self._told(f"job {job_id}", await self._about_job(job_id))

    async def circuit(self, circuit_sha256: str) -> Story:
        """The stories of the first 200 jobs that ran a circuit, woven together. Raises as `job`."""
        if len(circuit_sha256) != 64 or circuit_sha256.strip("0123456789abcdef"):
            raise Malformed("malformed_fingerprint", "a fingerprint is 64 hexadecimal digits")
        rows, pending = dict[int, Row](), 0
        query: dict[str, SqlValue] = {"circuit_sha256": circuit_sha256}
        for job in await self._store.fetch("log_jobs_of_circuit", query):
            found = await self._about_job(str(job["job_id"]))
            rows |= found.rows
            pending += found.pending
        return await self._told(f"circuit {circuit_sha256}", _Found(rows, pending))

    async def agent(self, agent_id: str, after: int = 0, limit: int = 500) -> Story:
        """What an agent did and what was done about it, page by page. Raises as `job`."""
        if not is_slug(agent_id):
            raise Malformed("malformed_agent", "not the name of an agent")
        count = max(1, min(limit, MAX_ENTRIES))
        query: dict[str, SqlValue] = {"agent_id": agent_id, "after": after, "count": count}
        rows = await self._store.fetch("log_of_agent", query)
        found = _Found(*_placed(list(rows), self._log.published_size))
        last = rows[-1]["event_id"] if len(rows) == count else None
        return await self._told(f"agent {agent_id}", found, last if isinstance(last, int) else None)

    async def _about_job(self, job_id: str) -> _Found:
        own = list(await self._store.fetch("log_of_job", {"job_id": job_id}))
        if not own:
            return _Found({}, 0)
        first = json.loads(str(own[0]["body"]))
        names = ("token_id", "approval_id")
        wanted = {name: first.get(name) for name in names}
        for row in own:
            body = json.loads(str(row["body"]))
            if body.get("approval_id") is not None:
                wanted["approval_id"] = body["approval_id"]
        query: dict[str, SqlValue] = {
            "agent_id": str(first.get("agent_id") or ""),
            "job_id": job_id,
            "token": f'%"token_id":"{wanted["token_id"] or "-"}"%',
            "approval": f'%"approval_id":"{wanted["approval_id"] or "-"}"%',
        }
        rows = own
        for row in await self._store.fetch("log_about_job", query):
            body = json.loads(str(row["body"]))
            if body.get("job_id") in (None, job_id) and any(
                wanted[name] is not None and body.get(name) == wanted[name] for name in names
            ):
                rows.append(row)
        return _Found(*_placed(rows, self._log.published_size))

    async def _told(self, about: str, found: _Found, more: int | None = None) -> Story:
        if not found.rows and not found.pending:
            raise NotFound("nothing_logged", "the log has no event about this")
        # One head for all of them, so that one signature vouches for the whole story.
        head, size, token = await self._head_over(max(found.rows, default=-1) + 1)
        receipts = [
            await self._receipts.of_entry(seq, str(row["body"]), str(row["action"]), head, size)
            for seq, row in sorted(found.rows.items())[:MAX_ENTRIES]
        ]
        openings: dict[str, Opening] = {}
        if self._reader is not None:
            openings = await self._reader.openings([json.loads(r.entry) for r in receipts])
        return Story(about, self._log.origin, tuple(receipts), found.pending, more, token, openings)

    async def _head_over(self, covered: int) -> tuple[bytes, int, str | None]:
        """The head that says most about the first ``covered`` entries: one that others stamped,
        else one that they cosigned, else the newest.
        """
        published = self._log.published_size
        stamped = await first_over(self._store, covered)
        if stamped is not None:
            with contextlib.suppress(NoteRefused):  # altered in the database: then it is no help
                size = open_checkpoint(stamped.note, self._log.verifiers, self._log.origin).size
                if covered <= size <= published:
                    return stamped.note, size, base64.b64encode(stamped.token).decode()
        cosigned = self._cosigned()
        if cosigned is not None and (size := peek_checkpoint(cosigned).size) >= covered:
            return cosigned, size, None
        return self._log.checkpoint() or b"", published, None


def _placed(rows: list[Row], published: int) -> tuple[dict[int, Row], int]:
    """Rows by their place, and how many have none that a head covers."""
    found: dict[int, Row] = {}
    pending = 0
    for row in rows:
        seq = row["seq"]
        if isinstance(seq, int) and seq < published:
            found[seq] = row
        else:
            pending += 1
    return found, pending
