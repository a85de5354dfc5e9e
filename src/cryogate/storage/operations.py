"""From a unit of work to what a driver runs: checked whole before anything is sent."""

from __future__ import annotations

from typing import Final

from cryogate.domain.events import Event
from cryogate.ports.audit import encode_event
from cryogate.ports.store import SqlValue, UnitOfWork
from cryogate.storage.statements import Prepared, Statements, prepare

_INSERT_EVENT: Final = """\
INSERT INTO events (body, action, agent_id, experiment_id, job_id, timestamp_ms)
VALUES (:body, :action, :agent_id, :experiment_id, :job_id, :timestamp_ms)"""


# One bound statement: SQL, values, how many rows it must touch (None: any number), whether it
# gives rows, and the name under which it fails. A plain tuple, because a unit makes many of them.
Operation = tuple[str, tuple[SqlValue, ...], int | None, bool, str]


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
        operations = list[Operation]()
        for statement in work.statements:
            name = statement.name
            found = self._statements.get(name)
            values = found.bind(statement.params)
            operations.append(
                (found.sql, values, statement.rows, found.returns, statement.guard or name)
            )
        operations += map(self._insert, work.events)
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
        # It inserts its row or raises, so there is no count to compare.
        return self._event.sql, values, None, False, "event"
