"""From a unit of work to what a driver runs: checked whole before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

# The values of a statement in their order, checked or not.
_Values = Callable[[Prepared, Mapping[str, SqlValue]], tuple[SqlValue, ...]]


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
        # All values of the unit are looked at together; which one it was is found out only if need
        # be, where enumerations and the like are also turned into what they stand for.
        operations = self._spelled(work, Prepared.order)
        given = list[SqlValue]()
        for operation in operations:
            given += operation[1]
        return operations if are_plain(given) else self._spelled(work, Prepared.bind)

    def _spelled(self, work: UnitOfWork, values: _Values) -> tuple[Operation, ...]:
        operations = list[Operation]()
        for statement in work.statements:
            found = self._statements.get(statement.name)
            guard = statement.guard or statement.name
            operations.append(
                (found.sql, values(found, statement.params), statement.rows, found.returns, guard)
            )
        for event in work.events:
            # It inserts its row or raises, so there is no count to compare.
            bound = values(self._event, _columns(event))
            operations.append((self._event.sql, bound, None, False, "event"))
        return tuple(operations)


def _columns(event: Event) -> dict[str, SqlValue]:
    return {
        "body": encode_event(event).decode("ascii"),
        "action": event.action,
        "agent_id": event.agent_id,
        "experiment_id": event.experiment_id,
        "job_id": event.job_id,
        "timestamp_ms": event.timestamp_ms,
    }
