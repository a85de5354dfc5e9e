"""A process that feeds one sink until it is killed, or has delivered everything.

``python -m tests.support.sink_child DIRECTORY URL MORE BATCH DSN``; says ``done`` at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.support.audit import ORIGIN, Deployment
from tests.support.sinks import Told, fetcher, setup

from cryogate.ports.clock import SystemClock
from cryogate.sinks.feeder import Feeder
from cryogate.sinks.registry import make
from cryogate.wiring.sinks import reader


async def feed(directory: Path, url: str, more: dict[str, str], batch: int, dsn: str) -> None:
    async with fetcher() as send, Deployment(directory, dsn).store() as store:
        sink = make(setup(url, send, **more))
        sink.batch, sink.linger_ms = batch, 0
        feeder = Feeder(
            "under-test", sink, store=store, clock=SystemClock(), read=reader(store, ORIGIN),
            alerts=Told(), holder="single",
        )  # fmt: skip
        end = await store.fetch_one("log_size", {})
        task = asyncio.create_task(feeder.run(0.05))
        while end is not None and feeder.state.position < int(end["size"] or 0):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        print("done", flush=True)  # noqa: T201
        await asyncio.wait([task])  # syslog may have to send its last entries again


if __name__ == "__main__":
    directory, url, more, batch, dsn = sys.argv[1:]
    asyncio.run(feed(Path(directory), url, json.loads(more), int(batch), dsn))
