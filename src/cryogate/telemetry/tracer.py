"""Makes spans, keeps the sampled ones, and hands them to whoever exports them.

(1) Whether a trace is kept is decided by us, from its id alone, once; a client's ``sampled`` flag
    is not heard, or clients could make us work and others pay for storage.
(2) A client's trace is never continued, only linked to: nobody can put our spans into a trace of
    another's, or hide among ours.
(3) What is not sampled costs one comparison; nothing here raises into the step it measures.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import ContextVar
from time import time_ns
from types import TracebackType
from typing import Final

from cryogate.domain.errors import Refused
from cryogate.ports.tracing import NO_SPANS, Nothing, Spans
from cryogate.telemetry.spans import Place, Span, Value, place_of_job

Keep = Callable[[Span], None]
_current: ContextVar[Span | None] = ContextVar("cryogate_span", default=None)
_NOTHING: Final = NO_SPANS.step("")


class Measured(Nothing):
    """Measures the block it is entered for; the spans of the block are its children."""

    __slots__ = ("_keep", "_span", "_token")

    def __init__(self, span: Span, keep: Keep) -> None:
        self._span, self._keep = span, keep

    def __enter__(self) -> None:
        self._token = _current.set(self._span)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        if error is not None:
            # a code of ours, or a type's name; never the text, which may quote anything
            self._span.error = error.code if isinstance(error, Refused) else type(error).__name__
        self._span.ended_ns = time_ns()
        self._keep(self._span)


class Tracer(Spans):
    """Keeps one trace in ``one_in``."""

    def __init__(self, keep: Keep, one_in: int = 1) -> None:
        if one_in < 1:
            raise ValueError("one trace in 1 or more")
        self._keep = keep
        self._below = (1 << 64) // one_in
        self._random = random.Random()  # noqa: S311 - ids need not be secret, only different

    def sampled(self, trace_id: str) -> bool:
        """(1): the same answer everywhere and always."""
        return int(trace_id[16:], 16) < self._below

    def request(self, link: Place | None) -> Span | None:
        """The span of a request that has just come in, or None where its trace is not kept."""
        number = self._random.getrandbits(128) | 1 << 127
        if number & (1 << 64) - 1 >= self._below:
            return None
        links = () if link is None else (link,)  # (2)
        place = Place(f"{number:032x}", self._span_id())
        return Span("", place, "", time_ns(), server=True, links=links)

    def measure(self, span: Span) -> Nothing:
        """Measure a block as ``span``."""
        return Measured(span, self._keep)

    def step(self, name: str) -> Nothing:
        """See `Spans.step`."""
        above = _current.get()
        if above is None:
            return _NOTHING
        place = Place(above.place.trace_id, self._span_id())
        return Measured(Span(name, place, above.place.span_id, time_ns()), self._keep)

    def job(self, job_id: str, backend: str) -> Nothing:
        """See `Spans.job`."""
        root = place_of_job(job_id)
        if not self.sampled(root.trace_id):
            return _NOTHING
        place = Place(root.trace_id, self._span_id())
        known: dict[str, Value] = {"cryogate.job_id": job_id, "cryogate.backend": backend}
        return Measured(
            Span("job.carry", place, root.span_id, time_ns(), attributes=known), self._keep
        )

    def accepted(self, job_id: str, begun_ns: int) -> None:
        """The first span of a job's trace; it and the request's span point at each other."""
        root, above = place_of_job(job_id), _current.get()
        if above is not None:
            above.links += (root,)
        if self.sampled(root.trace_id):
            span = Span("job.accept", root, "", begun_ns, ended_ns=time_ns())
            span.links = () if above is None else (above.place,)
            span.attributes["cryogate.job_id"] = job_id
            self._keep(span)

    def note(self, **ids: str) -> None:
        """Write ids onto the span that is measured here, if one is."""
        above = _current.get()
        if above is not None:
            above.attributes.update(
                (f"cryogate.{name}", value) for name, value in ids.items() if value
            )

    def _span_id(self) -> str:
        return f"{self._random.getrandbits(64) | 1 << 63:016x}"
