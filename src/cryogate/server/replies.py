"""Successful answers, and the cursors of lists."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed

_encoder = msgspec.json.Encoder()
_HEADERS = {"cache-control": "no-store"}


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` as JSON. Answers are for one caller, so no cache may keep them."""
    return Response(
        _encoder.encode(value),
        status,
        _HEADERS if headers is None else {**_HEADERS, **headers},
        media_type="application/json",
    )


def actor(operator: Operator) -> str:
    """The operator's name in events."""
    return f"operator:{operator.operator_id}"


def query(request: Request, *allowed: str) -> dict[str, str]:
    """The query parameters, each known and sent once.

    Raises:
        Malformed: an unknown or repeated parameter.
    """
    if not request.scope["query_string"]:
        return {}
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed or name in found:
            raise Malformed(
                "malformed_query",
                f"query parameters here, once each: {', '.join(allowed) or 'none'}",
            )
        found[name] = value
    return found


def whole_number(params: dict[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 0 to ``most`` in a query.

    Raises:
        Malformed: it is not one.
    """
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) <= most):
        raise Malformed("malformed_query", f"{name} is a whole number up to {most}")
    return int(text)


def one_of(params: dict[str, str], name: str, kind: type[StrEnum]) -> str | None:
    """A query parameter that must be a value of ``kind``; None when it was not sent.

    Raises:
        Malformed: it is not one of them.
    """
    text = params.get(name)
    if text is not None and text not in set(kind):
        raise Malformed("malformed_query", f"{name} is one of {', '.join(kind)}")
    return text


def time_cursor(params: dict[str, str], name: str = "before") -> tuple[int, str] | None:
    """The ``next`` of a page, as it was given out: a time and an id.

    Raises:
        Malformed: it was not given out by us.
    """
    text = params.get(name)
    if text is None:
        return None
    moment, dot, last = text.partition(".")
    if not dot or not (moment.isascii() and moment.isdigit()) or len(moment) > 18 or len(last) > 40:
        raise Malformed("malformed_query", f"{name} is the 'next' of an earlier page")
    return int(moment), last
