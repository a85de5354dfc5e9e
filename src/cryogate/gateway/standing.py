"""Reads a caller's standing: agent, experiment, budget, token use and session, in one query."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import msgspec

from cryogate.domain.agents import Agent, Role, Stage
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import NotFound, Unauthenticated
from cryogate.domain.experiments import Classification, Experiment, Release
from cryogate.gateway.caller import Caller
from cryogate.gateway.case import SessionView, Standing
from cryogate.ports.budgets import BudgetView
from cryogate.ports.store import ReadStore, Row


@lru_cache(maxsize=4096)
def strings(text: str) -> frozenset[str]:
    """A stored JSON list of strings. Same text, same value: safe to remember."""
    return frozenset(msgspec.json.decode(text, type=list[str]))


@lru_cache(maxsize=4096)
def _roles(text: str) -> frozenset[Role]:
    return frozenset(msgspec.json.decode(text, type=list[Role]))


@lru_cache(maxsize=4096)
def _attributes(text: str) -> dict[str, Scalar]:
    return msgspec.json.decode(text, type=dict[str, Scalar])


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
    return cast("str", row[column])


def number(row: Row, column: str) -> int:
    """An integer NOT NULL column."""
    return cast("int", row[column])


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
        agent=Agent(
            agent_id=text(row, "agent_id"),
            owner=text(row, "owner"),
            tier=text(row, "tier"),
            stage=Stage(text(row, "stage")),
            active=row["active"] == 1,
            roles=_roles(text(row, "roles")),
            attributes=_attributes(text(row, "attributes")),
            created_ms=number(row, "agent_created_ms"),
        ),
        experiment=Experiment(
            experiment_id=text(row, "experiment_id"),
            purpose=text(row, "purpose"),
            classification=Classification(text(row, "classification")),
            owner=text(row, "experiment_owner"),
            cost_center=text(row, "cost_center"),
            opens_ms=number(row, "opens_ms"),
            closes_ms=number(row, "closes_ms"),
            closed=row["closed"] != 0,
            allowed_agents=strings(text(row, "allowed_agents")),
            allowed_backends=strings(text(row, "allowed_backends")),
            release=Release(text(row, "release")),
            created_ms=number(row, "experiment_created_ms"),
        ),
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
