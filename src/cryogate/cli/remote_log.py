"""A served log as the commands read it: a running Cryogate, or any mirror in tlog-tiles layout."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cryogate.cli.options import Settings
from cryogate.domain.errors import Malformed, Unavailable

_MAX_TILE_BYTES = 20 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
Get = Callable[[str], bytes | None]


def is_url(text: str) -> bool:
    """Whether ``text`` names a served log and no directory."""
    return text.startswith(("https://", "http://"))


@contextmanager
def served(settings: Settings, url: str) -> Generator[Get]:
    """What fetches a path under ``url``.

    A Cryogate gives entries to auditors only: when the state directory's operator belongs to that
    server, its credential is used. To any other place nothing of ours is sent.
    """
    from cryogate.cli.connect import server_url

    base = url.rstrip("/")
    if (settings.state / "operator.jwk").exists() and base == server_url(settings.state) + "/audit":
        with _from_server(settings) as get:
            yield get
        return
    with mirror(base) as get:
        yield get


@contextmanager
def _from_server(settings: Settings) -> Generator[Get]:
    from cryogate.cli.connect import operator
    from cryogate.domain.errors import NotFound

    with operator(settings) as server:

        def get(path: str) -> bytes | None:
            try:
                return server.raw("GET", "audit", *path.split("/")).body
            except NotFound:
                return None
            except Exception as error:
                if getattr(error, "status", None) == 404:
                    return None
                raise

        yield get


@contextmanager
def mirror(base: str) -> Generator[Get]:
    """What fetches a path under ``base``, as anybody may."""
    import httpx

    host = urlsplit(base).hostname
    if base.startswith("http://") and host not in _LOOPBACK:
        raise Malformed("insecure_url", "a log is fetched over https, or http on this machine")
    with httpx.Client(follow_redirects=False, timeout=30, trust_env=host not in _LOOPBACK) as http:

        def get(path: str) -> bytes | None:
            try:
                with http.stream(
                    "GET", f"{base}/{path}", headers={"accept-encoding": "identity"}
                ) as answer:
                    if answer.status_code == 404:
                        return None
                    if answer.status_code != 200:
                        raise Unavailable(f"{base}/{path} answers {answer.status_code}")
                    body = bytearray()
                    for part in answer.iter_raw():
                        body += part
                        if len(body) > _MAX_TILE_BYTES:
                            raise Unavailable(f"{base}/{path} is too large")
                    return bytes(body)
            except httpx.HTTPError as error:
                raise Unavailable(f"{base} cannot be read: {type(error).__name__}") from error

        yield get
