"""How long entries of the log are kept: a written policy, never a habit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Six months, which is what EU AI Act Art. 19 and 26 ask for at least, and no policy may go below.
LEGAL_MINIMUM_DAYS: Final = 183
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What was decided, by whom, and the digest of the text that says so.

    Entries of the experiments in ``holds`` stay, and with them all that come after.
    """

    keep_days: int
    legal_minimum_days: int
    decided_by: str
    reason: str
    holds: tuple[str, ...]
    digest: str

    def __post_init__(self) -> None:
        if not LEGAL_MINIMUM_DAYS <= self.legal_minimum_days <= self.keep_days:
            raise ValueError("no policy keeps entries for less than the legal minimum")

    def cutoff_ms(self, now_ms: int) -> int:
        """What happened before may go; epoch milliseconds."""
        return now_ms - self.keep_days * DAY_MS
