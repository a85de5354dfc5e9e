"""Proofs that were used, remembered for exactly as long as they could be used again.

Slots hold the hashes of accepted proofs by their ``iat``. A slot is dropped once the verifier
refuses everything in it as too old, so a proof is forgotten only when it is dead anyway.

After a restart nothing is remembered. So proofs dated up to ``not_before_s``, or as far beyond it
as a proof may lie ahead of our clock, could have been accepted by the process before: they are
never taken as they are. They are not lost either: the verifier asks for a proof with a nonce of
this process, which no earlier process can have accepted (RFC 9449 section 8). That is the whole
grace: clients that follow the RFC need one round trip more in the first seconds after a start.

Memory is bounded by ``capacity`` entries (about 100 bytes each). A full window refuses: to
forget would be to allow.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

from cryogate.domain.errors import Unavailable

_SLOT_S = 8


class SharedReplay(ABC):
    """Remembers used proofs of all processes of a deployment."""

    @abstractmethod
    async def use(self, jkt: str, jti: str) -> bool | None:
        """Mark a proof as used; False if it was already, None if the store has forgotten what
        was used before, so that proofs need a nonce of its new place.

        Raises:
            Unavailable: nobody can be sure.
        """


class ReplayWindow:
    """Remembers used proofs of one process.

    ``not_before_s`` is the epoch second of the start for a process that follows another on the same
    address, and 0 when there was none before.
    """

    def __init__(self, *, not_before_s: int, capacity: int = 400_000) -> None:
        self.not_before_s = not_before_s
        self._slots: dict[int, set[bytes]] = {}
        self._capacity = capacity
        self._size = 0

    def forget_before(self, oldest_s: int) -> None:
        """Drop what lies wholly before ``oldest_s``. The caller refuses all of that from now on."""
        alive = oldest_s // _SLOT_S
        for slot in [slot for slot in self._slots if slot < alive]:
            self._size -= len(self._slots.pop(slot))

    def use(self, jkt: str, jti: str, iat_s: int) -> bool:
        """Mark a proof as used; False if it was already.

        Raises:
            Unavailable: the window is full, so nobody can be sure.
        """
        # The length of jkt is fixed, so no two pairs give the same text.
        digest = hashlib.blake2b(f"{jkt}.{jti}".encode(), digest_size=16).digest()
        slot = self._slots.setdefault(iat_s // _SLOT_S, set())
        if digest in slot:
            return False
        if self._size >= self._capacity:
            raise Unavailable("the replay window is full")
        slot.add(digest)
        self._size += 1
        return True

    def __len__(self) -> int:
        return self._size
