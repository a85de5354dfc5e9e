"""Asks for a second opinion once for each program and dialect, and remembers what was agreed (C5).

Only agreement is remembered: a text is kept after another parser has read it as the program it was
written from. Nothing is asked for a backend without a dialect, so simulators pay for a dictionary
look-up at most. Workers start on first use: a deployment without hardware never pays for one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from cryogate.circuits import Dialect, GuardedPool, Program, emit, second_opinion

_Key = tuple[str, Dialect]
_REMEMBERED = 1024
_KEPT_TEXT = 1 << 16


class SecondReader:
    """``pool`` runs `SECOND_OPINION_ENTRYPOINT`."""

    def __init__(self, pool: GuardedPool, *, remembered: int = _REMEMBERED) -> None:
        self._pool = pool
        self._remembered = remembered
        # None: agreed, but too long to keep; writing it out again gives the same bytes.
        self._agreed: OrderedDict[_Key, bytes | None] = OrderedDict()
        self._asking: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def text(self, program: Program, dialect: Dialect) -> bytes:
        """What to send: ``program`` in ``dialect``, confirmed by another parser.

        Raises:
            CircuitError: ``unsupported``, ``disagreement`` or ``unconfirmed``; nothing may be sent.
            WorkerFailed: no worker could be had just now.
        """
        key = (program.fingerprint, dialect)
        lock = self._asking.get(key)
        if lock is None:
            lock = self._asking[key] = asyncio.Lock()
        async with lock:
            if key in self._agreed:
                self._agreed.move_to_end(key)
                kept = self._agreed[key]
                if kept is not None:
                    return kept
                if dialect is not Dialect.QISKIT:  # only a worker can write that one
                    return await asyncio.to_thread(emit, program, dialect)
            text = await second_opinion(program, dialect, self._pool)
            self._agreed[key] = text if len(text) <= _KEPT_TEXT else None
            while len(self._agreed) > self._remembered:
                self._agreed.popitem(last=False)
            return text

    async def close(self) -> None:
        """End the workers."""
        await self._pool.close()
