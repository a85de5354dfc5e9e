"""Calls to a vendor's API: bounded, never redirected, and clear about what may have happened.

(1) No redirect is followed: the credential goes to the configured host and nowhere else (S3).
(2) Answers are not compressed, and are read up to a limit, so none can be a bomb (S3).
(3) What failed before a connection existed was surely not sent; a 4xx was surely not accepted;
    everything else may have been (B2).
(4) What is told of a failure is ours: the status, never the vendor's words.
(5) Cookies are not kept: a request carries the credential of its own lease and no other (S1).
(6) A request is sent once. A connection that breaks is told of, and what follows is the caller's
    to decide: a vendor hears of nothing twice that was meant once (L3).
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from yarl import URL

from cryogate.config import ConfigError
from cryogate.ports.provider import ProviderError

T = TypeVar("T")
MAX_ANSWER: Final = 32 << 20
_TIMEOUT_S: Final = 15.0
_CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer. Nothing in it is trusted."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def read(self, kind: type[T]) -> T:
        """The body as a ``kind``.

        Raises:
            ProviderError: it is not one.
        """
        try:
            return msgspec.json.decode(self.body, type=kind, strict=True)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ProviderError(
                "the vendor's answer could not be read", sent=True, retryable=True
            ) from error


class VendorHttp:
    """One vendor's API under ``base_url``; https, or http on this machine alone.

    Raises:
        ConfigError: ``base_url`` is neither.
    """

    def __init__(
        self,
        base_url: str,
        *,
        setting: str,
        ca_file: str = "",
        timeout_s: float = _TIMEOUT_S,
        max_bytes: int = MAX_ANSWER,
    ) -> None:
        self.base_url = checked_url(base_url, setting)
        self._max_bytes = max_bytes
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file:
            context.load_verify_locations(cafile=ca_file)
        self._context, self._timeout_s = context, timeout_s
        self._session: aiohttp.ClientSession | None = None

    def _connected(self) -> aiohttp.ClientSession:
        # Made on the first call: it belongs to the event loop that is running then.
        session = self._session
        if session is None:
            session = self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._context),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),  # (5)
                auto_decompress=False,  # (2)
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=self._timeout_s,
                    sock_connect=self._timeout_s,
                    sock_read=self._timeout_s,
                ),
                headers={"user-agent": "cryogate", "accept-encoding": "identity"},
                skip_auto_headers=("content-type",),
            )
            # (6): it would send PUT and DELETE again. There is no public switch; a test holds it.
            session._retry_connection = False  # noqa: SLF001
        return session

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """A request under the base URL; its answer if it is a 2xx.

        Raises:
            ProviderError: (3).
        """
        return await self.send(
            method, self.base_url + path, headers=headers, params=params, content=content
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Answer:
        """As `call`, with ``document`` as JSON if there is one, for an answer in JSON."""
        sent = {**headers, "accept": "application/json"}
        content = None
        if document is not None:
            sent["content-type"] = "application/json"
            content = msgspec.json.encode(document)
        return await self.call(method, path, headers=sent, params=params, content=content)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """As `call`, for a whole URL that the caller has checked."""
        if params:
            url = f"{url}?{urlencode(params)}"
        body = None if content is None else io.BytesIO(content)
        try:
            # The URL goes out as it is: what is signed must not be written otherwise.
            response = await self._connected().request(
                method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ProviderError(
                "the vendor cannot be reached", sent=False, retryable=True
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderError("the vendor did not answer", sent=True, retryable=True) from error
        async with response:
            status = _accepted(response.status)
            return Answer(status, _plain(response.headers), await self._body(response))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":  # (2)
            raise ProviderError("the vendor compressed its answer", sent=True, retryable=True)
        data = bytearray()
        try:
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > self._max_bytes:
                    response.close()  # the rest is not read
                    raise ProviderError(
                        "the vendor's answer is too long", sent=True, retryable=True
                    )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderError(
                "the vendor's answer broke off", sent=True, retryable=True
            ) from error
        return bytes(data)

    async def close(self) -> None:
        """Close connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _accepted(status: int) -> int:
    if 200 <= status < 300:
        return status
    detail = f"the vendor answered {status}"
    if status == 429:
        raise ProviderError(detail, sent=False, retryable=True, status=status)
    if 400 <= status < 500:
        raise ProviderError(detail, sent=False, retryable=status == 408, status=status)
    raise ProviderError(detail, sent=True, retryable=True, status=status)


def _plain(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def unless_over(asking: Awaitable[object]) -> None:
    """Asks a vendor to cancel: 409 says that the job has ended already, and a job stays over.

    Raises:
        ProviderError: the vendor took no note.
    """
    try:
        await asking
    except ProviderError as error:
        if error.status != 409:
            raise


def before_the_job(error: ProviderError) -> ProviderError:
    """``error`` of a step that prepares a job: whatever happened, there is surely no job."""
    return ProviderError(error.detail, sent=False, retryable=error.retryable, status=error.status)


def checked_url(url: str, setting: str) -> str:
    """``url`` without a slash at its end, if a credential may be sent there.

    Raises:
        ConfigError: not https, and not on this machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"{setting} is no URL") from None
    clear_ok = parts.scheme == "http" and (host == "localhost" or _loopback(host))
    if not host or (parts.scheme != "https" and not clear_ok):
        raise ConfigError(f"{setting} must be an https URL (http only on this machine)")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"{setting} has no query, no fragment and no credentials")
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
