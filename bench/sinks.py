"""How many entries a sink loses, and how fast it is: five kills of each side, 503s, a partition.

``python -m bench.sinks [KIND…] [--count N]``
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.support.http_receivers import ALL
from tests.support.sink_trial import Trial


async def main(kinds: list[str], count: int) -> None:
    print("kind     events  lost  repeated  kills (sender, receiver)  503  partition  seconds")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            begun = time.monotonic()
            seen = await Trial(ALL[kind](place), place, count, 100).run()
            took = time.monotonic() - begun
        if seen.lost:
            print(f"{kind}: lost, among others, {seen.missing}")
        print(
            f"{kind:8} {seen.events:6} {seen.lost:5} {seen.repeated:9}"
            f"{seen.sender_kills:16} + {seen.receiver_kills:<7} {seen.bursts:3} "
            f"{seen.partitions:10} {took:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    words = argparse.ArgumentParser()
    words.add_argument("kinds", nargs="*", default=sorted(ALL))
    words.add_argument("--count", type=int, default=20_000)
    given = words.parse_args()
    asyncio.run(main(given.kinds, given.count))
