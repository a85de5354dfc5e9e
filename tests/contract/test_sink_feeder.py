"""The feeder: a place that only an acknowledgement moves, and nothing that is given up silently.

Over both drivers of the store, whose statements these are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.support.sinks import Log, Scripted, alter, refuse

from cryogate.ports.sinks import Entry, SinkUnavailable
from cryogate.sinks.feeder import LEASE_MS, MAX_REFUSED, TOLD_AFTER


async def test_a_batch_that_is_refused_costs_only_the_entry_that_is_meant(log: Log) -> None:
    sink = Scripted(refuse(17, 63))
    async with log(100) as w:
        feeder = w.feeder(sink)
        while await feeder.feed_once():
            pass
        assert sink.taken == [n for n in range(100) if n not in (17, 63)]
        assert await w.dead() == [17, 63]
        assert await w.position() == 100
        assert w.told.kinds == [("sink_dead_letter", "under-test")] * 2


async def test_a_receiver_that_refuses_everything_is_no_reason_to_give_up(log: Log) -> None:
    sink = Scripted(refuse(*range(100)))
    async with log(100) as w:
        feeder = w.feeder(sink)
        with pytest.raises(SinkUnavailable):
            await feeder.feed_once()
        assert len(await w.dead()) == MAX_REFUSED
        for _ in range(3):
            with pytest.raises(SinkUnavailable):
                await feeder.feed_once()
        assert len(await w.dead()) == MAX_REFUSED
        sink.act = lambda _: None
        while await feeder.feed_once():
            pass
        assert sink.taken == list(range(MAX_REFUSED, 100))


async def test_trouble_is_told_and_overlap_is_sent_again(log: Log) -> None:
    sink = Scripted()
    sink.overlap = 30
    async with log(100) as w:
        feeder = w.feeder(sink)
        while await feeder.feed_once():
            pass
        for _ in range(TOLD_AFTER):
            await feeder.failed(SinkUnavailable("gone"))
        assert w.told.kinds == [("sink_failing", "under-test")]
        assert sink.closed == TOLD_AFTER
        while await feeder.feed_once():
            pass
        assert sink.taken == [*range(100), *range(70, 100)]
        assert await w.position() == 100


async def test_any_error_of_an_adapter_is_one_that_is_tried_again(log: Log) -> None:
    def act(_: Sequence[Entry]) -> None:
        raise ZeroDivisionError

    async with log(10) as w:
        with pytest.raises(SinkUnavailable):
            await w.feeder(Scripted(act)).feed_once()
        assert await w.position() == 0


async def test_one_process_feeds_at_a_time_and_another_takes_over(log: Log) -> None:
    first, second = Scripted(), Scripted()
    async with log(100) as w:
        one, two = w.feeder(first, "one"), w.feeder(second, "two")
        assert await one.feed_once()
        assert not await two.feed_once()
        w.place.clock.advance(LEASE_MS)
        assert await two.feed_once()
        assert not await one.feed_once()
        assert (first.taken, second.taken) == (list(range(50)), list(range(50, 100)))


async def test_a_sink_may_begin_with_what_comes(log: Log) -> None:
    async with log(100) as w:
        sink = Scripted()
        assert not await w.feeder(sink, from_start=False).feed_once()
        assert await w.position() == 100


async def test_an_altered_entry_is_never_handed_on(log: Log) -> None:
    async with log(10) as w:
        await alter(w, "UPDATE events SET body = replace(body, 'ada', 'eve') WHERE seq = 4")
        sink = Scripted()
        feeder = w.feeder(sink)
        task = asyncio.create_task(feeder.run(0.01))
        async with asyncio.timeout(20):
            await w.told.heard.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not sink.taken
