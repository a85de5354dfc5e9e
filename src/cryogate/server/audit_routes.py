"""``/audit``: the log as auditors read it. Checkpoints are public, entries are not."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.audit.errors import NotInLog
from cryogate.audit.log import AuditLog
from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed, NotFound, Unavailable
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole, Public
from cryogate.server.replies import query, reply, whole_number

_LARGEST = 2**53


class AuditRoutes:
    """Events, proofs and the signed head."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Approvers decide about jobs; the log is for auditors and admins."""
        auditors = (OperatorRole.AUDITOR,)
        return (
            Public("GET", "/audit/checkpoint", self.checkpoint),
            ForOperators("GET", "/audit/events", auditors, self.events),
            ForOperators("GET", "/audit/events/{seq}/proof", auditors, self.proof),
            ForOperators("GET", "/audit/consistency", auditors, self.consistency),
        )

    async def checkpoint(self, request: Request) -> Response:
        """The newest signed head, as a C2SP checkpoint."""
        note = self._log.checkpoint()
        if note is None:
            raise Unavailable("the log has no head yet")
        return Response(note, media_type="text/plain", headers={"cache-control": "no-store"})

    async def events(self, request: Request, operator: Operator) -> Response:
        """Events in the order of the log, behind ``?after=``."""
        params = query(request, "after", "limit")
        limit = max(1, whole_number(params, "limit", 100, 1000))
        after = whole_number(params, "after", 0, _LARGEST) if "after" in params else -1
        entries = await self._log.events(after, limit)
        return reply(
            {
                "items": [msgspec.Raw(entry.data) for entry in entries],
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
