"""What a verifier says it has found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

MAX_FINDINGS = 200


class FindingKind(StrEnum):
    """In what way a log is not what was signed."""

    NO_TRUST = "no_trust"
    NO_CHECKPOINT = "no_checkpoint"
    NO_QUORUM = "no_quorum"
    NO_TIMESTAMP = "no_timestamp"
    TIMESTAMP = "bad_timestamp"
    SIGNATURE = "forged_checkpoint"
    FORK = "fork"
    ROOT = "root_mismatch"
    TRUNCATED = "truncated"
    EDITED = "edited_entry"
    MISSING = "missing_entry"
    REORDERED = "reordered"
    NOT_CANONICAL = "not_canonical"
    SEQUENCE = "sequence"
    HASHES = "stored_hashes"
    SEALED = "sealed_value"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``first`` and ``last`` are the entries (or the size) that it is about."""

    kind: FindingKind
    detail: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.first is None:
            return f"{self.kind}: {self.detail}"
        where = (
            str(self.first) if self.last in (None, self.first) else f"{self.first} to {self.last}"
        )
        return f"{self.kind} at {where}: {self.detail}"


class Findings:
    """Collects findings; neighbours of one kind and text become one with a range."""

    def __init__(self) -> None:
        self._listed: list[Finding] = []
        self.omitted = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has been found."""
        return not self._listed

    def add(
        self, kind: FindingKind, detail: str, first: int | None = None, last: int | None = None
    ) -> None:
        """Note one finding."""
        end = first if last is None else last
        for n in range(len(self._listed) - 1, max(-1, len(self._listed) - 4), -1):
            near = self._listed[n]
            if near.last is None or (near.kind, near.detail) != (kind, detail):
                continue
            if first == near.last + 1:
                self._listed[n] = replace(near, last=end)
                return
        if len(self._listed) < MAX_FINDINGS:
            self._listed.append(Finding(kind, detail, first, end))
        else:
            self.omitted += 1

    def listed(self) -> tuple[Finding, ...]:
        """All findings that are kept, by place."""
        return tuple(sorted(self._listed, key=lambda f: -1 if f.first is None else f.first))
