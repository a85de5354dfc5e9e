"""Experiments: what work is *for*, and the bounds everybody in it shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Classification(StrEnum):
    """How much harm a leak would do."""

    POC = "poc"
    PRODUCTION = "production"
    SENSITIVE = "sensitive"


class Release(StrEnum):
    """How much of a result may leave the gateway, from least to most."""

    NONE = "none"
    AGGREGATES = "aggregates"
    RAW = "raw"

    def narrowed(self, other: Release) -> Release:
        """The lesser of two rights: rights only ever meet, they never add up."""
        return self if _RANKS[self] <= _RANKS[other] else other

    @property
    def rank(self) -> int:
        """0 for the least right, growing."""
        return _RANKS[self]


_RANKS = {right: rank for rank, right in enumerate(Release)}


@dataclass(frozen=True, slots=True)
class Experiment:
    """A purpose with an owner, a time window (epoch milliseconds) and allow-lists.

    An empty allow-list allows nobody and nothing. ``min_count`` and ``top_k`` cut what
    aggregates show: outcomes seen less often, and all but the most frequent (0: no such cut). Only
    what administers experiments reads them here; a release reads them with the result. Its
    ``webhook`` is told when jobs are over.
    """

    experiment_id: str
    purpose: str
    classification: Classification
    owner: str
    cost_center: str
    opens_ms: int
    closes_ms: int
    closed: bool
    allowed_agents: frozenset[str]
    allowed_backends: frozenset[str]
    release: Release
    created_ms: int
    min_count: int = 1
    top_k: int = 0
    webhook: str = ""

    def is_open(self, now_ms: int) -> bool:
        """Open means: not closed by hand and inside ``[opens_ms, closes_ms)``."""
        return not self.closed and self.opens_ms <= now_ms < self.closes_ms
