"""A process that records, sequences and signs until it is killed.

Arguments: the deployment's directory and the first event's number.

Prints the number of every acknowledged event and, on lines that start with ``head``, the sizes that
were published.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.support.audit import Deployment, event

from cryogate.ports.store import UnitOfWork


async def main() -> None:
    deployment = Deployment(Path(sys.argv[1]))
    number = int(sys.argv[2])
    async with deployment.store() as store:
        log = deployment.log(store)
        await log.start()

        async def sequence() -> None:
            while True:
                await log.sequence_now()
                await log.checkpoint_now()
                print("head", log.published_size, flush=True)  # noqa: T201
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(sequence())
            while True:
                await store.commit(UnitOfWork((), (event(number),)))
                print(number, flush=True)  # noqa: T201
                number += 1


if __name__ == "__main__":
    asyncio.run(main())
