"""What every registered sink must do, proven on a real receiver behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.http_receivers import ALL, HttpReceiver
from tests.support.live import ROOT
from tests.support.receivers import Receiver
from tests.support.sinks import World, fetcher, setup, world

from cryogate.ports.sinks import Entry, FieldValue, Sink, SinkUnavailable
from cryogate.sinks.feeder import Feeder
from cryogate.sinks.registry import SINKS, make

COUNT = 450
HOSTILE = [
    "line\r\n<13>1 - - - - - - forged", "CEF:0|a|b", '"}\n{"seq":99', "\x00\x1b[31m\x7f",
    "\u2028é🎉",
    "9 <13>1 - \n2 syslog 3 abc\n", "x" * 12_000, "after",
]  # fmt: skip


@dataclass
class Bench:
    world: World
    receiver: Receiver
    sink: Sink

    def feeder(self) -> Feeder:
        return self.world.feeder(self.sink)

    async def fed(self, feeder: Feeder) -> None:
        while await feeder.feed_once():
            pass

    async def drained(self, feeder: Feeder) -> None:
        """Feed to the end, whatever comes between."""
        async with asyncio.timeout(30):
            while await self.world.position() < COUNT:
                try:
                    await feeder.feed_once()
                except SinkUnavailable:
                    await feeder.failed(SinkUnavailable("again"))
                    await asyncio.sleep(0.05)


#: Every receiver; and, with its place in PostgreSQL, one that confirms and one that does not.
WAYS = [("sqlite", name) for name in sorted(ALL)] + [("postgres", "file"), ("postgres", "syslog")]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The database, and the receiver."""
    driver, name = request.param
    return (request.getfixturevalue("migrated_dsn") if driver == "postgres" else ""), name


@pytest.fixture
async def bench(way: tuple[str, str], tmp_path: Path) -> AsyncIterator[Bench]:
    dsn, name = way
    receiver = ALL[name](tmp_path)
    await receiver.start()
    ca = receiver.more.get("ca_file")
    async with fetcher(Path(ca) if ca else None) as send, world(tmp_path, COUNT, dsn) as made:
        sink = make(setup(receiver.url, send, **receiver.more))
        sink.batch, sink.linger_ms = 100, 0
        yield Bench(made, receiver, sink)
        await sink.close()
    await receiver.close()


async def settled(bench: Bench, wanted: set[int]) -> list[int]:
    """What a receiver without acknowledgements has, once it has written it."""
    for _ in range(400):
        found = bench.receiver.seqs()
        if wanted <= set(found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came: {sorted(wanted - set(bench.receiver.seqs()))[:20]}")


def test_every_sink_has_a_receiver_and_a_section() -> None:
    page = (ROOT / "docs/sinks.md").read_text()
    assert {name.partition(".")[0] for name in ALL} == set(SINKS)
    assert set(SINKS) <= set(ALL)
    assert not [kind for kind in SINKS if f"`{kind}" not in page]


async def test_everything_arrives_in_order_and_the_place_follows(bench: Bench) -> None:
    feeder = bench.feeder()
    await bench.drained(feeder)
    assert await bench.world.position() == COUNT
    assert await settled(bench, set(range(COUNT))) == list(range(COUNT))
    assert not await feeder.feed_once()


@pytest.mark.attack("L3")
async def test_the_place_stays_where_nothing_was_acknowledged(bench: Bench) -> None:
    feeder = bench.feeder()
    await bench.receiver.kill()
    with pytest.raises(SinkUnavailable):
        await feeder.feed_once()
    assert await bench.world.position() == 0
    await bench.receiver.start()
    await bench.drained(feeder)
    assert set(await settled(bench, set(range(COUNT)))) == set(range(COUNT))


@pytest.mark.attack("L3")
async def test_a_receiver_that_dies_between_loses_nothing(bench: Bench) -> None:
    feeder = bench.feeder()
    await feeder.feed_once()
    await bench.receiver.kill()
    with pytest.raises(SinkUnavailable):
        await bench.fed(feeder)
    await feeder.failed(SinkUnavailable("killed"))
    await bench.receiver.start()
    await bench.drained(feeder)
    assert set(await settled(bench, set(range(COUNT)))) == set(range(COUNT))


@pytest.mark.attack("L3")
async def test_a_feeder_that_dies_before_it_moves_sends_again(bench: Bench) -> None:
    entries = await bench.world.read(0, 100)
    await bench.sink.deliver(entries)
    await bench.drained(bench.feeder())
    found = await settled(bench, set(range(COUNT)))
    assert set(found) == set(range(COUNT))
    assert found.count(0) >= 2


@pytest.mark.attack("T4")
async def test_the_sinks_own_secret_is_in_nothing_it_sends(bench: Bench) -> None:
    await bench.drained(bench.feeder())
    await settled(bench, {COUNT - 1})
    assert "canary-sink-token" not in bench.receiver.kept()
    assert "canary-sink-token" not in repr(bench.sink)


@pytest.mark.attack("L4")
async def test_hostile_entries_stay_one_record_each(bench: Bench) -> None:
    entries = []
    for seq, value in enumerate(HOSTILE):
        fields: dict[str, FieldValue] = {
            "action": value, "agent_id": value, "decision_reasons": [value], "outcome": "refused",
            "seq": seq, "timestamp": value,
        }  # fmt: skip
        data = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        entries.append(Entry("log.example/one", seq, data, fields))
    await bench.sink.deliver(entries)
    numbers = list(range(len(HOSTILE)))
    assert await settled(bench, set(numbers)) == numbers
    found = [json.loads(record) for record in bench.receiver.records()]
    assert found == [json.loads(entry.data) for entry in entries]


@pytest.mark.attack("L3")
async def test_a_burst_of_503_loses_and_buries_nothing(bench: Bench) -> None:
    if not isinstance(bench.receiver, HttpReceiver):
        return
    bench.receiver.burst = 7
    await bench.drained(bench.feeder())
    assert set(await settled(bench, set(range(COUNT)))) == set(range(COUNT))
    assert not await bench.world.dead()
