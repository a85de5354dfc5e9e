"""A served log as the commands read it: a running Cryogate, or any mirror in tlog-tiles layout."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryogate.cli.options import Settings
from cryogate.domain.errors import Malformed, Unavailable

if TYPE_CHECKING:
    from cryogate.config import Config

_MAX_TILE_BYTES = 20 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
Get = Callable[[str], bytes | None]


def is_url(text: str) -> bool:
    """Whether ``text`` names a served log, or one in a bucket, and no directory."""
    return text.startswith(("https://", "http://", "s3+https://", "s3+http://"))


@contextmanager
def served(settings: Settings, url: str, config: Config | None = None) -> Generator[Get]:
    """What fetches a path under ``url``; for a bucket with the key of ``config``'s mirror.

    A Cryogate gives entries to auditors only: when the state directory's operator belongs to that
    server, its credential is used. To any other place nothing of ours is sent.
    """
    from cryogate.cli.connect import server_url

    base = url.rstrip("/")
    if base.startswith("s3+"):
        with _bucket(settings, base, config) as get:
            yield get
        return
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
def _bucket(settings: Settings, url: str, config: Config | None) -> Generator[Get]:
    from cryogate.config import ConfigError
    from cryogate.config.secret_files import read_secret
    from cryogate.domain.secrets import Secret
    from cryogate.outbound.s3 import place
    from cryogate.outbound.sigv4 import AwsKeys, sign
    from cryogate.ports.clock import SystemClock

    if config is None or not config.audit.mirror_key_id or not config.audit.mirror_region:
        raise Malformed("no_key", "a bucket is read with audit.mirror_* of --config FILE")
    audit = config.audit
    try:
        base = place(url)
        secret = read_secret("audit.mirror_secret_file", audit.mirror_secret_file)
    except (ValueError, ConfigError) as error:
        raise Malformed("malformed_bucket", str(error)) from None
    keys, clock = AwsKeys(audit.mirror_key_id, Secret(secret.encode())), SystemClock()

    def signed(target: str) -> dict[str, str]:
        return sign(
            keys, service="s3", region=audit.mirror_region, method="GET", url=target, headers={},
            body=b"", now_ms=clock.now_ms(),
        )  # fmt: skip

    with mirror(base, signed) as get:
        yield get


@contextmanager
def mirror(base: str, signed: Callable[[str], dict[str, str]] | None = None) -> Generator[Get]:
    """What fetches a path under ``base``, as anybody may, or with the headers of ``signed``."""
    import httpx

    host = urlsplit(base).hostname
    if base.startswith("http://") and host not in _LOOPBACK:
        raise Malformed("insecure_url", "a log is fetched over https, or http on this machine")
    with httpx.Client(follow_redirects=False, timeout=30, trust_env=host not in _LOOPBACK) as http:

        def get(path: str) -> bytes | None:
            target = f"{base}/{path}"
            headers = {"accept-encoding": "identity", **(signed(target) if signed else {})}
            try:
                with http.stream("GET", target, headers=headers) as answer:
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
