"""What the metrics say of the log, jobs, budgets, alerts, revocations and sinks.

Read when somebody asks, by few and bounded questions; a part that does not answer leaves its
metrics out and counts one in ``cryogate_metrics_failures_total``. No label is an id of an agent,
an experiment or a job.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from prometheus_client import PROCESS_COLLECTOR
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cryogate.audit.log import AuditLog
from cryogate.ports.clock import Clock
from cryogate.ports.store import ReadStore, Row
from cryogate.server.metrics import RequestMeter
from cryogate.sinks.feeder import Feeder
from cryogate.telemetry.exporter import Exporter

log = logging.getLogger("cryogate.metrics")
_MOST_EVENTS = 50_000
_MOST_ACTIONS = 500


class Metrics:
    """``revocation_age_ms`` is how old the view of revocations is, None before the first."""

    def __init__(
        self,
        *,
        store: ReadStore,
        clock: Clock,
        audit: Callable[[], AuditLog | None],
        feeders: Sequence[Feeder],
        revocation_age_ms: Callable[[], int | None],
        exporter: Exporter | None = None,
        late_ms: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """``late_ms`` is for how long witnesses, time stamps and mirror have been late."""
        self._store, self._clock, self._audit = store, clock, audit
        self._feeders, self._revocation_age_ms = feeders, revocation_age_ms
        self.meter: RequestMeter | None = None
        self._exporter, self._late_ms = exporter, late_ms
        self._place: int | None = None
        self._events: dict[str, int] = {}
        self._failures = 0

    async def gather(self) -> Iterable[Metric]:
        """Every family, those of parts that do not answer left out."""
        found: list[Metric] = [*PROCESS_COLLECTOR.collect()]
        if self.meter is not None:
            found += self.meter.families()
        parts: tuple[Callable[[], Awaitable[Iterable[Metric]]], ...] = (
            self._log, self._counted, self._jobs, self._budgets, self._alerts, self._sinks,
        )  # fmt: skip
        for part in parts:
            try:
                found += await part()
            except Exception:
                log.warning("a part of the metrics cannot be read", exc_info=True)
                self._failures += 1
        if self._exporter is not None:
            spans = CounterMetricFamily("cryogate_spans", "Spans of traces.", labels=("fate",))
            spans.add_metric(("exported",), self._exporter.exported)
            spans.add_metric(("dropped",), self._exporter.dropped)
            found.append(spans)
        late = GaugeMetricFamily(
            "cryogate_audit_outside_late_seconds",
            "For how long others have been late with what they say about the log.",
            labels=("what",),
        )
        for what, ms in self._late_ms().items():
            late.add_metric((what,), ms / 1000)
        found.append(late)
        age = self._revocation_age_ms()
        if age is not None:
            found.append(
                _gauge("cryogate_revocation_age_seconds", "Age of the view of revocations.", age)
            )
        failed = CounterMetricFamily("cryogate_metrics_failures", "Parts that gave no metrics.")
        failed.add_metric((), self._failures)
        return [*found, failed]

    async def _log(self) -> Iterable[Metric]:
        audit = self._audit()
        if audit is None:
            return ()
        row = await self._store.fetch_one("metrics_unsequenced", {})
        waiting = _int(row, "entries")
        oldest = _int(row, "oldest_ms") if waiting else self._clock.now_ms()
        size = _int(await self._store.fetch_one("log_size", {}), "size")
        return (
            _gauge("cryogate_audit_entries", "Entries of the log.", size * 1000),
            _gauge(
                "cryogate_audit_lag_entries",
                "Events that no signed head covers yet.",
                (waiting + max(0, size - audit.published_size)) * 1000,
            ),
            _gauge(
                "cryogate_audit_lag_seconds",
                "Age of the oldest event without a number.",
                max(0, self._clock.now_ms() - oldest),
            ),
            _gauge(
                "cryogate_audit_ok", "1 while the log gets on.", 1000 if not audit.trouble else 0
            ),
        )

    async def _counted(self) -> Iterable[Metric]:
        size = _int(await self._store.fetch_one("log_size", {}), "size")
        first = size if self._place is None else self._place
        past = min(size, first + _MOST_EVENTS)
        if past > first:
            rows = await self._store.fetch("metrics_events", {"first": first, "past": past})
            for row in rows:
                action = str(row["action"])
                if action not in self._events and len(self._events) >= _MOST_ACTIONS:
                    action = "other"
                self._events[action] = self._events.get(action, 0) + _int(row, "events")
        self._place = past
        family = CounterMetricFamily(
            "cryogate_events",
            "Events of the log by action, of all replicas, since this process was first asked.",
            labels=("action",),
        )
        for action, count in sorted(self._events.items()):
            family.add_metric((action,), count)
        return (family,)

    async def _jobs(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("cryogate_jobs", "Unfinished jobs.", labels=("state",))
        counts = dict.fromkeys(("queued", "dispatching", "running", "parked"), 0)
        for row in await self._store.fetch("metrics_jobs", {}):
            counts[str(row["state"])] = _int(row, "jobs")
        for state, count in counts.items():
            family.add_metric((state,), count)
        return (family,)

    async def _budgets(self) -> Iterable[Metric]:
        money = GaugeMetricFamily(
            "cryogate_budget_cents",
            "Money of all experiments together: limit, held, spent.",
            labels=("currency", "kind"),
        )
        blocked = GaugeMetricFamily(
            "cryogate_budgets_blocked", "Budgets that nothing can be charged to."
        )
        total = 0
        for row in await self._store.fetch("metrics_budgets", {}):
            for kind in ("limit", "held", "spent"):
                money.add_metric((str(row["currency"]), kind), _int(row, f"{kind}_cents"))
            total += _int(row, "blocked")
        blocked.add_metric((), total)
        return money, blocked

    async def _alerts(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("cryogate_alerts", "Alerts not closed.", labels=("severity",))
        counts = dict.fromkeys(("low", "medium", "high", "critical"), 0)
        for row in await self._store.fetch("metrics_alerts", {}):
            counts[str(row["severity"])] = _int(row, "alerts")
        for severity, count in counts.items():
            family.add_metric((severity,), count)
        return (family,)

    async def _sinks(self) -> Iterable[Metric]:
        name = ("sink",)
        lag = GaugeMetricFamily("cryogate_sink_lag_entries", "Entries to deliver.", labels=name)
        age = GaugeMetricFamily(
            "cryogate_sink_lag_seconds", "Age of the oldest entry to deliver.", labels=name
        )
        dead = GaugeMetricFamily(
            "cryogate_sink_dead_letters", "Entries that a sink will never take.", labels=name
        )
        failing = GaugeMetricFamily(
            "cryogate_sink_failures", "Failed tries in a row, in this process.", labels=name
        )
        size = _int(await self._store.fetch_one("log_size", {}), "size")
        places = {str(r["name"]): _int(r, "position") for r in await self._fetch("sink_places")}
        buried = {str(r["sink"]): _int(r, "letters") for r in await self._fetch("sink_dead_counts")}
        for feeder in self._feeders:
            at = places.get(feeder.name, 0)
            row = await self._store.fetch_one("metrics_first_after", {"seq": at})
            oldest = _int(row, "timestamp_ms") if row else self._clock.now_ms()
            lag.add_metric((feeder.name,), max(0, size - at))
            age.add_metric((feeder.name,), max(0, self._clock.now_ms() - oldest) / 1000)
            dead.add_metric((feeder.name,), buried.get(feeder.name, 0))
            failing.add_metric((feeder.name,), feeder.state.failures)
        return lag, age, dead, failing

    async def _fetch(self, query: str) -> Sequence[Row]:
        return await self._store.fetch(query, {})


def _gauge(name: str, told: str, thousandths: int) -> Metric:
    family = GaugeMetricFamily(name, told)
    family.add_metric((), thousandths / 1000)
    return family


def _int(row: Row | None, name: str) -> int:
    return int((row[name] if row else 0) or 0)
