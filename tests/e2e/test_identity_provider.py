"""People sign in at a real, certified OpenID Connect provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from tests.support.console import Console, operator, parked_job, started
from tests.support.identity_provider import (
    IdentityProvider,
    authorize,
    client,
    free_port,
    provider,
)
from tests.support.process import ServerProcess

from cryogate.tokens.keys import generate

PEOPLE = {
    "s-ada": {"preferred_username": "ada", "email": "ada@example.org", "email_verified": True,
              "groups": ["q-admins", "everybody"]},
    "s-kim": {"preferred_username": "kim.lee", "email": "kim@example.org", "email_verified": True,
              "groups": ["q-approvers"]},
    "s-bob": {"preferred_username": "bob", "email": "bob@example.org", "email_verified": True,
              "groups": ["everybody"]},
    "s-eve": {"preferred_username": "admin", "email": "eve@example.org", "email_verified": True,
              "groups": ["q-admins"]},
}  # fmt: skip
CONFIG = """
[oidc]
issuer = "{issuer}"
client_id = "{client_id}"
{credential}
scopes = "openid email profile groups"

[oidc.roles]
"q-admins" = "admin"
"q-approvers" = "approver"

[outbound]
private_networks = ["127.0.0.0/8"]
ca_file = "{ca}"
"""


@dataclass(frozen=True)
class Site:
    """A server and its identity provider."""

    server: ServerProcess
    idp: IdentityProvider

    def begin(self, console: Console) -> str:
        """The provider's URL for a browser that follows the link on the sign-in page."""
        assert "/console/login/oidc" in console.http.get("/console/login").text
        answer = console.http.get("/console/login/oidc", headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def sign_in(self, console: Console, subject: str) -> httpx.Response:
        """The whole way; the answer is our callback's."""
        return console.http.get(authorize(self.begin(console), subject, self.idp.ca))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A public client, proven by PKCE alone, is enough for most of this."""
    with site(tmp_path_factory.mktemp("one"), "none") as made:
        yield made


@contextmanager
def site(folder: Path, method: str) -> Iterator[Site]:
    """A server that is the provider's client by ``method``."""
    port, key = free_port(), generate()
    every: dict[str, dict[str, Any]] = {
        "client_secret_basic": {"client_secret": "a secret with +, % and : in it"},
        "private_key_jwt": {
            "jwks": {"keys": [{**key.public.jwk(), "kid": key.kid}]},
            "token_endpoint_auth_signing_alg": "ES256",
        },
        "none": {},
    }
    ours = every[method]
    known = client(port, "console", token_endpoint_auth_method=method, **ours)
    secret = folder / "credential"
    credential = ""
    if method == "client_secret_basic":
        secret.write_text(f"{ours['client_secret']}\n")
        credential = f'client_secret_file = "{secret}"'
    elif method == "private_key_jwt":
        secret.write_text(json.dumps(key.private_jwk()))
        credential = f'client_key_file = "{secret}"'
    with provider(folder, [known], PEOPLE) as idp:
        config = folder / "cryogate.toml"
        config.write_text(CONFIG.format(
            issuer=idp.issuer, client_id="console", credential=credential, ca=idp.ca))  # fmt: skip
        with started(folder, port, config, circuits__workers=0) as server:
            yield Site(server, idp)


@pytest.mark.parametrize("method", ["client_secret_basic", "private_key_jwt"])
def test_the_server_proves_itself_to_the_provider(tmp_path: Path, method: str) -> None:
    with site(tmp_path, method) as made, Console(made.server) as ada:
        assert made.sign_in(ada, "s-ada").status_code == 200
        assert ada.http.get("/console").status_code == 200


def test_a_person_signs_in_with_the_roles_of_their_groups(one: Site) -> None:
    with Console(one.server) as ada:
        answer = one.sign_in(ada, "s-ada")
        assert answer.status_code == 200, answer.text
        assert 'content="0; url=/console"' in answer.text
        assert ada.http.get("/admin/v1/me").json()["roles"] == ["admin"]
        assert ada.http.get("/console").status_code == 200
    with Console(one.server) as kim:
        assert one.sign_in(kim, "s-kim").status_code == 200
        me = kim.http.get("/admin/v1/me").json()
        assert me["operator_id"] == "kim-lee"
        assert me["roles"] == ["approver"]
        assert kim.http.get("/console/events").status_code == 403


def test_without_a_role_nobody_gets_in(one: Site) -> None:
    with Console(one.server) as bob:
        answer = one.sign_in(bob, "s-bob")
        assert answer.status_code == 403
        assert "no role here" in answer.text
        assert bob.http.get("/console").status_code == 303


def test_a_name_at_the_provider_is_not_our_admin(one: Site) -> None:
    with Console(one.server) as eve:
        assert one.sign_in(eve, "s-eve").status_code == 409
        assert eve.http.get("/console").status_code == 303


@pytest.mark.attack("H3")
def test_nobody_approves_the_work_of_their_own_agent(one: Site) -> None:
    agent, job_id = parked_job(one.server, "kims-bot")  # owned by kim@example.org
    agent.close()
    with Console(one.server) as kim:
        one.sign_in(kim, "s-kim")
        kim.load_session()
        items = kim.http.get("/admin/v1/approvals").json()["items"]
        found = next(item for item in items if item["job_id"] == job_id)
        form = {"decision": "approve", "terms_sha256": found["terms_sha256"]}
        answer = kim.post(f"/console/approvals/{found['approval_id']}", form)
        assert answer.status_code == 403
        assert "owner cannot approve" in answer.text


@pytest.mark.attack("H4")
def test_an_answer_is_good_once_and_in_the_browser_that_asked(one: Site) -> None:
    with Console(one.server) as ada, Console(one.server) as victim:
        back = authorize(one.begin(ada), "s-ada", one.idp.ca)
        # login CSRF: somebody else's answer in a browser that began nothing, or something else
        assert victim.http.get(back).status_code == 401
        one.begin(victim)
        assert victim.http.get(back).status_code == 401
        assert victim.http.get("/console").status_code == 303
        cookie = dict(ada.http.cookies)
        assert ada.http.get(back).status_code == 200
        # again, as somebody would who saw the URL and has the cookie too
        with Console(one.server) as replay:
            replay.http.cookies.update(cookie)
            assert replay.http.get(back).status_code == 401


@pytest.mark.attack("H4")
@pytest.mark.parametrize(
    "change",
    [{"state": "x"}, {"iss": "https://evil.example"}, {"iss": None}, {"code": "stolen"},
     {"code": None}, {"error": "access_denied"}, {"error": "<script>alert(1)</script>"}],
    ids=str,
)  # fmt: skip
def test_a_changed_answer_signs_nobody_in(one: Site, change: dict[str, str | None]) -> None:
    with Console(one.server) as ada:
        back = urlsplit(authorize(one.begin(ada), "s-ada", one.idp.ca))
        query = {**dict(parse_qsl(back.query)), **change}
        kept = {name: value for name, value in query.items() if value is not None}
        answer = ada.http.get(f"{back.path}?{urlencode(kept)}")
        assert answer.status_code == 401
        assert "<script" not in answer.text
        assert ada.http.get("/console").status_code == 303


def test_a_repeated_parameter_is_refused(one: Site) -> None:
    with Console(one.server) as ada:
        back = authorize(one.begin(ada), "s-ada", one.idp.ca)
        assert ada.http.get(back + "&state=x").status_code == 400


def test_an_admin_takes_the_rights_of_a_federated_person_away(one: Site) -> None:
    with Console(one.server) as ada, operator(one.server) as admin:
        one.sign_in(ada, "s-ada")
        assert ada.http.get("/console").status_code == 200
        admin.call("PATCH", "admin", "v1", "operators", "ada", body={"active": False})
        assert ada.http.get("/console").status_code == 303
        assert one.sign_in(ada, "s-ada").status_code == 403
        admin.call("PATCH", "admin", "v1", "operators", "ada", body={"active": True})
        assert ada.http.get("/console").status_code == 303  # the old session stays over
        assert one.sign_in(ada, "s-ada").status_code == 200
