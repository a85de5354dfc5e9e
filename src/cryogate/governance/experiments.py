"""Experiments: created, read and changed together with their budget and audit event.

Input types are strict: unknown fields are refused, sizes are bounded, text that people will read
is plain (no control, bidirectional or invisible characters; H4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Classification, Experiment, Release
from cryogate.domain.ids import GRANT, is_backend, new_id, require_slug
from cryogate.governance.budget_records import grant, history, require_limits
from cryogate.governance.budgets import budget_view
from cryogate.governance.paging import Page, cut, decode_cursor, page_size
from cryogate.governance.people import require_operator
from cryogate.governance.rows import number, text
from cryogate.outbound.hooks import MAX_HOOK, Hooks, host_of
from cryogate.ports.budgets import BudgetView
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    ReadStore,
    Row,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TRIES = 5
_SHOWN = 20

Slugs = Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)]
Backends = Annotated[tuple[str, ...], msgspec.Meta(max_length=200)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Plain = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Owner = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,128}\Z")]
CostCenter = Annotated[str, msgspec.Meta(pattern=r"\A[ -~]{0,64}\Z")]
Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]
Right = Literal["none", "aggregates", "raw"]
MinCount = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Webhook = Annotated[str, msgspec.Meta(max_length=MAX_HOOK)]
TopK = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class NewExperiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator sends to open an experiment. Times are RFC 3339 with an offset."""

    experiment_id: str
    purpose: Plain
    classification: Literal["poc", "production", "sensitive"]
    owner: Owner
    cost_center: CostCenter = ""
    opens_at: Time | None = None
    closes_at: Time
    allowed_agents: Slugs
    allowed_backends: Backends
    release: Right = "aggregates"
    min_count: MinCount = 1
    top_k: TopK = 0
    webhook: Webhook = ""
    budget_cents: int
    currency: Currency
    budget_shots: int


class ExperimentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator may change later. Purpose, owner and classification stay for ever."""

    closed: bool | UnsetType = UNSET
    closes_at: Time | UnsetType = UNSET
    allowed_agents: Slugs | UnsetType = UNSET
    allowed_backends: Backends | UnsetType = UNSET
    release: Right | UnsetType = UNSET
    min_count: MinCount | UnsetType = UNSET
    top_k: TopK | UnsetType = UNSET
    webhook: Webhook | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class ExperimentWithBudget:
    """An experiment and its budget, read in one query and so from one moment."""

    experiment: Experiment
    budget: BudgetView


@lru_cache(maxsize=64)
def _names(stored: str) -> frozenset[str]:
    return msgspec.json.decode(stored, type=frozenset[str])


def _stored(names: Iterable[str]) -> str:
    return msgspec.json.encode(sorted(set(names))).decode()


def _read(row: Row) -> ExperimentWithBudget:
    experiment = Experiment(
        text(row, "experiment_id"),
        text(row, "purpose"),
        Classification(text(row, "classification")),
        text(row, "owner"),
        text(row, "cost_center"),
        number(row, "opens_ms"),
        number(row, "closes_ms"),
        number(row, "closed") != 0,
        _names(text(row, "allowed_agents")),
        _names(text(row, "allowed_backends")),
        Release(text(row, "release")),
        number(row, "created_ms"),
        number(row, "min_count"),
        number(row, "top_k"),
        text(row, "webhook"),
    )
    return ExperimentWithBudget(experiment, budget_view(row))


def _epoch_ms(at: datetime) -> int:
    # Floor division of timedeltas is exact; a float of seconds is not.
    return (at - _EPOCH) // _MILLISECOND


async def experiment_with_budget(
    store: ReadStore, experiment_id: str
) -> ExperimentWithBudget | None:
    """The experiment and its budget in one query, or None.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    row = await store.fetch_one("experiment_with_budget", {"experiment_id": experiment_id})
    return None if row is None else _read(row)


