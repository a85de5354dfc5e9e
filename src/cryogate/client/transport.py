"""The one place of the agent's side that owns a socket: drives conversations over httpx."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from cryogate.client.closing import Closing
from cryogate.client.messages import MAX_REPLY_BYTES, Lost, Pause, Reply, Send
from cryogate.domain.errors import Malformed

T = TypeVar("T")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What TLS needs beside the system's authorities: files in PEM."""

    ca_file: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """For the client's side of a connection.

        Raises:
            Malformed: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:
            raise Malformed(
                "malformed_certificate", f"a certificate or key file cannot be used: {error}"
            ) from None
        return context


class Transport(Closing):
    """A blocking transport. Redirects are never followed: a proof is for one URL (RFC 9449)."""

    def __init__(
        self,
        origin: str,
        *,
        timeout_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        tls: ClientTls | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._sleep = sleep
        # A proxy named in the environment must not be handed requests meant for this machine.
        trust_env = urlsplit(origin).hostname not in _LOOPBACK
        context = (tls or ClientTls()).context() if origin.startswith("https:") else False
        self._http = httpx.Client(follow_redirects=False, trust_env=trust_env, verify=context)

    def drive(self, conversation: Generator[Send | Pause, Reply | Lost | None, T]) -> T:
        """Run a conversation to its end and return its value."""
        answer: Reply | Lost | None = None
        while True:
            try:
                step = conversation.send(answer)
            except StopIteration as end:
                value: T = end.value
                return value
            if isinstance(step, Pause):
                self._sleep(step.seconds)
                answer = None
            else:
                answer = self._exchange(step)

    def _exchange(self, send: Send) -> Reply | Lost:
        timeout = httpx.Timeout(self._timeout_s, read=self._timeout_s + send.wait_s)
        # Compressed answers are not asked for: a small one could unfold into a huge one.
        headers = {**send.headers, "Accept-Encoding": "identity", "User-Agent": "cryogate-client"}
        try:
            with self._http.stream(
                send.method, send.url, headers=headers, content=send.content, timeout=timeout
            ) as response:
                body = bytearray()
                for part in response.iter_raw():
                    body += part
                    if len(body) > MAX_REPLY_BYTES:
                        return Lost("the answer is too long", sent=True)
                found = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, found, bytes(body))
        except _NEVER_SENT as error:
            return Lost(_why(error), sent=False)
        except httpx.TransportError as error:
            return Lost(_why(error), sent=True)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _why(error: httpx.TransportError) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(error))[:200]
    if isinstance(error, httpx.TimeoutException):
        return "time-out"
    return text or type(error).__name__
