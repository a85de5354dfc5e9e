"""Reads a caller's standing: agent, experiment, budget, token use and session, in one query."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter

import msgspec

from cryogate.domain.agents import Agent, Role, Stage
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import NotFound, Unauthenticated
from cryogate.domain.experiments import Classification, Experiment, Release
from cryogate.gateway.caller import Caller
from cryogate.gateway.case import SessionView, Standing
from cryogate.ports.budgets import BudgetView
from cryogate.ports.store import ReadStore, Row

_MOST_READ = 1024


@lru_cache(maxsize=4096)
def strings(text: str) -> frozenset[str]:
    """A stored JSON list of strings. Same text, same value: safe to remember."""
    return frozenset(msgspec.json.decode(text, type=list[str]))


# Both are frozen and made of nothing but their columns, which seldom change between two readings:
# they are read again and again, and built anew when they have changed.
_AGENT = itemgetter(
    "agent_id", "owner", "tier", "stage", "active", "roles", "attributes", "agent_created_ms"
)
_EXPERIMENT = itemgetter(
    "experiment_id", "purpose", "classification", "experiment_owner", "cost_center", "opens_ms",
    "closes_ms", "closed", "allowed_agents", "allowed_backends", "release",
    "experiment_created_ms",
)  # fmt: skip


@lru_cache(maxsize=1024)
def _agent(
    agent_id: str, owner: str, tier: str, stage: str, active: int, roles: str, attributes: str,
    created_ms: int,
) -> Agent:  # fmt: skip
    return Agent(
        agent_id=agent_id,
        owner=owner,
        tier=tier,
        stage=Stage(stage),
        active=active == 1,
        roles=frozenset(msgspec.json.decode(roles, type=list[Role])),
        attributes=msgspec.json.decode(attributes, type=dict[str, Scalar]),
        created_ms=created_ms,
    )


@lru_cache(maxsize=1024)
def _experiment(
    experiment_id: str, purpose: str, classification: str, owner: str, cost_center: str,
    opens_ms: int, closes_ms: int, closed: int, allowed_agents: str, allowed_backends: str,
    release: str, created_ms: int,
) -> Experiment:  # fmt: skip
    return Experiment(
        experiment_id=experiment_id,
        purpose=purpose,
        classification=Classification(classification),
        owner=owner,
        cost_center=cost_center,
        opens_ms=opens_ms,
        closes_ms=closes_ms,
        closed=closed != 0,
        allowed_agents=strings(allowed_agents),
        allowed_backends=strings(allowed_backends),
        release=Release(release),
        created_ms=created_ms,
    )


class Standings:
    """Standings as they were read since the last commit: what a burst of requests asks at once.

    Nothing acknowledged can have changed in between, so each is what reading anew would give. What
    is spent is counted by the transaction that spends it, whatever was read here.
    """

    def __init__(self, store: ReadStore) -> None:
        self._store = store
        self._state: int | None = None
        self._read: dict[tuple[str, str | None], Standing] = {}

    async def read(self, caller: Caller, session_id: str | None) -> Standing:
        """As `read_standing`."""
        state = self._store.state
        if state is None:
            return await read_standing(self._store, caller, session_id)
        if state != self._state or len(self._read) >= _MOST_READ:
            self._state = state
            self._read.clear()
        key = (caller.token_id, session_id)
        found = self._read.get(key)
        if found is None:
            found = await read_standing(self._store, caller, session_id)
            if self._store.state == state == self._state:
                self._read[key] = found
        return found


async def read_standing(store: ReadStore, caller: Caller, session_id: str | None) -> Standing:
    """The caller as the database knows it now.

    Raises:
        Unauthenticated: the token is not one that this deployment has recorded.
        NotFound: the session is not one that this token opened.
    """
    row = await store.fetch_one("standing", {"token_id": caller.token_id, "session_id": session_id})
    if row is None:
        raise Unauthenticated("invalid_token", "the token is not known here; request a new one")
    if session_id is not None and row["session_id"] is None:
        raise NotFound("session_not_found", "no such session under this token")
    return _standing(row)


def text(row: Row, column: str) -> str:
    """A TEXT NOT NULL column."""
    value: str = row[column]  # type: ignore[assignment]  # as the schema has it
    return value


def number(row: Row, column: str) -> int:
    """An integer NOT NULL column."""
    value: int = row[column]  # type: ignore[assignment]  # as the schema has it
    return value


def _standing(row: Row) -> Standing:
    session = None
    if row["session_id"] is not None:
        session = SessionView(
            session_id=text(row, "session_id"),
            token_id=text(row, "session_token_id"),
            backends=tuple(sorted(strings(text(row, "session_backends")))),
            expires_ms=number(row, "session_expires_ms"),
            open=row["session_state"] == "open",
            results=Release(text(row, "session_results")),
        )
    return Standing(
        agent=_agent(*_AGENT(row)),
        experiment=_experiment(*_EXPERIMENT(row)),
        budget=BudgetView(
            currency=text(row, "currency"),
            limit_cents=number(row, "limit_cents"),
            held_cents=number(row, "held_cents"),
            spent_cents=number(row, "spent_cents"),
            limit_shots=number(row, "limit_shots"),
            held_shots=number(row, "held_shots"),
            spent_shots=number(row, "spent_shots"),
            blocked=text(row, "blocked"),
            soft_percent=number(row, "soft_percent"),
            epoch=number(row, "epoch"),
        ),
        used_jobs=number(row, "used_jobs"),
        used_shots=number(row, "used_shots"),
        used_cents=number(row, "used_cents"),
        session=session,
    )
