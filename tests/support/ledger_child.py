"""A process that reserves, settles and releases without end, for tests that kill it.

Every acknowledged reservation and ending is a line on standard output, so that whoever kills it
knows what must be there afterwards.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from tests.support.governance import PAYER, World, hold_of, opened

from cryogate.domain.ids import JOB, new_id
from cryogate.gateway.accepting import Acceptance, Acceptor
from cryogate.ports.store import GuardFailed
from cryogate.testing.clock import FakeClock


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(folder: Path, dsn: str | None, seed: int) -> None:
    clock, dice = FakeClock(), random.Random(seed)
    store = opened(folder, clock, dsn)
    await store.open()
    w = World(store, clock)
    await w.ledger.refresh()
    acceptor = Acceptor(store, w.ledger, most=16)

    async def caller() -> None:
        while True:
            cents = dice.randrange(1, 50)
            hold, now_ms = hold_of(new_id(JOB), cents=cents, shots=1), clock.now_ms()
            job = w.accepted(hold, now_ms)
            try:
                await acceptor.commit(Acceptance(job, hold, PAYER, now_ms, ()))
            except GuardFailed:
                continue
            tell("held", hold.job_id, cents)
            choice = dice.randrange(3)
            if choice == 0:
                actual = dice.randrange(cents + 1)
                await w.settle(hold, actual)
                tell("settled", hold.job_id, actual)
            elif choice == 1:
                await w.release(hold)
                tell("released", hold.job_id, 0)

    await asyncio.gather(*(caller() for _ in range(24)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])))
