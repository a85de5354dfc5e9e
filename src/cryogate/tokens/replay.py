"""Proofs that were used, remembered for exactly as long as they could be used again.

Slots hold the hashes of accepted proofs by their ``iat``. A slot is dropped when the clock has
left it behind, and at the same moment ``floor_s`` rises above it: whatever is older than the
floor is refused as stale, remembered or not. So a proof is forgotten only once it is dead.

After a restart nothing is remembered, so the floor begins above every ``iat`` that the process
before could have accepted: its last second plus how far ahead of our clock a proof may be. A
proof below the floor is not lost: the verifier asks for one with a nonce of this process, which
no earlier process can have accepted (RFC 9449 section 8). That is the whole grace: clients that
follow the RFC need one round trip more in the first seconds after a start.

Memory is bounded by ``capacity`` entries (about 100 bytes each). A full window refuses: to
forget would be to allow.
"""

from __future__ import annotations

import hashlib

from cryogate.domain.errors import Unavailable

_SLOT_S = 8


class ReplayWindow:
    """Remembers used proofs of one process.

    ``not_before_s`` is the floor at start, in epoch seconds: the second of the start for a
    process that follows another on the same address, 0 when there was none before.
    """

    def __init__(self, *, not_before_s: int, capacity: int = 400_000) -> None:
        self._floor_s = not_before_s
        self._slots: dict[int, set[bytes]] = {}
        self._capacity = capacity
        self._size = 0

    @property
    def floor_s(self) -> int:
        """Proofs issued before this second are dead."""
        return self._floor_s

    def forget_before(self, oldest_s: int) -> None:
        """Raise the floor to ``oldest_s`` and drop what lies wholly below it."""
        if oldest_s <= self._floor_s:
            return
        self._floor_s = oldest_s
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
