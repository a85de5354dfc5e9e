"""Spans: how long the steps of a request and of a job took, for whoever traces.

Nothing depends on a span and no span may fail a step. A span carries names of ours and ids, never
a value that a client chose freely, and never a secret (T4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Final

Nothing = AbstractContextManager[None]
_NOTHING: Final[Nothing] = nullcontext()


class Spans(ABC):
    """What the core calls; each context manager measures what happens inside it."""

    @abstractmethod
    def job(self, job_id: str, backend: str) -> Nothing:
        """The carrying of a job by this process, in the trace that all processes share for it."""

    @abstractmethod
    def step(self, name: str) -> Nothing:
        """A step of whatever is being measured here; nothing where nothing is."""


class NoSpans(Spans):
    """Tracing is off: one shared object that does nothing."""

    def job(self, job_id: str, backend: str) -> Nothing:
        """See `Spans.job`."""
        return _NOTHING

    def step(self, name: str) -> Nothing:
        """See `Spans.step`."""
        return _NOTHING


NO_SPANS: Final = NoSpans()
