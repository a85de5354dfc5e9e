"""Request bodies: size-limited, parsed once, into a strict type.

JSON has traps that are closed here: repeated keys (one parser takes the first, another the last),
``NaN`` and friends, numbers given as strings, nesting that overflows a stack (A4).
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from cryogate.domain.errors import Malformed
from cryogate.server.problems import TooLarge

T = TypeVar("T")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("repeated_key", "a JSON object has the same key twice")
    return fields


def _constant(name: str) -> NoReturn:
    raise Malformed("malformed_json", f"{name} is not a JSON value")


_decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, or `TooLarge` before more than ``limit`` bytes are held."""
    declared = request.headers.get("content-length")
    if declared is not None and (not declared.isdigit() or int(declared) > limit):
        raise TooLarge("too_large", f"the body may have at most {limit} bytes")
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge("too_large", f"the body may have at most {limit} bytes")
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise Malformed("incomplete", "the body ended early") from error
    return b"".join(chunks)


def parse_json(body: bytes, kind: type[T]) -> T:
    """``body`` as a ``kind``.

    Raises:
        Malformed: not UTF-8, not JSON, repeated keys, unknown fields, wrong types; says where.
    """
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except (UnicodeDecodeError, RecursionError) as error:
        raise Malformed("malformed_json", "the body is not JSON in UTF-8") from error
    except json.JSONDecodeError as error:
        raise Malformed(
            "malformed_json", f"the body is not JSON: {error.msg} at byte {error.pos}"
        ) from error
    except ValueError as error:  # a number with more digits than the interpreter converts
        raise Malformed("malformed_json", "a number is too long") from error
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Malformed("malformed_request", str(error)[:300]) from error


async def read_json(request: Request, kind: type[T], limit: int) -> T:
    """The request's JSON body as a ``kind``."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Malformed("content_type", "send the body as application/json")
    return parse_json(await read_body(request, limit), kind)
