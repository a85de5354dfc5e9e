"""What every change of a limit leaves behind: a line of history, and an entry in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.domain.errors import Malformed
from cryogate.domain.periods import month_of
from cryogate.governance.paging import page_size
from cryogate.governance.rows import number, text
from cryogate.ports.store import ReadStore, Statement

MAX_CENTS = 10**13
MAX_SHOTS = 10**13
_NEWEST = 2**62


@dataclass(frozen=True, slots=True)
class Change:
    """Who changed which limit when, and from what to what."""

    change_id: int
    at_ms: int
    actor: str
    scope: str
    subject: str
    span: str
    action: str
    detail: str


def require_limits(limit_cents: int | None, limit_shots: int | None) -> None:
    """Refuse limits below zero or beyond what the ledger counts exactly.

    Raises:
        Malformed: out of range.
    """
    for limit in (limit_cents, limit_shots):
        if limit is not None and not 0 <= limit <= MAX_CENTS:
            raise Malformed("malformed_limit", f"limits are between 0 and {MAX_CENTS}")


def require_percent(percent: int) -> None:
    """Refuse a soft limit that is no percentage.

    Raises:
        Malformed: out of range.
    """
    if not 0 <= percent <= 100:
        raise Malformed("malformed_limit", "soft_percent is from 0 (no notice) to 100")


def history(
    scope: str, subject: str, span: str, action: str, told: tuple[str, ...], actor: str, now_ms: int
) -> Statement:
    """The line of history that goes with a change."""
    return Statement(
        "insert_history",
        {
            "now_ms": now_ms,
            "actor": actor,
            "scope": scope,
            "subject": subject,
            "span": span,
            "action": action,
            "detail": "; ".join(told),
        },
    )


def grant(
    ref: str, experiment_id: str, currency: str, cents: int, shots: int, note: str, now_ms: int
) -> Statement:
    """The entry of a limit that rises or falls by ``cents`` and ``shots``."""
    return Statement(
        "post_grant",
        {
            "ref": ref,
            "period": month_of(now_ms),
            "now_ms": now_ms,
            "experiment_id": experiment_id,
            "currency": currency,
            "cents": cents,
            "shots": shots,
            "note": note,
        },
        guard="budget.entry",
    )


async def changes(
    store: ReadStore, scope: str, subject: str, limit: int = 50, before: int | None = None
) -> tuple[Change, ...]:
    """The history of one subject's limits, newest first.

    Raises:
        Malformed: a page size that is none.
        StoreUnavailable: the database did not answer.
    """
    rows = await store.fetch(
        "history",
        {
            "scope": scope,
            "subject": subject,
            "before": _NEWEST if before is None else before,
            "limit": page_size(limit),
        },
    )
    return tuple(
        Change(
            number(row, "history_id"),
            number(row, "at_ms"),
            text(row, "actor"),
            text(row, "scope"),
            text(row, "subject"),
            text(row, "span"),
            text(row, "action"),
            text(row, "detail"),
        )
        for row in rows
    )
