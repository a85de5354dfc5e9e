"""How often one address may try to sign in: bounded in time and in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from cryogate.domain.errors import Refused

_MOST_ADDRESSES: Final = 10_000


class TooManyAttempts(Refused):
    """Try again after ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too_many_attempts", "too many tries from this address; wait a moment")
        self.retry_after_s = retry_after_s


class Attempts:
    """A bucket of ``burst`` tries for each address, one more every ``every_s`` seconds.

    The least recently seen address is forgotten first: who comes with ten thousand addresses is
    still bounded by the account's own delay, which is in the database.
    """

    def __init__(
        self, monotonic_ms: Callable[[], int], *, burst: int = 10, every_s: int = 6
    ) -> None:
        self._now_ms, self._burst, self._every_ms = monotonic_ms, burst, every_s * 1000
        # When the bucket of an address is full again (GCRA): one number is the whole state.
        self._full_at_ms: OrderedDict[str, int] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one try.

        Raises:
            TooManyAttempts: the bucket is empty.
        """
        now_ms = self._now_ms()
        full_at_ms = max(self._full_at_ms.pop(address, now_ms), now_ms) + self._every_ms
        early_ms = full_at_ms - now_ms - self._burst * self._every_ms
        if early_ms > 0:
            self._full_at_ms[address] = full_at_ms - self._every_ms
            raise TooManyAttempts(early_ms // 1000 + 1)
        self._full_at_ms[address] = full_at_ms
        if len(self._full_at_ms) > _MOST_ADDRESSES:
            self._full_at_ms.popitem(last=False)

    def give_back(self, address: str) -> None:
        """The try succeeded: only failures count, so that people behind one address can work."""
        if address in self._full_at_ms:
            self._full_at_ms[address] -= self._every_ms
