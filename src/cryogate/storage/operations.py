"""From a unit of work to what a driver runs: checked whole before anything is sent."""

from __future__ import annotations

from typing import Final

from cryogate.domain.events import Event
from cryogate.ports.audit import encode_event
from cryogate.ports.store import SqlValue, UnitOfWork
from cryogate.storage.statements import Prepared, Statements, are_plain, prepare

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
        operations, given = list[Operation](), list[SqlValue]()
        for statement in work.statements:
            name = statement.name
            found = self._statements.get(name)
            values = found.order(statement.params)
            given += values
            operations.append(
                (found.sql, values, statement.rows, found.returns, statement.guard or name)
            )
        for event in work.events:
            operation = self._insert(event)
            given += operation[1]
            operations.append(operation)
        # All values of the unit are looked at together; which one it was is found out only if need
        # be, where enumerations and the like are also turned into what they stand for.
        return tuple(operations) if are_plain(given) else self._one_by_one(work)

    def _one_by_one(self, work: UnitOfWork) -> tuple[Operation, ...]:
        operations = list[Operation]()
        for statement in work.statements:
            found = self._statements.get(statement.name)
            values = found.bind(statement.params)
            guard = statement.guard or statement.name
            operations.append((found.sql, values, statement.rows, found.returns, guard))
        for event in work.events:
            sql, _, rows, returns, guard = self._insert(event)
            operations.append((sql, self._event.bind(_columns(event)), rows, returns, guard))
        return tuple(operations)

    def _insert(self, event: Event) -> Operation:
        # It inserts its row or raises, so there is no count to compare.
        return self._event.sql, self._event.order(_columns(event)), None, False, "event"


def _columns(event: Event) -> dict[str, SqlValue]:
    return {
        "body": encode_event(event).decode("ascii"),
        "action": event.action,
        "agent_id": event.agent_id,
        "experiment_id": event.experiment_id,
        "job_id": event.job_id,
        "timestamp_ms": event.timestamp_ms,
    }
