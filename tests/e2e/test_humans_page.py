"""``docs/humans.md`` and the first start: what they say is what happens."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from tests.support.console import Console, one_time_password
from tests.support.live import ROOT, Live
from tests.support.process import running

from cryogate import config

PAGE = ROOT / "docs" / "humans.md"
pytestmark = pytest.mark.slow


def test_the_first_start_and_the_commands_of_the_page(tmp_path: Path) -> None:
    with running(tmp_path, circuits__workers=0) as server:
        printed = server.output.read_text()
        assert f"console {server.url}/console\n" in printed
        shown = re.findall(r"```\n(Sign in at .*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
        for line in shown.splitlines():
            here = re.sub(r"http://\S+?/console", f"{server.url}/console", line)
            assert here.partition("k2m4x")[0] in printed
        first = one_time_password(server)

        live = Live(tmp_path)
        told = dict(live.page(PAGE))
        assert "is not shown again" in told["cryogate operator password admin"]
        newest = re.search(r"one-time password  (\S+)", told["cryogate operator password admin"])
        assert newest is not None
        assert "olga" in told["cryogate operator list"]
        assert "inactive" in told["cryogate operator set olga --inactive"]
        assert told["cryogate operator me"].strip() == "admin: admin"
        created = next(text for command, text in told.items() if "operator create" in command)
        given = re.search(r"one-time password  (\S+)", created)
        assert given is not None
        with Console(server) as console:
            assert console.sign_in("admin", first).status_code == 401  # superseded
            assert console.sign_in("olga", given[1]).status_code == 401  # inactive
        Console.invited(server, "admin", newest[1]).http.close()
    # the second start prints no password
    with running(tmp_path, circuits__workers=0) as server:
        assert "one-time password" not in server.output.read_text()
        with Console(server) as console:
            assert console.sign_in("admin", Console.PASSWORD).status_code == 303


def test_the_pages_configuration_is_one(tmp_path: Path) -> None:
    text = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    path = tmp_path / "cryogate.toml"
    path.write_text(text)
    found = config.load(path, environ={"HOME": str(tmp_path)})
    assert found.oidc.roles == tomllib.loads(text)["oidc"]["roles"]


def test_clear_text_off_loopback_has_no_console(tmp_path: Path) -> None:
    with running(
        tmp_path, server__host="0.0.0.0", server__insecure_http="true",
        server__public_url="http://127.0.0.2:9", circuits__workers=0,
    ) as server:  # fmt: skip
        printed = server.output.read_text()
        assert "console off" in printed
        assert "one-time password" not in printed
        assert "passwords would cross the network in clear" in printed


@pytest.mark.parametrize(
    ("change", "said"),
    [({"oidc.issuer": "http://idp.example.org"}, "https"), ({"oidc.client_id": ""}, "client_id"),
     ({"oidc.roles": {}}, "nobody"), ({"oidc.client_key_file": "x"}, "not both")],
)  # fmt: skip
def test_what_could_let_the_wrong_people_in_stops_the_start(
    change: dict[str, object], said: str
) -> None:
    good: dict[str, object] = {
        "oidc.issuer": "https://idp.example.org", "oidc.client_id": "c",
        "oidc.client_secret_file": "s", "oidc.roles": {"g": "admin"},
    }  # fmt: skip
    config.load(environ={}, overrides=good)
    with pytest.raises(config.ConfigError, match=said):
        config.load(environ={}, overrides={**good, **change})
