"""``cryogate up`` without a part of its audit, to see what that part costs: for a benchmark only.

``python -m bench.without nothing|sequencer|events up …``: events are committed and never sequenced,
or not even written.
"""

from __future__ import annotations

import asyncio
import sys

from cryogate.audit.log import AuditLog
from cryogate.cli.main import cli
from cryogate.ports.store import UnitOfWork
from cryogate.storage.operations import Operation, Planner

_PLAN = Planner.plan


def _without_events(planner: Planner, work: UnitOfWork) -> tuple[Operation, ...]:
    return _PLAN(planner, work._replace(events=()))


async def _rest(log: AuditLog) -> None:
    await asyncio.Event().wait()


def main() -> None:
    what = sys.argv.pop(1)
    if what in ("sequencer", "events"):
        setattr(AuditLog, "run", _rest)  # noqa: B010
    if what == "events":
        setattr(Planner, "plan", _without_events)  # noqa: B010
    cli()


if __name__ == "__main__":
    main()
