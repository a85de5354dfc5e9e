"""What an HTTP receiver's status means for the entries. Requests go through the guarded fetcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from cryogate.ports.sinks import EntryRefused, SinkUnavailable
from cryogate.sinks.setup import Answered, Send

# about the bytes that were sent; everything else is about the receiver, or about us
_REFUSED: Final = frozenset({400, 413, 422})


async def sent(
    send: Send, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> Answered:
    """The answer to a request that was taken. A redirect is no acceptance.

    Raises:
        EntryRefused: these bytes will never be taken.
        SinkUnavailable: they were not taken this time.
    """
    try:
        answer = await send(method, url, headers, body)
    except Exception as error:
        raise SinkUnavailable(f"no answer: {type(error).__name__}") from error
    if answer.status in _REFUSED:
        raise EntryRefused(f"answered {answer.status}")
    if not 200 <= answer.status < 300:
        raise SinkUnavailable(f"answered {answer.status}")
    return answer


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in an answer; empty for anything else."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