class ExperimentAdmin:
    """Create, list, show and change experiments."""

    def __init__(self, store: Store, clock: Clock, hooks: Hooks | None = None) -> None:
        self._store, self._clock = store, clock
        self._hooks = hooks or Hooks()

    async def create(self, new: NewExperiment, actor: str) -> ExperimentWithBudget:
        """Open an experiment with its budget as ``actor``, an operator.

        Raises:
            Forbidden: the actor is no operator.
            Malformed: a value out of its range.
            Conflict: the name is taken.
        """
        require_operator(actor)
        now_ms = self._clock.now_ms()
        require_slug(new.experiment_id, "experiment_id")
        _require_plain(new.purpose)
        _require_names(new.allowed_agents, new.allowed_backends)
        if new.webhook:
            self._hooks.check(new.webhook)
        require_limits(new.budget_cents, new.budget_shots)
        opens_ms = now_ms if new.opens_at is None else _epoch_ms(new.opens_at)
        closes_ms = _epoch_ms(new.closes_at)
        _require_window(max(opens_ms, now_ms), closes_ms)
        statements = (
            Statement(
                "insert_experiment",
                {
                    "experiment_id": new.experiment_id,
                    "purpose": new.purpose,
                    "classification": new.classification,
                    "owner": new.owner,
                    "cost_center": new.cost_center,
                    "opens_ms": opens_ms,
                    "closes_ms": closes_ms,
                    "allowed_agents": _stored(new.allowed_agents),
                    "allowed_backends": _stored(new.allowed_backends),
                    "release": new.release,
                    "created_ms": now_ms,
                },
            ),
            Statement(
                "experiment_more",
                {
                    "experiment_id": new.experiment_id,
                    "min_count": new.min_count,
                    "top_k": new.top_k,
                    "webhook": new.webhook,
                },
            ),
            Statement(
                "insert_budget",
                {
                    "experiment_id": new.experiment_id,
                    "currency": new.currency,
                    "limit_cents": new.budget_cents,
                    "limit_shots": new.budget_shots,
                },
            ),
            grant(
                new_id(GRANT), new.experiment_id, new.currency, new.budget_cents,
                new.budget_shots, actor, now_ms,
            ),
            history(
                "experiment", new.experiment_id, "total", "created",
                (f"limit_cents {new.budget_cents}", f"limit_shots {new.budget_shots}"),
                actor, now_ms,
            ),
        )  # fmt: skip
        event = Event(
            timestamp_ms=now_ms,
            action="experiment.created",
            outcome=Outcome.SUCCESS,
            experiment_id=new.experiment_id,
            human_owner=new.owner,
            purpose=new.purpose,
            currency=new.currency,
            decision_reasons=(
                f"classification {new.classification}",
                f"release {new.release}",
                f"min_count {new.min_count}",
                f"top_k {new.top_k}",
                f"closes_ms {closes_ms}",
                f"limit_cents {new.budget_cents}",
                f"limit_shots {new.budget_shots}",
                _told("allowed_agents", new.allowed_agents),
                _told("allowed_backends", new.allowed_backends),
            ),
            actor_chain=(actor,),
        )
        try:
            await self._store.commit(UnitOfWork(statements, (event,)))
        except AlreadyExists as taken:
            raise Conflict("experiment_exists", "there is an experiment of this name") from taken
        return await self.show(new.experiment_id)

    async def list(self, cursor: str | None = None, limit: int = 50) -> Page[ExperimentWithBudget]:
        """Experiments by name.

        Raises:
            Malformed: a cursor or limit that is not one.
        """
        after = decode_cursor(cursor)[1] if cursor else ""
        rows = await self._store.fetch(
            "experiments_page", {"after": after, "limit": page_size(limit) + 1}
        )
        return cut([_read(row) for row in rows], limit, lambda e: (0, e.experiment.experiment_id))

    async def show(self, experiment_id: str) -> ExperimentWithBudget:
        """One experiment.

        Raises:
            NotFound: no such experiment.
        """
        found = await experiment_with_budget(self._store, experiment_id)
        if found is None:
            raise NotFound("no_such_experiment", "there is no such experiment")
        return found

    async def update(
        self, experiment_id: str, change: ExperimentChange, actor: str
    ) -> ExperimentWithBudget:
        """Change an experiment as ``actor``, an operator.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such experiment.
            Malformed: a value out of its range.
            Conflict: it was shredded, or others keep changing it.
        """
        require_operator(actor)
        if isinstance(change.webhook, str) and change.webhook:
            self._hooks.check(change.webhook)
        key = await self._store.fetch_one("scope_key", {"scope": experiment_id})
        if key is not None and key["shredded_ms"] is not None:
            raise Conflict("experiment_shredded", "the experiment was shredded: it stays as it is")
        for _ in range(_TRIES):
            old = (await self.show(experiment_id)).experiment
            before, after = _columns(old), _changed(old, change)
            told = tuple(
                _told_change(name, before[name], after[name])
                for name in before
                if before[name] != after[name]
            )
            if not told:
                return await self.show(experiment_id)
            params: dict[str, SqlValue] = {"experiment_id": experiment_id, **after}
            params.update({f"old_{name}": value for name, value in before.items()})
            closing = after["closed"] == 1 and before["closed"] == 0
            event = Event(
                timestamp_ms=self._clock.now_ms(),
                action="experiment.closed" if closing else "experiment.updated",
                outcome=Outcome.SUCCESS,
                experiment_id=experiment_id,
                human_owner=old.owner,
                purpose=old.purpose,
                decision_reasons=told,
                actor_chain=(actor,),
            )
            statement = Statement("update_experiment", params, guard="experiment.changed")
            try:
                await self._store.commit(UnitOfWork((statement,), (event,)))
            except GuardFailed:
                continue
            return await self.show(experiment_id)
        raise Conflict("experiment_busy", "this experiment is being changed by others; try again")


