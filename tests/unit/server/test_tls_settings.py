"""Settings of TLS, proxies and fetches that cannot be meant are refused at start."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.tls import authority, issue

from cryogate.config import Config, ConfigError, load
from cryogate.wiring.ground import open_fetcher, open_tls


def _load(**settings: str) -> Config:
    return load(environ={f"CRYOGATE_{name}": value for name, value in settings.items()})


@pytest.mark.parametrize(
    "settings",
    [
        {"SERVER_TLS_CERT": "a.pem"},
        {"SERVER_TLS_KEY": "a.key"},
        {"SERVER_CLIENT_CERTS": "optional"},
        {"SERVER_CLIENT_CERTS": "maybe"},
        {"SERVER_TLS_CERT": "a", "SERVER_TLS_KEY": "b", "SERVER_CLIENT_CERTS": "required"},
        {"SERVER_PROXIES": "10.0.0.0/33"},
        {"SERVER_PROXIES": "10.0.0.1/24"},
        {"SERVER_PROXIES": "proxy.example"},
        {"SERVER_PROXY_CERT_HEADER": "Client Cert"},
        {"OUTBOUND_PRIVATE_NETWORKS": "all"},
        {"TOKENS_REQUIRE_NONCE": "no"},
        {"CLIENTS_KEY_MAX_AGE_DAYS": "0"},
    ],
)
def test_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        _load(**settings)


def test_lists_in_variables_and_what_follows_from_tls() -> None:
    config = _load(
        SERVER_HOST="192.0.2.1", SERVER_TLS_CERT="a", SERVER_TLS_KEY="b",
        SERVER_PROXIES="10.0.0.0/24, fd00::/64", TOKENS_INSECURE_BEARER="true",
    )  # fmt: skip
    assert config.server.proxies == ("10.0.0.0/24", "fd00::/64")
    assert config.base_url(8643) == "https://192.0.2.1:8643"
    assert any("insecure_bearer" in warning for warning in config.warnings())


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    cert, key = issue("x", "localhost", issuer=authority()).write(tmp_path, "x")
    junk = tmp_path / "junk"
    junk.write_text("junk")
    open_tls(str(cert), str(key), "optional", "")
    for files in ((str(junk), str(key)), (str(cert), str(junk)), (str(tmp_path / "none"), "")):
        with pytest.raises(ConfigError):
            open_tls(*files, "optional", "")
    with pytest.raises(ConfigError):
        open_tls(str(cert), str(key), "optional", str(junk))
    with pytest.raises(ConfigError):
        open_fetcher(_load(OUTBOUND_CA_FILE=str(junk)).outbound)
