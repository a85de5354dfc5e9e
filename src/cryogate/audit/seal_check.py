"""Whether everything that the log commits to can still be read, by who has the master key.

The log proves the commitments; this looks at what lies beside it. A value whose key was deleted is
as it should be. Any other that is absent or altered is a finding at its entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryogate.audit.export import Progress
from cryogate.audit.findings import Finding, FindingKind, Findings
from cryogate.audit.opening import Opener, tokens_in
from cryogate.audit.reading import MAX_ENTRIES, pruned_before
from cryogate.audit.sealing import ScopeKeys, scope_of
from cryogate.audit.seals import LostKey
from cryogate.ports.store import ReadStore, StoreUnavailable


@dataclass(frozen=True, slots=True)
class SealReport:
    """How many values were opened, how many have no key any more, and what is wrong."""

    opened: int
    shredded: int
    findings: tuple[Finding, ...]
    omitted: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


async def check_seals(
    store: ReadStore, keys: ScopeKeys, progress: Progress | None = None
) -> SealReport:
    """Open every value of every entry that has its text.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    opener, findings = Opener(store, keys), Findings()
    opened = shredded = 0
    row = await store.fetch_one("log_size", {})
    size = int((row or {}).get("size") or 0)
    for first in range(await pruned_before(store), size, MAX_ENTRIES):
        past = min(size, first + MAX_ENTRIES)
        rows = await store.fetch("log_entries", {"first": first, "past": past})
        events = {int(row["seq"] or 0): _fields(str(row["body"])) for row in rows}
        by_scope: dict[str, dict[int, dict[str, Any]]] = {}
        for seq, event in events.items():
            by_scope.setdefault(_scope(event), {})[seq] = event
        for scope, members in by_scope.items():
            state = await _state(keys, scope)
            found = await opener.openings(list(members.values())) if state == "held" else {}
            for seq, event in members.items():
                tokens = set(tokens_in(event))
                opened += len(tokens & found.keys())
                if state == "lost":
                    shredded += len(tokens)
                elif tokens - found.keys():
                    findings.add(FindingKind.SEALED, _WHY[state], seq)
        if progress is not None:
            progress(past, size)
    return SealReport(opened, shredded, findings.listed(), findings.omitted)


_WHY = {
    "held": "a sealed value is absent or is not the one that was committed to",
    "none": "the key of its sealed values is absent, and nobody has deleted it",
    "broken": "the key of its sealed values does not open: altered, or another master key",
}


async def _state(keys: ScopeKeys, scope: str) -> str:
    try:
        key = await keys.load(scope)
    except StoreUnavailable:
        return "broken"
    return "none" if key is None else "lost" if isinstance(key, LostKey) else "held"


def _scope(event: Mapping[str, Any]) -> str:
    experiment = event.get("experiment_id")
    named = experiment if isinstance(experiment, str) else None
    return scope_of(str(event.get("action")), named, str(event.get("timestamp")))


def _fields(body: str) -> dict[str, Any]:
    """What an entry says; what is no event says nothing here, and verifying the log tells of it."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
