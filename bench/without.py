"""``cryogate up`` without a part of its audit, to see what that part costs: for a benchmark only.

``python -m bench.without nothing|sealing|sequencer|events up …``: events are written in clear, are
committed and never sequenced, or are not even written.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from cryogate.audit.log import AuditLog
from cryogate.audit.sealing import SealingStore
from cryogate.cli.main import cli
from cryogate.ports.store import Row, UnitOfWork
from cryogate.storage.operations import Operation, Planner

_PLAN = Planner.plan


def _without_events(planner: Planner, work: UnitOfWork) -> tuple[Operation, ...]:
    return _PLAN(planner, work._replace(events=()))


async def _in_clear(store: SealingStore, work: UnitOfWork) -> Sequence[Sequence[Row]]:
    return await store._inner.commit(work)  # noqa: SLF001


async def _rest(log: AuditLog) -> None:
    await asyncio.Event().wait()


def main() -> None:
    what = sys.argv.pop(1)
    if what in ("sequencer", "events"):
        setattr(AuditLog, "run", _rest)  # noqa: B010
    if what in ("sealing", "events"):
        setattr(SealingStore, "commit", _in_clear)  # noqa: B010
    if what == "events":
        setattr(Planner, "plan", _without_events)  # noqa: B010
    cli()


if __name__ == "__main__":
    main()
