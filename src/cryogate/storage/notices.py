"""PostgreSQL's NOTIFY on a connection of its own, so that no notice waits behind a query."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cryogate.domain.secrets import Secret
from cryogate.ports.notices import Notices
from cryogate.storage.postgres import driver

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger("cryogate.storage")

# A connection that died in silence is found by asking it something this often.
_PROBE_S: Final = 2.0
_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 0.25


class NoNotices(Notices):
    """For a database that admits one process: there is nobody else to hear."""

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """See `Notices.listen`."""
        await asyncio.Event().wait()


class PostgresNotices(Notices):
    """``dsn`` may hold a password and is kept secret."""

    def __init__(self, dsn: str) -> None:
        self._dsn = Secret(dsn.encode())
        self._asyncpg = driver()

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """See `Notices.listen`."""
        while True:
            try:
                await self._session(channel, heard)
            except (OSError, TimeoutError, self._asyncpg.PostgresError,
                    self._asyncpg.InterfaceError) as error:  # fmt: skip
                # The driver's text may name hosts and users.
                log.warning("notices are not heard now (%s)", type(error).__name__)
            await asyncio.sleep(_RETRY_S)

    async def _session(self, channel: str, heard: Callable[[str], None]) -> None:
        connection: asyncpg.Connection[Any] = await self._asyncpg.connect(
            self._dsn.reveal().decode(), timeout=_TIMEOUT_S, command_timeout=_TIMEOUT_S,
            server_settings={"application_name": "cryogate notices"},
        )  # fmt: skip

        def tell(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard(str(payload))

        try:
            await connection.add_listener(channel, tell)
            heard("")
            while True:
                await asyncio.sleep(_PROBE_S)
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()
