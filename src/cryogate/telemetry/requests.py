"""Which request is being answered here: an id for log lines and for who has to tell of trouble."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

#: The request's own dictionary (its ASGI scope). Each request runs in a task, so in a context, of
#: its own.
REQUEST: ContextVar[MutableMapping[str, Any] | None] = ContextVar("cryogate_request", default=None)
#: Where the id of a trace that is kept stands in it.
TRACE: Final = "cryogate.trace"
_ID: Final = "cryogate.request_id"


def request_id() -> str:
    """The id of the request that is answered here, made when it is first asked for; else ``""``."""
    scope = REQUEST.get()
    if scope is None:
        return ""
    found: str = scope.get(_ID) or scope.setdefault(_ID, f"req_{secrets.token_hex(8)}")
    return found


def trace_id() -> str:
    """The id of the request's trace, if it is kept; else ``""``."""
    scope = REQUEST.get()
    return "" if scope is None else str(scope.get(TRACE, ""))
