"""One guarded HTTP request to a URL that somebody else chose.

 (1) the URL is https (http only where that is switched on), without credentials or fragment
 (2) the name is resolved once; if *any* of its addresses must not be reached, none is (P4)
 (3) the connection goes to an address of (2); TLS checks the certificate for the *name*
 (4) redirects are not followed, compressed answers not unpacked, cookies and proxies not used
 (5) everything together takes at most ``timeout_s``, and at most ``max_bytes`` are held

There is no kept-alive connection: one that was checked for a name would otherwise be found by its
address, and serve another name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

import httpx

from cryogate.outbound.addresses import Network, may_reach
from cryogate.outbound.errors import BlockedAddress, FetchFailed, UnsafeUrl

MAX_URL: Final = 2048
_PLAIN: Final = re.compile(r"[!-~]+", re.ASCII)
_MAX_AT_ONCE: Final = 8
_TRIED: Final = 3
_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case. Nothing in it is trusted."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Fetcher:
    """See the module. ``allowed`` are networks that may be reached although they are not public,
    ``ca_file`` a PEM file of authorities trusted beside the system's.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        ca_file: str | Path | None = None,
        timeout_s: float = 5.0,
        max_bytes: int = 256 << 10,
        insecure_http: bool = False,
        resolve: Resolve | None = None,
    ) -> None:
        self._allowed, self._timeout_s, self._max_bytes = tuple(allowed), timeout_s, max_bytes
        self._insecure_http = insecure_http
        self._resolve = resolve or _resolve
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file:
            context.load_verify_locations(cafile=str(ca_file))
        self._http = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=_MAX_AT_ONCE, max_keepalive_connections=0),
        )

    def check(self, url: str) -> str:
        """``url`` itself, if it is one that could be fetched (1). Resolves nothing.

        Raises:
            UnsafeUrl: it is not; says what to change.
        """
        check_url(url, insecure_http=self._insecure_http)
        return url

    async def get(self, url: str, *, accept: str = "application/json") -> Answer:
        """GET ``url``; any status but 200 is a failure.

        Raises:
            UnsafeUrl: (1) does not hold.
            FetchFailed: no usable answer. `BlockedAddress` where (2) does not hold.
        """
        answer = await self.send("GET", url, {"accept": accept})
        if answer.status != 200:
            raise FetchFailed(f"{_where(url)} answered {answer.status}")
        return answer

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Any request; the answer is whatever came back, redirects included.

        Raises:
            UnsafeUrl, FetchFailed: as `get`.
        """
        parts = check_url(url, insecure_http=self._insecure_http)  # (1)
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:  # (5)
                addresses = await self._addresses(parts)  # (2)
                return await self._send(method, url, parts, addresses, headers, body)
        except TimeoutError as error:
            raise FetchFailed(f"{_where(url)} did not answer in time") from error

    async def _send(
        self,
        method: str,
        url: str,
        parts: SplitResult,
        addresses: Sequence[str],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answer:
        name = parts.hostname or ""
        sent = {
            "accept-encoding": "identity",
            "user-agent": "cryogate",
            **{key.lower(): value for key, value in headers.items()},
            "host": parts.netloc,
        }
        last: Exception | None = None
        for address in addresses[:_TRIED]:  # (3)
            target = httpx.URL(url).copy_with(host=address)
            request = self._http.build_request(
                method, target, headers=sent, content=body, extensions={"sni_hostname": name}
            )
            try:
                response = await self._http.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
                continue
            except (httpx.HTTPError, ssl.SSLError, OSError) as error:
                raise FetchFailed(f"{_where(url)} did not answer") from error
            try:
                return await self._read(url, response)
            finally:
                await response.aclose()
        raise FetchFailed(f"{_where(url)} cannot be reached") from last

    async def _read(self, url: str, response: httpx.Response) -> Answer:
        found = {name.lower(): value for name, value in response.headers.items()}
        if found.get("content-encoding", "identity").lower() != "identity":  # (4)
            raise FetchFailed(f"{_where(url)} sent a compressed answer")
        data = bytearray()
        try:
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > self._max_bytes:  # (5)
                    raise FetchFailed(f"{_where(url)} sent more than {self._max_bytes} bytes")
        except httpx.HTTPError as error:
            raise FetchFailed(f"{_where(url)} broke off") from error
        return Answer(response.status_code, found, bytes(data))

    async def _addresses(self, parts: SplitResult) -> Sequence[str]:
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            try:
                found = list(await self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                raise FetchFailed(f"{host} cannot be resolved") from error
        if not found:
            raise FetchFailed(f"{host} has no address")
        if not all(may_reach(address, self._allowed) for address in found):
            raise BlockedAddress(f"{host} leads to an address that must not be reached")
        return found

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def check_url(url: str, *, insecure_http: bool = False) -> SplitResult:
    """The parts of a URL that could be fetched (1). Resolves nothing.

    Raises:
        UnsafeUrl: it could not; says what to change.
    """
    if len(url) > MAX_URL or _PLAIN.fullmatch(url) is None or "\\" in url:
        raise UnsafeUrl("a URL is at most 2048 printable ASCII characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UnsafeUrl("the URL cannot be read") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and insecure_http):
        raise UnsafeUrl("the URL must be https")
    if not host or "@" in parts.netloc or parts.fragment or "#" in url:
        raise UnsafeUrl("the URL needs a host, and neither credentials nor a fragment")
    return parts


async def _resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _where(url: str) -> str:
    # the path and query may hold what is nobody else's business
    return urlsplit(url).netloc
