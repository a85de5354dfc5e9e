"""``/audit``: the log as auditors read it. Checkpoints are public, entries are not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.audit.errors import NotInLog
from cryogate.audit.log import AuditLog
from cryogate.audit.provenance import Provenances
from cryogate.audit.tiles import Resource, TileServer, parse_tile_path
from cryogate.audit.trace import Tracer
from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed, NotFound, Unavailable
from cryogate.ports.privacy import EventReader
from cryogate.ports.store import ReadStore
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole, Public
from cryogate.server.replies import query, reply, whole_number

_LARGEST = 2**53


class AuditRoutes:
    """Events, proofs, the signed head, and the log as C2SP tlog-tiles under ``/audit``."""

    def __init__(
        self,
        log: AuditLog,
        store: ReadStore,
        provenances: Provenances,
        reader: EventReader,
        served: Callable[[], bytes | None] | None = None,
        cosigned: Callable[[], bytes | None] | None = None,
    ) -> None:
        """``served`` gives the head that is shown, ``cosigned`` the newest one with a quorum."""
        self._log = log
        self._reader = reader
        self._served = served or log.checkpoint
        self._tracer = Tracer(store, log, cosigned, reader)
        self._provenances = provenances
        self._tiles = TileServer(store, log.checkpoint)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Approvers decide about jobs; the log is for auditors and admins."""
        auditors = (OperatorRole.AUDITOR,)
        return (
            Public("GET", "/audit/checkpoint", self.checkpoint),
            Public("GET", "/audit/vkey", self.vkeys),
            # entries hold the events themselves; the paths are tried in this order
            ForOperators("GET", "/audit/tile/entries/{rest:path}", auditors, self.bundle),
            Public("GET", "/audit/tile/{rest:path}", self.tile),
            ForOperators("GET", "/audit/events", auditors, self.events),
            ForOperators("GET", "/audit/events/{seq}/proof", auditors, self.proof),
            ForOperators("GET", "/audit/trace", auditors, self.trace),
            ForOperators("GET", "/audit/provenance/{job_id}", auditors, self.provenance),
            ForOperators("GET", "/audit/consistency", auditors, self.consistency),
        )

    async def checkpoint(self, request: Request) -> Response:
        """The newest signed head, as a C2SP checkpoint."""
        note = self._served()
        if note is None:
            raise Unavailable("the log has no head yet")
        return Response(note, media_type="text/plain", headers={"cache-control": "no-store"})

    async def vkeys(self, request: Request) -> Response:
        """The log's public keys, one a line: for comparison, never for trust in this very log."""
        text = "".join(f"{key.vkey()}\n" for key in self._log.verifiers)
        return Response(text, media_type="text/plain", headers={"cache-control": "no-store"})

    async def tile(self, request: Request) -> Response:
        """A tile of hashes: what anybody may have, because it shows sizes and hashes only."""
        tile = parse_tile_path(f"/tile/{request.path_params['rest']}")
        if tile.row is None:
            raise NotInLog("no such tile")
        return self._immutable(await self._tiles.get(str(tile)), "public")

    async def bundle(self, request: Request, operator: Operator) -> Response:
        """A bundle of entries."""
        found = await self._tiles.get(f"/tile/entries/{request.path_params['rest']}")
        return self._immutable(found, "private")

    def _immutable(self, found: Resource, who: str) -> Response:
        caching = {"cache-control": f"{who}, max-age=31536000, immutable"}
        return Response(found.content, media_type=found.content_type, headers=caching)

    async def events(self, request: Request, operator: Operator) -> Response:
        """Events in the order of the log, behind ``?after=``: as they were hashed, or with
        ``?clear=1`` with what can be opened of them.
        """
        params = query(request, "after", "limit", "clear")
        limit = max(1, whole_number(params, "limit", 100, 1000))
        after = whole_number(params, "after", 0, _LARGEST) if "after" in params else -1
        # Who asks what just happened is not told that nothing did: what waits gets its place now.
        await self._log.sequence_now()
        entries = await self._log.events(after, limit)
        items: list[Any] = [msgspec.Raw(entry.data) for entry in entries]
        if whole_number(params, "clear", 0, 1):
            items = await self._reader.clear([json.loads(entry.data) for entry in entries])
        return reply(
            {
                "items": items,
                "next": entries[-1].seq if len(entries) == limit else None,
            }
        )

    async def proof(self, request: Request, operator: Operator) -> Response:
        """That an entry is in the log of the newest head, or of ``?size=``."""
        params = query(request, "size")
        seq = _place(request.path_params["seq"])
        size = whole_number(params, "size", 0, _LARGEST) if "size" in params else None
        try:
            found = await self._log.inclusion_proof(seq, size)
        except NotInLog as error:
            raise NotFound("not_in_log", "no signed head covers this entry yet") from error
        answer: dict[str, Any] = {
            "seq": found.seq,
            "size": found.size,
            "leaf_hash": found.leaf_hash.hex(),
            "path": [base64.b64encode(node).decode() for node in found.path],
            "checkpoint": None if found.checkpoint is None else found.checkpoint.decode(),
        }
        return reply(answer)

    async def trace(self, request: Request, operator: Operator) -> Response:
        """The story of ``?job=``, ``?circuit=`` or ``?agent=`` in the order of the log, proved."""
        params = query(request, "job", "circuit", "agent", "after")
        after = whole_number(params, "after", 0, _LARGEST)
        match sorted(params.keys() - {"after"}):
            case ["job"]:
                return reply(await self._tracer.job(params["job"]))
            case ["circuit"]:
                return reply(await self._tracer.circuit(params["circuit"]))
            case ["agent"]:
                return reply(await self._tracer.agent(params["agent"], after))
        raise Malformed("malformed_query", "name one of job, circuit and agent")

    async def provenance(self, request: Request, operator: Operator) -> Response:
        """The statement about a result that has one; none is made for an auditor's question."""
        signed = await self._provenances.made(request.path_params["job_id"])
        if signed is None:
            raise NotFound("no_statement", "nobody has read a result of this job yet")
        return reply({"provenance": signed.envelope})

    async def consistency(self, request: Request, operator: Operator) -> Response:
        """That the log of ``?new=`` entries begins with the one of ``?old=``."""
        params = query(request, "old", "new")
        old = whole_number(params, "old", 0, _LARGEST)
        new = whole_number(params, "new", 0, _LARGEST) if "new" in params else None
        try:
            path = await self._log.consistency_proof(old, new)
        except NotInLog as error:
            raise NotFound("not_in_log", "no signed heads of these sizes") from error
        return reply({"path": [base64.b64encode(node).decode() for node in path]})


def _place(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Malformed("malformed_seq", "an entry is named by its place, a whole number")
    return int(text)
