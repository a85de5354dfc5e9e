"""A heavy step is taken by all requests that are ready for it, one after another.

A step that walks through much memory, such as a policy decision, leaves the processor's caches full
of its own, and whatever comes next finds nothing there of what it needs. When the requests that are
ready for such a step take it in the same turn of the event loop, that is paid for once a turn and
not once a request (cohort scheduling: Larus and Parkes, USENIX 2002; ADR 72). A server with one
request at a time loses some microseconds by it.
"""

from __future__ import annotations

import asyncio


async def next_turn() -> None:
    """Let every task that is ready now run first."""
    await asyncio.sleep(0)
