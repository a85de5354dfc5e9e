"""Requests per address, before anything else is done for them.

The address is that of the socket, or, for connections from a configured proxy, the last one in
``X-Forwarded-For`` that is no such proxy: what stands further left anybody could have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from math import ceil

from starlette.types import ASGIApp, Receive, Scope, Send

from cryogate.broker.signals import ADDRESS
from cryogate.governance.rates import RateLimiter
from cryogate.server.problems import problem
from cryogate.telemetry.requests import REQUEST

Network = IPv4Network | IPv6Network
_MAX_FORWARDED = 1024


class RateGate:
    """ASGI: 429 with ``Retry-After`` for addresses that ask too fast. None: no limit."""

    def __init__(
        self, app: ASGIApp, limiter: RateLimiter | None, proxies: Sequence[Network] = ()
    ) -> None:
        self._app, self._limiter, self._proxies = app, limiter, tuple(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "http":
            address = self._address(scope)
            ADDRESS.set(address)
            REQUEST.set(scope)
            if self._limiter is not None:
                wait_s = self._limiter.take(_counted(address))
                if wait_s:
                    refusal = problem(
                        429,
                        "rate_limited",
                        "Too much, too fast",
                        "this address asks too fast: come back after Retry-After seconds",
                        headers={"retry-after": str(ceil(wait_s))},
                    )
                    await refusal(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    def _address(self, scope: Scope) -> str:
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if not self._proxies or not self._is_proxy(address):
            return address
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        for name, value in headers:
            if name == b"x-forwarded-for" and len(value) <= _MAX_FORWARDED:
                for hop in reversed(value.decode("latin-1").split(",")):
                    if not self._is_proxy(hop.strip()):
                        return hop.strip()
        return address

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found.version == net.version and found in net for net in self._proxies)


def _counted(address: str) -> str:
    # Whoever has one IPv6 address has 2**64 of them.
    if ":" not in address or address.startswith("::ffff:"):
        return address
    try:
        return str(int(ip_address(address.partition("%")[0])) >> 64)
    except ValueError:
        return ""
