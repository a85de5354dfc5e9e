"""``/admin/v1/sinks``: how far copies of the log have got, and what receivers did not take."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed
from cryogate.ports.audit import rfc3339
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply, whole_number
from cryogate.sinks.letters import MOST, Letter, LetterDesk

_PAGE = 50
_MAX_BODY = 8 << 10
_LARGEST = 2**53
_Seq = Annotated[int, msgspec.Meta(ge=0, lt=_LARGEST)]


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters to offer again; ``all`` of them only if it is said."""

    entries: Annotated[tuple[_Seq, ...], msgspec.Meta(max_length=MOST)] = ()
    all: bool = False


class Drop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters to give up, and why."""

    entries: Annotated[tuple[_Seq, ...], msgspec.Meta(min_length=1, max_length=MOST)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SinkRoutes:
    """List sinks and dead letters; retry and drop letters."""

    def __init__(self, desk: LetterDesk) -> None:
        self._desk = desk

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Auditors may see what there is; admins alone decide about it."""
        look = (OperatorRole.AUDITOR,)
        letters = "/admin/v1/sinks/{name}/dead-letters"
        return (
            ForOperators("GET", "/admin/v1/sinks", look, self.sinks),
            ForOperators("GET", letters, look, self.list),
            ForOperators("POST", letters + "/retry", (), self.retry),
            ForOperators("POST", letters + "/drop", (), self.drop),
        )

    async def sinks(self, request: Request, operator: Operator) -> Response:
        """Every sink that is configured."""
        query(request)
        items = [
            {
                "name": found.name,
                "position": found.position,
                "behind": found.behind,
                "dead_letters": found.dead_letters,
                "failures": found.failures,
                "feeding": found.feeding,
            }
            for found in await self._desk.sinks()
        ]
        return reply({"items": items, "next": None})

    async def list(self, request: Request, operator: Operator) -> Response:
        """A sink's dead letters, in the order of the log."""
        params = query(request, "after", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        after = whole_number(params, "after", 0, _LARGEST) if "after" in params else -1
        found = await self._desk.list(request.path_params["name"], after, limit)
        following = found[-1].seq if len(found) == limit else None
        return reply({"items": [_view(letter) for letter in found], "next": following})

    async def retry(self, request: Request, operator: Operator) -> Response:
        """202: they are offered within seconds; how that went is in the log and in the list."""
        asked = await read_json(request, Retry, _MAX_BODY)
        if bool(asked.entries) == asked.all:
            raise Malformed("malformed_request", "name entries, or say all, and not both")
        await self._desk.retry(request.path_params["name"], asked.entries, actor(operator))
        return reply({"asked": "all" if asked.all else list(asked.entries)}, 202)

    async def drop(self, request: Request, operator: Operator) -> Response:
        """They are no letters of this sink any more; the log keeps the entries."""
        asked = await read_json(request, Drop, _MAX_BODY)
        name = request.path_params["name"]
        await self._desk.drop(name, asked.entries, asked.reason, actor(operator))
        return reply({"dropped": list(asked.entries)})


def _view(letter: Letter) -> dict[str, Any]:
    return {
        "seq": letter.seq,
        "reason": letter.reason,
        "at": rfc3339(letter.at_ms),
        "tries": letter.tries,
        "asked_at": None if letter.asked_ms is None else rfc3339(letter.asked_ms),
    }