def _columns(experiment: Experiment) -> dict[str, SqlValue]:
    return {
        "closed": int(experiment.closed),
        "closes_ms": experiment.closes_ms,
        "allowed_agents": _stored(experiment.allowed_agents),
        "allowed_backends": _stored(experiment.allowed_backends),
        "release": experiment.release.value,
        "min_count": experiment.min_count,
        "top_k": experiment.top_k,
        "webhook": experiment.webhook,
    }


def _changed(old: Experiment, change: ExperimentChange) -> dict[str, SqlValue]:
    columns = _columns(old)
    if change.closed is not UNSET:
        columns["closed"] = int(change.closed)
    if change.closes_at is not UNSET:
        closes_ms = _epoch_ms(change.closes_at)
        _require_window(old.opens_ms, closes_ms)
        columns["closes_ms"] = closes_ms
    if change.allowed_agents is not UNSET:
        _require_names(change.allowed_agents, ())
        columns["allowed_agents"] = _stored(change.allowed_agents)
    if change.allowed_backends is not UNSET:
        _require_names((), change.allowed_backends)
        columns["allowed_backends"] = _stored(change.allowed_backends)
    if change.release is not UNSET:
        columns["release"] = change.release
    if change.min_count is not UNSET:
        columns["min_count"] = change.min_count
    if change.top_k is not UNSET:
        columns["top_k"] = change.top_k
    if change.webhook is not UNSET:
        columns["webhook"] = change.webhook
    return columns


def _told(name: str, names: Iterable[str]) -> str:
    """A list in an event: short ones in full, long ones by size, so that events stay bounded."""
    distinct = sorted(set(names))
    if len(distinct) > _SHOWN:
        return f"{name} ({len(distinct)} names)"
    return f"{name} {','.join(distinct)}"


def _told_change(name: str, old: SqlValue, new: SqlValue) -> str:
    if name == "webhook":  # its path may be a secret of the receiver's
        return f"webhook {host_of(str(old))} -> {host_of(str(new))}"
    if name not in ("allowed_agents", "allowed_backends"):
        return f"{name} {old} -> {new}"
    before, after = _names(str(old)), _names(str(new))
    return f"{_told(name + ' added', after - before)}; {_told('removed', before - after)}"


def _require_plain(value: str) -> None:
    if not value.isprintable():
        raise Malformed("malformed_text", "purpose must be one line of printable characters")


def _require_names(agents: Iterable[str], backends: Iterable[str]) -> None:
    for agent in agents:
        require_slug(agent, "each allowed agent")
    for backend in backends:
        if not is_backend(backend):
            raise Malformed("malformed_name", "each allowed backend must be scheme:device")


def _require_window(opens_ms: int, closes_ms: int) -> None:
    if not 0 <= opens_ms < closes_ms:
        raise Malformed("malformed_window", "closes_at must be in the future and after opens_at")
