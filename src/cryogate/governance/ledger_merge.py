"""Reservations of many jobs as one list of statements that touches each shared row once.

A hot row costs a database one lock and one new version for every update, so waiting reservations
against it are added up. Sums are exact: a guard ``used + sum <= limit`` holds for all of them or
for none, and when it does not, the caller commits each reservation by itself, so that each gets
its own yes or no. Entries and charges stay one row a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryogate.ports.store import SqlValue, Statement

# Statements that add up: which of their parameters name the row, and which are added. Their order
# is the order in which rows are locked, the same for everybody.
_ADDED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "reserve_token": (("token_id", "experiment_id"), ("jobs", "shots", "cost_cents")),
    "reserve_session": (("session_id", "token_id", "experiment_id", "now_ms"), ("jobs",)),
    "reserve_budget": (
        ("experiment_id", "currency", "epoch"),
        ("cost_cents", "shots"),
    ),
    "reserve_window": (
        ("budget_id", "subject", "period", "currency"),
        ("cost_cents", "shots"),
    ),
}
# Statements that stay one a job. Each inserts its row or raises, so its count need not be asked.
_EACH = ("post_reserve", "insert_charge")
_ORDER = (*_ADDED, *_EACH)
_MAX = 2**53 - 1
_PARENT = "budget.parent"


def merge(reservations: Sequence[Sequence[Statement]]) -> tuple[Statement, ...] | None:
    """One list for all ``reservations``; None when one of them is not of the known form."""
    by_name: dict[str, list[Statement]] = {name: [] for name in _ORDER}
    for reservation in reservations:
        for statement in reservation:
            kind = by_name.get(statement.name)
            if kind is None:
                return None
            kind.append(statement)
    merged: list[Statement] = []
    for name, found in by_name.items():
        if not found:
            continue
        if name in _ADDED:
            added = _add(found, *_ADDED[name])
            if added is None:
                return None
            merged += added
        else:
            merged += [statement._replace(rows=None) for statement in found]
    return tuple(merged)


def _add(
    found: Sequence[Statement], names: Sequence[str], sums: Sequence[str]
) -> list[Statement] | None:
    groups: dict[tuple[SqlValue, ...], dict[str, SqlValue]] = {}
    for statement in found:
        params = statement.params
        key = (statement.guard, *(params[name] for name in names))
        total = groups.get(key)
        if total is None:
            groups[key] = dict(params)
            continue
        for name in sums:
            before, more = total[name], params[name]
            if type(before) is not int or type(more) is not int or before + more > _MAX:
                return None
            total[name] = before + more
    # By name, but a token before those that it was delegated from: the order of `reserve`.
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] == _PARENT, *map(str, item[0])))
    return [Statement(found[0].name, params, guard=str(key[0])) for key, params in ordered]
