"""A witness as a service: C2SP tlog-witness over HTTP, for logs that ask to be cosigned.

There is no authentication but the log's own signature, as the protocol has it; a request is
bounded, and what is wrong with it is told by the status alone.
"""

from __future__ import annotations

from hashlib import sha256

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cryogate.audit.errors import LogIntegrityError, NoteRefused
from cryogate.audit.merkle import EMPTY_ROOT
from cryogate.audit.note import decode_base64, parse_note
from cryogate.audit.witness import NoProof, Witness, WrongPlace
from cryogate.audit.witness_protocol import (
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    encode_cosignatures,
    parse_add_checkpoint,
    parse_size,
)
from cryogate.domain.errors import Unavailable


def witness_app(witness: Witness, origin: str) -> Starlette:
    """``POST /add-checkpoint``, and ``GET /<hash of the origin>/checkpoint`` for monitors."""
    service = _Service(witness, origin)
    monitored = f"/{sha256(origin.encode()).hexdigest()}/checkpoint"
    return Starlette(
        routes=[
            Route("/add-checkpoint", service.add, methods=["POST"]),
            Route(monitored, service.monitored, methods=["GET"]),
        ]
    )


class _Service:
    def __init__(self, witness: Witness, origin: str) -> None:
        self._witness = witness
        self._origin = origin

    async def add(self, request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return Response(status_code=413)
        try:
            asked = parse_add_checkpoint(body)
            text = parse_note(asked.note).text
            origin, size, root = _first_lines(text)
        except NoteRefused:
            return Response(status_code=400)
        if origin != self._origin:
            return Response(status_code=404)
        if asked.old > size:
            return Response(status_code=400)
        if size == 0 and root != EMPTY_ROOT:
            return Response(status_code=422)
        try:
            signatures = await self._witness.submitted(asked.old, asked.proof, asked.note)
        except WrongPlace as error:
            return Response(f"{error.size}\n", status_code=409, media_type=SIZE_TYPE,
                            headers={"content-type": SIZE_TYPE})  # fmt: skip
        except NoProof:
            return Response(status_code=422)
        except NoteRefused:
            return Response(status_code=403)
        except (Unavailable, LogIntegrityError):
            # its own store: nothing was cosigned, and nothing about it is the log's business
            return Response(status_code=503)
        return Response(encode_cosignatures(signatures), media_type="text/plain")

    async def monitored(self, request: Request) -> Response:
        try:
            head = await self._witness.head()
        except Unavailable:
            return Response(status_code=503)
        if head is None:
            return Response(status_code=404)
        return Response(head, media_type="text/plain", headers={"cache-control": "no-store"})


def _first_lines(text: str) -> tuple[str, int, bytes]:
    lines = text.split("\n")
    if len(lines) != 4:
        raise NoteRefused("a checkpoint has three lines: origin, size, root")
    return lines[0], parse_size(lines[1]), decode_base64(lines[2], "the root")


async def _body(request: Request) -> bytes | None:
    """The body; None if it is larger than any request can be."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_REQUEST_BYTES:
                return None
    except ClientDisconnect:
        return None
    return bytes(body)
