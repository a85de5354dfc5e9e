"""What a sink is made from: its address, its format, its secrets, and the door to the network."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from cryogate.ports.sinks import Entry


class Answered(Protocol):
    """What a request gives back; nothing in it is trusted."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The body, no longer than the fetcher allows."""


Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answered]]
Format = Callable[[Entry], bytes]


@dataclass(frozen=True, slots=True)
class SinkSetup:
    """One ``[[sinks]]`` table. ``line`` gives an entry as one line of ASCII without its end."""

    name: str
    url: str
    line: Format
    send: Send
    now_ms: Callable[[], int]
    token: str = field(default="", repr=False)
    user: str = ""
    region: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = field(default="", repr=False)
    insecure_clear: bool = False
    overlap: int = 2000
    rotate_bytes: int = 64 << 20
    keep: int = 10

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL. ``parts.scheme`` is the whole scheme, ``syslog+tls``."""
        return urlsplit(self.url)

    def https(self) -> str:
        """The URL to fetch: ``splunk+https://host/…`` is ``https://host/…``.

        Raises:
            ValueError: another transport.
        """
        kind, _, transport = self.parts.scheme.partition("+")
        if transport != "https" and not (transport == "http" and self.insecure_clear):
            raise ValueError(f"write {kind}+https://… (clear text needs insecure_clear)")
        if self.parts.query or self.parts.fragment or "@" in self.parts.netloc:
            raise ValueError("the URL has no query, no fragment and no credentials")
        return transport + self.url[len(self.parts.scheme) :]

    def secret(self) -> str:
        """The token.

        Raises:
            ValueError: none was given, or it could end a header.
        """
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            raise ValueError("token_file must hold one line of printable ASCII")
        return self.token

    def host(self, default_port: int) -> tuple[str, int]:
        """Where to connect.

        Raises:
            ValueError: no host, or more than host and port.
        """
        parts = self.parts
        extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if not parts.hostname or extra:
            raise ValueError(f"write {parts.scheme}://host:port")
        return parts.hostname, parts.port or default_port

    def tls(self) -> ssl.SSLContext | None:
        """TLS with the receiver's name checked; None for clear text, which must be asked for.

        Raises:
            ValueError: clear text without ``insecure_clear``.
            OSError: a file cannot be read.
        """
        kind, _, transport = self.parts.scheme.partition("+")
        if transport != "tls":
            if transport or not self.insecure_clear:
                raise ValueError(f"write {kind}+tls://… (clear text needs insecure_clear)")
            return None
        context = ssl.create_default_context(cafile=self.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        return context
