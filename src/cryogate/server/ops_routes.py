"""Health and readiness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from cryogate.server.endpoints import Endpoint, Public
from cryogate.server.replies import reply

Probe = Callable[[], Awaitable[None]]


class OpsRoutes:
    """``/healthz`` says that the process lives, ``/readyz`` that every part answers."""

    def __init__(
        self,
        probes: dict[str, Probe],
        version: str,
        degraded: Mapping[str, Callable[[], bool]],
    ) -> None:
        self._probes = probes
        self._degraded = degraded
        self._version = version

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Open to everybody; they tell names of parts and nothing else."""
        return (
            Public("GET", "/healthz", self.health),
            Public("GET", "/readyz", self.ready),
        )

    async def health(self, request: Request) -> Response:
        """200 while the process answers."""
        return reply({"status": "ok", "version": self._version})

    async def ready(self, request: Request) -> Response:
        """200 when every part answers, else 503 with the names of those that do not.

        A degraded part is told and takes no replica out: another replica has it no better.
        """
        failing = []
        for name, probe in self._probes.items():
            try:
                await probe()
            except Exception:  # a probe that fails in whatever way is a part that is not ready
                failing.append(name)
        status = 503 if failing else 200
        told = {"status": "ok" if not failing else "unready", "failing": failing}
        degraded = [name for name, is_degraded in self._degraded.items() if is_degraded()]
        return reply({**told, "degraded": degraded}, status)
