"""From a unit of work to what a driver runs: checked whole before anything is sent."""

from __future__ import annotations

from typing import Final, NamedTuple

from cryogate.domain.events import Event
from cryogate.ports.audit import encode_event
from cryogate.ports.store import SqlValue, UnitOfWork
from cryogate.storage.statements import Prepared, Statements, prepare

_INSERT_EVENT: Final = """\
INSERT INTO events (body, action, agent_id, experiment_id, job_id, timestamp_ms)
VALUES (:body, :action, :agent_id, :experiment_id, :job_id, :timestamp_ms)"""


class Operation(NamedTuple):
    """One statement, bound. ``due`` is how many rows it must touch, None for any number."""

    sql: str
    values: tuple[SqlValue, ...]
    due: int | None
    returns: bool
    guard: str


class Planner:
    """Turns units of work into operations of one dialect."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._event: Prepared = prepare("insert_event", _INSERT_EVENT, statements.dialect)

    def plan(self, work: UnitOfWork) -> tuple[Operation, ...]:
        """The statements in their order, then the events in theirs.

        Raises:
            BadStatement: a name or a value that no database may be given.
            ValueError: an event that must not be logged.
        """
        get = self._statements.get
        operations = list[Operation]()
        for name, params, rows, guard in (
            (s.name, s.params, s.rows, s.guard) for s in work.statements
        ):
            found = get(name)
            operations.append(
                Operation(found.sql, found.bind(params), rows, found.returns, guard or name)
            )
        for event in work.events:
            operations.append(self._insert(event))
        return tuple(operations)

    def _insert(self, event: Event) -> Operation:
        values = self._event.bind(
            {
                "body": encode_event(event).decode("ascii"),
                "action": event.action,
                "agent_id": event.agent_id,
                "experiment_id": event.experiment_id,
                "job_id": event.job_id,
                "timestamp_ms": event.timestamp_ms,
            }
        )
        return Operation(self._event.sql, values, 1, False, "event")
