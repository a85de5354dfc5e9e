"""What operators see of sinks and their dead letters, and do about them.

A letter is asked for again, or dropped; both are events that name who did it. The entry itself is
the log's, and stays there. Whoever feeds the sink offers it (`Feeder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryogate.domain.errors import Conflict, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork
from cryogate.sinks.feeder import Feeder

MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Letter:
    """``asked_ms`` is when somebody asked for it again; None while nobody waits for it."""

    seq: int
    reason: str
    at_ms: int
    tries: int
    asked_ms: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A sink that is configured here. ``failures`` in a row, and ``feeding``, of this process."""

    name: str
    position: int
    behind: int
    dead_letters: int
    failures: int
    feeding: bool


class LetterDesk:
    """Over the sinks that this process has."""

    def __init__(self, store: Store, clock: Clock, feeders: Sequence[Feeder]) -> None:
        self._store, self._clock = store, clock
        self._feeders = {feeder.name: feeder for feeder in feeders}

    async def sinks(self) -> list[Standing]:
        """How far each has got."""
        end = await self._store.fetch_one("log_size", {})
        size = _int(end, "size")
        places = {str(r["name"]): r for r in await self._store.fetch("sink_places", {})}
        dead = {str(r["sink"]): r for r in await self._store.fetch("sink_dead_counts", {})}
        return [
            Standing(
                name,
                at := _int(places.get(name), "position"),
                max(0, size - at),
                _int(dead.get(name), "letters"),
                feeder.state.failures,
                feeder.state.holding,
            )
            for name, feeder in self._feeders.items()
        ]

    async def list(self, sink: str, after: int, limit: int) -> list[Letter]:
        """Letters behind entry ``after``, in the order of the log.

        Raises:
            NotFound: there is and was no such sink.
        """
        known = await self._store.fetch_one("sink_place", {"name": sink})
        if known is None and sink not in self._feeders:
            raise NotFound("no_such_sink", "there is no sink of this name")
        asked: dict[str, SqlValue] = {"name": sink, "after": after, "limit": limit}
        return [_letter(row) for row in await self._store.fetch("sink_letters", asked)]

    async def retry(self, sink: str, seqs: Sequence[int], actor: str) -> None:
        """Offer these again, or all of them where none is named, within seconds.

        Raises:
            NotFound: one of them is no dead letter of this sink; nothing was asked.
            Conflict: nothing feeds this sink.
        """
        if sink not in self._feeders:
            raise Conflict("sink_not_configured", "no sink of this name is configured here")
        base: dict[str, SqlValue] = {"name": sink, "now_ms": self._clock.now_ms()}
        if not seqs:
            await self._commit(sink, (Statement("sink_letters_ask", base, rows=None),),
                               "sink.retry_asked", ("all",), actor)  # fmt: skip
            return
        asked = tuple(Statement("sink_letter_ask", {**base, "seq": seq}) for seq in seqs)
        await self._commit(sink, asked, "sink.retry_asked", _named(seqs), actor)

    async def drop(self, sink: str, seqs: Sequence[int], why: str, actor: str) -> None:
        """Give these up for good: this receiver will not have them.

        Raises:
            NotFound: one of them is no dead letter of this sink; nothing was dropped.
        """
        gone = tuple(Statement("sink_letter_forget", {"name": sink, "seq": seq}) for seq in seqs)
        await self._commit(sink, gone, "sink.letters_dropped", (*_named(seqs), why), actor)

    async def _commit(
        self,
        sink: str,
        statements: tuple[Statement, ...],
        action: str,
        reasons: tuple[str, ...],
        actor: str,
    ) -> None:
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action=action,
            outcome=Outcome.SUCCESS,
            decision_reasons=(sink, *reasons),
            actor_chain=(actor,),
        )
        try:
            await self._store.commit(UnitOfWork(statements, (event,)))
        except GuardFailed:
            raise NotFound("no_such_letter", "one of these is no dead letter of it") from None


def _named(seqs: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"entry {seq}" for seq in seqs)


def _letter(row: Row) -> Letter:
    asked = row["asked_ms"]
    return Letter(
        _int(row, "seq"),
        str(row["reason"]),
        _int(row, "at_ms"),
        _int(row, "tries"),
        asked if isinstance(asked, int) else None,
    )


def _int(row: Row | None, name: str) -> int:
    return int((row[name] if row else 0) or 0)
