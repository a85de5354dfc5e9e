"""Stored rows as domain values, and back.

A row that cannot be read is a fault of ours or of whoever altered it: nobody gets in by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from cryogate.domain.agents import Agent, Operator, Role, Stage
from cryogate.domain.decisions import Scalar
from cryogate.domain.experiments import Classification, Experiment, Release
from cryogate.ports.store import Row, StoreUnavailable

OPERATOR_PREFIX: Final = "operator:"

_strings: Final = msgspec.json.Decoder(tuple[str, ...])
_roles: Final = msgspec.json.Decoder(frozenset[Role])
_scalars: Final = msgspec.json.Decoder(dict[str, Scalar])
_encoder: Final = msgspec.json.Encoder(order="deterministic")


def names_text(names: Iterable[str]) -> str:
    """A set of names in its one stored spelling."""
    return _encoder.encode(sorted(set(map(str, names)))).decode()


def attributes_text(attributes: Mapping[str, Scalar]) -> str:
    """Attributes in their one stored spelling."""
    return _encoder.encode(dict(attributes)).decode()


def agent_of(row: Row) -> Agent:
    """The agent in a row of ``agents``.

    Raises:
        StoreUnavailable: the row cannot be read.
    """
    try:
        return Agent(
            agent_id=text(row, "agent_id"),
            owner=text(row, "owner"),
            tier=text(row, "tier"),
            stage=Stage(text(row, "stage")),
            active=number(row, "active") == 1,
            roles=_roles.decode(text(row, "roles")),
            attributes=_scalars.decode(text(row, "attributes")),
            created_ms=number(row, "created_ms"),
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise StoreUnavailable("a stored agent cannot be read") from error


def operator_of(row: Row) -> Operator:
    """The operator in a row of ``operators``.

    Raises:
        StoreUnavailable: the row cannot be read.
    """
    try:
        return Operator(
            operator_id=text(row, "operator_id"),
            active=number(row, "active") == 1,
            roles=frozenset(_strings.decode(text(row, "roles"))),
            created_ms=number(row, "created_ms"),
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise StoreUnavailable("a stored operator cannot be read") from error


def experiment_of(row: Row) -> Experiment:
    """The experiment in a row of ``experiments``.

    Raises:
        StoreUnavailable: the row cannot be read.
    """
    try:
        return Experiment(
            experiment_id=text(row, "experiment_id"),
            purpose=text(row, "purpose"),
            classification=Classification(text(row, "classification")),
            owner=text(row, "owner"),
            cost_center=text(row, "cost_center"),
            opens_ms=number(row, "opens_ms"),
            closes_ms=number(row, "closes_ms"),
            closed=number(row, "closed") != 0,
            allowed_agents=frozenset(_strings.decode(text(row, "allowed_agents"))),
            allowed_backends=frozenset(_strings.decode(text(row, "allowed_backends"))),
            release=Release(text(row, "release")),
            created_ms=number(row, "created_ms"),
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise StoreUnavailable("a stored experiment cannot be read") from error


def text(row: Row, column: str) -> str:
    """A text column.

    Raises:
        StoreUnavailable: it holds something else.
    """
    value = row[column]
    if not isinstance(value, str):
        raise StoreUnavailable(f"column {column} does not hold text")
    return value


def number(row: Row, column: str) -> int:
    """An integer column.

    Raises:
        StoreUnavailable: it holds something else.
    """
    value = row[column]
    if not isinstance(value, int):
        raise StoreUnavailable(f"column {column} does not hold a number")
    return value
