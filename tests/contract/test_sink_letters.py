"""Dead letters: offered again when somebody asks, given up when somebody says so; both told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.support.sinks import Log, Scripted, World, refuse

from cryogate.domain.errors import Conflict, NotFound
from cryogate.ports.sinks import Entry, SinkUnavailable
from cryogate.sinks.feeder import LETTERS_MS, Feeder
from cryogate.sinks.letters import LetterDesk

ADA = "operator:ada"


async def buried(w: World, *seqs: int) -> tuple[Scripted, Feeder, LetterDesk]:
    """A sink that has refused these."""
    sink = Scripted(refuse(*seqs))
    feeder = w.feeder(sink)
    while await feeder.feed_once():
        pass
    assert await w.dead() == list(seqs)
    sink.act, sink.taken = lambda _: None, []
    w.place.clock.advance(LETTERS_MS)
    return sink, feeder, LetterDesk(w.store, w.place.clock, (feeder,))


async def events(w: World) -> list[tuple[str, str, list[str]]]:
    """What the log says of sinks: action, outcome, reasons."""
    while await w.audit.sequence_now():
        pass
    found = []
    for entry in await w.read(0, 1000):
        action, outcome = str(entry.fields["action"]), str(entry.fields["outcome"])
        reasons = entry.fields.get("decision_reasons")
        if action.startswith("sink."):
            assert isinstance(reasons, list)
            found.append((action, outcome, reasons))
    return found


async def test_a_letter_is_offered_again_once_somebody_asks(log: Log) -> None:
    async with log(100) as w:
        sink, feeder, desk = await buried(w, 17, 63)
        await feeder.feed_once()
        assert not sink.taken, "nobody has asked"
        w.place.clock.advance(LETTERS_MS)
        await desk.retry("under-test", (63,), ADA)
        assert [letter.asked_ms is not None for letter in await desk.list("under-test", -1, 9)] == [
            False,
            True,
        ]
        await feeder.feed_once()
        assert sink.taken == [63]
        assert await w.dead() == [17]
        assert await w.position() == 100, "the place has nothing to do with it"
        assert (await desk.sinks())[0].dead_letters == 1
        assert await events(w) == [
            ("sink.retry_asked", "success", ["under-test", "entry 63"]),
            ("sink.redelivered", "success", ["under-test", "entry 63"]),
        ]


async def test_all_of_them_and_one_is_refused_again(log: Log) -> None:
    async with log(50) as w:
        sink, feeder, desk = await buried(w, 3, 4, 5)
        sink.act = refuse(4)
        await desk.retry("under-test", (), ADA)
        await feeder.feed_once()
        assert sink.taken == [3, 5]
        [left] = await desk.list("under-test", -1, 9)
        assert (left.seq, left.tries, left.asked_ms) == (4, 2, None)
        w.place.clock.advance(LETTERS_MS)
        await feeder.feed_once()
        assert sink.taken == [3, 5], "it waits for the next who asks"
        told = await events(w)
        assert ("sink.retry_asked", "success", ["under-test", "all"]) in told
        assert ("sink.refused_again", "refused", ["under-test", "entry 4", "too odd"]) in told


async def test_a_receiver_that_is_away_is_asked_again_and_holds_up_nothing(log: Log) -> None:
    async with log(50) as w:
        sink, feeder, desk = await buried(w, 7)

        def away(entries: Sequence[Entry]) -> None:
            if entries[0].seq == 7:
                raise SinkUnavailable("this one kills me")

        sink.act = away
        await desk.retry("under-test", (7,), ADA)
        with pytest.raises(SinkUnavailable):
            await feeder.feed_once()
        await feeder.failed(SinkUnavailable("this one kills me"))
        assert not await feeder.feed_once(), "what is new goes on"
        assert feeder.state.failures == 0
        [left] = await desk.list("under-test", -1, 9)
        assert left.asked_ms is not None
        sink.act = lambda _: None
        w.place.clock.advance(6 * LETTERS_MS)
        await feeder.feed_once()
        assert await w.dead() == []


async def test_a_letter_is_given_up_with_a_reason(log: Log) -> None:
    async with log(50) as w:
        sink, feeder, desk = await buried(w, 7, 8)
        await desk.drop("under-test", (7,), "too long for this one", ADA)
        assert await w.dead() == [8]
        assert await events(w) == [
            ("sink.letters_dropped", "success",
             ["under-test", "entry 7", "too long for this one"]),
        ]  # fmt: skip
        await feeder.feed_once()
        assert 7 not in sink.taken


async def test_what_is_no_letter_is_refused_and_nothing_happens(log: Log) -> None:
    async with log(50) as w:
        _, _, desk = await buried(w, 7)
        with pytest.raises(NotFound):
            await desk.retry("under-test", (7, 9), ADA)
        with pytest.raises(NotFound):
            await desk.drop("under-test", (9,), "why", ADA)
        with pytest.raises(Conflict):
            await desk.retry("another", (7,), ADA)
        with pytest.raises(NotFound):
            await desk.list("another", -1, 9)
        [left] = await desk.list("under-test", -1, 9)
        assert left.asked_ms is None
        assert await events(w) == []


async def test_only_who_feeds_the_sink_says_that_a_letter_was_taken(log: Log) -> None:
    async with log(50) as w:
        sink, feeder, desk = await buried(w, 7)
        await desk.retry("under-test", (7,), ADA)
        other = w.feeder(Scripted(), "two")
        assert not await other.feed_once()
        assert await w.dead() == [7]
        await feeder.feed_once()
        assert (sink.taken, await w.dead()) == ([7], [])
