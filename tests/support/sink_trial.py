"""Everything that can happen to a sink, one after the other, and what is missing in the end."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.http_receivers import HttpReceiver
from tests.support.network import Network
from tests.support.receivers import Receiver
from tests.support.sinks import world


@dataclass
class Outcome:
    """What a trial saw. ``lost`` is what the receiver never got."""

    events: int
    lost: int
    repeated: int
    sender_kills: int
    receiver_kills: int
    bursts: int
    partitions: int
    missing: list[int] = field(default_factory=list)


class Trial:
    """``kills`` of the sending process and of the receiver each, a burst of 503, a partition."""

    def __init__(
        self, receiver: Receiver, directory: Path, count: int, batch: int, dsn: str = ""
    ) -> None:
        self.receiver, self.directory, self.count, self.batch = receiver, directory, count, batch
        self.dsn = dsn
        self.url = ""
        self.child: asyncio.subprocess.Process | None = None

    async def run(self, kills: int = 5, cut_s: float = 1.0) -> Outcome:
        async with world(self.directory, self.count, self.dsn):
            pass  # the log is there now; the sender opens it by itself
        await self.receiver.start()
        self.url, network = self.receiver.url, None
        if port := urlsplit(self.url).port:
            network = Network(port)
            self.url = self.url.replace(f":{port}", f":{await network.start()}")
        seen = Outcome(self.count, 0, 0, 0, 0, 0, 0)
        step = self.count // (2 * kills + 4)
        try:
            await self.send()
            for n in range(kills):
                seen.sender_kills += await self.reached((2 * n + 1) * step)
                await self.stop()
                await self.send()
                seen.receiver_kills += await self.reached((2 * n + 2) * step)
                await self.receiver.kill()
                await self.receiver.start()
            if isinstance(self.receiver, HttpReceiver):
                seen.bursts += await self.reached((2 * kills + 1) * step)
                self.receiver.burst = 5
            if network is not None:
                seen.partitions += await self.reached((2 * kills + 2) * step)
                network.cut()
                await asyncio.sleep(cut_s)
                network.heal()
            await self.finished()
        finally:
            await self.stop()
            if network is not None:
                network.close()
        found = self.receiver.seqs()
        await self.receiver.close()
        missing = sorted(set(range(self.count)) - set(found))
        seen.lost = len(missing)
        seen.missing = missing[:3] + missing[-3:]
        seen.repeated = len(found) - len(set(found))
        return seen

    async def send(self) -> None:
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.sink_child", str(self.directory), self.url,
            json.dumps(self.receiver.more), str(self.batch), self.dsn,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def stop(self) -> None:
        """Signal 9."""
        if self.child is not None and self.child.returncode is None:
            self.child.kill()
            await self.child.wait()

    async def reached(self, count: int) -> int:
        """1 once the receiver has ``count``, if there is more to come."""
        async with asyncio.timeout(120):
            while (found := len(set(self.receiver.seqs()))) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return int(found < self.count)

    async def finished(self) -> None:
        """Until the sender says so, and a receiver without acknowledgements has written it."""
        assert self.child is not None
        assert self.child.stdout is not None
        async with asyncio.timeout(240):
            assert await self.child.stdout.readline() == b"done\n"
        # what is on the way may take a moment, and a broken connection has to be noticed
        for _ in range(100):
            if len(set(self.receiver.seqs())) == self.count:
                return
            await asyncio.sleep(0.1)
