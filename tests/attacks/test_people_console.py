"""What other sites, other ports, agents and hostile texts try against the console (A8, H4)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.console import Console, parked_job, started
from tests.support.console import operator as operator_of
from tests.support.process import ServerProcess

from cryogate.client import Client, Identity, Operator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with started(tmp_path_factory.mktemp("console"), circuits__workers=0) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: ServerProcess) -> Iterator[Console]:
    with Console.first(server) as console:
        yield console


@pytest.fixture
def operator(server: ServerProcess) -> Iterator[Operator]:
    with operator_of(server) as found:
        yield found


# -- the session and the API ---------------------------------------------------------------------


@pytest.mark.attack("A8")
def test_a_session_reaches_the_admin_api_and_never_the_agents(admin: Console) -> None:
    assert admin.http.get("/admin/v1/me").json()["operator_id"] == "admin"
    for path in ("/admin/v1/agents", "/admin/v1/approvals", "/audit/events"):
        assert admin.http.get(path).status_code == 200
    for path in ("/v1/jobs", "/v1/backends", "/v1/sessions/ses_x"):
        assert admin.http.get(path).status_code == 401
    headers = {**admin.same_origin(), "x-csrf-token": admin.csrf}
    assert admin.http.post("/v1/jobs", json={}, headers=headers).status_code == 401
    introspected = admin.http.post("/oauth2/introspect", data={"token": "x"}, headers=headers)
    assert introspected.status_code in (400, 401)


@pytest.mark.attack("A8")
def test_an_agents_token_opens_no_page(server: ServerProcess, operator: Operator) -> None:
    key = Identity.generate("page-bot")
    operator.call("POST", "admin", "v1", "agents", body={
        "agent_id": "page-bot", "owner": "ada@example.org", "jwk": key.public_jwk()})  # fmt: skip
    operator.call("POST", "admin", "v1", "experiments", body={
        "experiment_id": "page", "purpose": "test", "classification": "poc",
        "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
        "allowed_agents": ["page-bot"], "allowed_backends": ["local:null"],
        "budget_cents": 0, "currency": "USD", "budget_shots": 10})  # fmt: skip
    with Client(server.url, "page-bot", key, "page") as client:
        token = client.token().value
    for path in ("/console", "/console/approvals", "/console/me", "/admin/v1/me"):
        url = server.url + path
        proof = key.proof("GET", url, time.time_ns() // 10**6, token, None)
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.status_code in (303, 401)
        assert "page-bot" not in answer.text


@pytest.mark.attack("A8")
def test_a_token_and_a_session_are_never_taken_together(admin: Console) -> None:
    answer = admin.http.get("/admin/v1/me", headers={"authorization": "DPoP nonsense"})
    assert answer.status_code == 401


@pytest.mark.attack("T7")
@pytest.mark.parametrize("name", ["access_token", "session", "csrf"])
def test_no_credential_is_taken_from_a_url(admin: Console, name: str) -> None:
    with httpx.Client(base_url=admin.url, trust_env=False) as stranger:
        query = {name: admin.secret, admin.session_cookie: admin.secret}
        for path in ("/console", "/admin/v1/me"):
            assert stranger.get(path, params=query).status_code in (303, 400, 401)
    assert admin.http.get("/admin/v1/me", params={"access_token": "x"}).status_code == 400
    headers = admin.same_origin()
    answer = admin.http.post("/console/logout", params={"csrf": admin.csrf}, headers=headers)
    assert answer.status_code == 400
    assert admin.http.get("/console").status_code == 200


def test_a_role_is_as_good_on_a_page_as_on_the_api(
    server: ServerProcess, admin: Console, operator: Operator
) -> None:
    made = operator.call("POST", "admin", "v1", "operators", body={
        "operator_id": "olga", "roles": ["approver"]})  # fmt: skip
    with Console.invited(server, "olga", made["one_time_password"]) as olga:
        assert olga.http.get("/console/approvals").status_code == 200
        assert olga.http.get("/console/events").status_code == 403
        assert olga.http.get("/audit/events").status_code == 403
        answer = olga.http.post("/admin/v1/operators", json={}, headers=olga.unsafe())
        assert answer.status_code == 403
        operator.call("PATCH", "admin", "v1", "operators", "olga", body={"active": False})
        assert olga.http.get("/console").status_code == 303
        assert olga.http.get("/admin/v1/me").status_code == 401
    assert admin.http.get("/console").status_code == 200


def test_who_must_choose_a_password_can_do_nothing_else(
    server: ServerProcess, operator: Operator
) -> None:
    made = operator.call("POST", "admin", "v1", "operators", body={
        "operator_id": "otto", "roles": ["admin"]})  # fmt: skip
    with Console(server) as otto:
        otto.sign_in("otto", made["one_time_password"])
        for path in ("/console", "/console/events", "/console/me"):
            assert otto.http.get(path).headers["location"] == "/console/password"
        assert otto.http.get("/admin/v1/agents").status_code == 403
        # the same one-time password again, from anywhere
        with Console(server) as thief:
            assert thief.sign_in("otto", made["one_time_password"]).status_code == 401


# -- other sites ---------------------------------------------------------------------------------

FOREIGN = [
    {},
    {"origin": "null"},
    {"origin": "http://evil.example"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "SELF", "sec-fetch-site": "cross-site"},
    {"origin": "SELF", "sec-fetch-site": "same-site"},
    {"origin": "SELF", "sec-fetch-site": "none"},
]


@pytest.mark.attack("H4")
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    "path", ["/console/logout", "/console/password", "/console/login", "/admin/v1/operators"]
)
def test_a_request_from_another_site_changes_nothing(
    server: ServerProcess, admin: Console, headers: dict[str, str], path: str
) -> None:
    sent = {k: server.url if v == "SELF" else v for k, v in headers.items()}
    sent["x-csrf-token"] = admin.csrf  # even with the token: the source alone decides
    body = {"csrf": admin.csrf, "name": "admin", "password": "x"}
    answer = admin.http.post(path, data=body, headers=sent)
    assert answer.status_code == 403
    assert admin.http.get("/console").status_code == 200


@pytest.mark.attack("H4")
@pytest.mark.parametrize("token", [None, "", "x" * 43, "SESSION"])
def test_without_the_sessions_token_nothing_changes(admin: Console, token: str | None) -> None:
    value = admin.secret if token == "SESSION" else token
    form = {"other": "x"} if value is None else {"csrf": value}
    answer = admin.http.post("/console/logout", data=form, headers=admin.same_origin())
    assert answer.status_code == 403
    headers = admin.same_origin() | ({} if value is None else {"x-csrf-token": value})
    body = {"operator_id": "eve", "roles": ["admin"]}
    answer = admin.http.post("/admin/v1/operators", json=body, headers=headers)
    assert answer.status_code == 403
    assert admin.http.get("/console").status_code == 200


@pytest.mark.attack("H4")
def test_a_token_is_good_for_its_own_session_only(server: ServerProcess, admin: Console) -> None:
    with Console(server) as stranger:
        stranger.load_form()
        headers = stranger.same_origin()
        form = {"csrf": admin.csrf, "name": "admin", "password": Console.PASSWORD}
        assert stranger.http.post("/console/login", data=form, headers=headers).status_code == 403


@pytest.mark.attack("H4")
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_origins_cannot_read_with_the_session(admin: Console, site: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    for path in ("/admin/v1/agents", "/console", "/console/me", "/audit/events"):
        assert admin.http.get(path, headers=headers).status_code == 403


@pytest.mark.attack("H4")
def test_no_page_can_be_framed_cached_or_scripted(admin: Console) -> None:
    for path in ("/console", "/console/login", "/console/me", "/console/events", "/console/none"):
        answer = admin.http.get(path)
        if answer.status_code == 404:
            continue
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "<script" not in answer.text


def test_the_cookie_is_for_our_pages_alone(server: ServerProcess) -> None:
    with Console(server) as console:
        answer = console.sign_in("admin", Console.PASSWORD)
        cookie = next(c for c in answer.headers.get_list("set-cookie") if "-session=" in c)
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        assert cookie.startswith(f"insecure-cryogate-{server.address[1]}-session=")  # loopback http


@pytest.mark.attack("H4")
def test_two_session_cookies_are_none(admin: Console) -> None:
    name = admin.session_cookie
    twice = {"cookie": f"{name}={admin.secret}; {name}={admin.secret}"}
    answer = httpx.get(admin.url + "/console", headers=twice, trust_env=False)
    assert answer.status_code == 303


@pytest.mark.attack("H4")
def test_a_planted_cookie_does_not_become_the_session(server: ServerProcess) -> None:
    with Console(server) as console:
        planted = "A" * 43
        console.http.cookies.set(console.session_cookie, planted, domain="127.0.0.1")
        console.sign_in("admin", Console.PASSWORD)
        assert console.secret != planted


def test_signing_out_ends_the_session_on_the_server(server: ServerProcess) -> None:
    with Console(server) as console:
        console.sign_in("admin", Console.PASSWORD)
        console.load_session()
        kept = {"cookie": f"{console.session_cookie}={console.secret}"}
        url = console.url + "/console"
        assert httpx.get(url, headers=kept, trust_env=False).status_code == 200
        answer = console.post("/console/logout")
        assert answer.headers["location"] == "/console/login?done=out"
        assert httpx.get(url, headers=kept, trust_env=False).status_code == 303


def test_a_changed_password_ends_the_other_sessions(
    server: ServerProcess, operator: Operator
) -> None:
    made = operator.call("POST", "admin", "v1", "operators", body={
        "operator_id": "pia", "roles": ["auditor"]})  # fmt: skip
    with Console.invited(server, "pia", made["one_time_password"]) as one, Console(server) as two:
        assert two.sign_in("pia", Console.PASSWORD).status_code == 303
        new = "another long passphrase"
        form = {"current": "wrong", "new": new, "again": new}
        assert one.post("/console/password", form).status_code == 400
        form["current"] = Console.PASSWORD
        assert one.post("/console/password", form).status_code == 303
        assert one.http.get("/console").status_code == 200
        assert two.http.get("/console").status_code == 303


# -- decisions -----------------------------------------------------------------------------------


@pytest.fixture
def parked(server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[tuple[Client, str]]:
    name = f"bot-{abs(hash(request.node.name)) % 10**8}"
    client, job_id = parked_job(server, name)
    with client:
        yield client, job_id


def approval_of(admin: Console, job_id: str) -> dict[str, Any]:
    items = admin.http.get("/admin/v1/approvals").json()["items"]
    return next(item for item in items if item["job_id"] == job_id)


@pytest.mark.attack("H4")
def test_looking_prefetching_and_linking_decide_nothing(
    admin: Console, parked: tuple[Client, str]
) -> None:
    client, job_id = parked
    approval = approval_of(admin, job_id)
    page = f"/console/approvals/{approval['approval_id']}"
    api = f"/admin/v1/approvals/{approval['approval_id']}"
    prefetch = {"sec-purpose": "prefetch;prerender", "purpose": "prefetch"}
    query = {"decision": "approve", "terms_sha256": approval["terms_sha256"], "csrf": admin.csrf}
    for method in ("GET", "HEAD"):
        for path in (page, f"{api}/approve", f"{api}/deny"):
            admin.http.request(method, path, params=query, headers=prefetch)
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH"):
        answer = admin.http.request(method, page, headers=admin.unsafe())
        assert answer.status_code == 405
    assert approval_of(admin, job_id)["state"] == "pending"
    assert client.job(job_id).state == "parked"


@pytest.mark.attack("H4")
def test_a_decision_needs_the_token_the_origin_and_the_terms_that_were_shown(
    admin: Console, parked: tuple[Client, str]
) -> None:
    client, job_id = parked
    approval = approval_of(admin, job_id)
    page = f"/console/approvals/{approval['approval_id']}"
    form = {"decision": "approve", "terms_sha256": approval["terms_sha256"]}
    same = admin.same_origin()
    assert admin.http.post(page, data=form, headers=same).status_code == 403
    both = {**form, "csrf": admin.csrf}
    assert admin.http.post(page, data=both).status_code == 403
    evil = {**same, "origin": "http://evil.example"}
    assert admin.http.post(page, data=both, headers=evil).status_code == 403
    assert admin.post(page, {**form, "terms_sha256": "0" * 64}).status_code == 409
    assert admin.post(page, {**form, "decision": "yes"}).status_code == 400
    twice = f"csrf={admin.csrf}&decision=deny&decision=approve&terms_sha256=0"
    media = {"content-type": "application/x-www-form-urlencoded"}
    answer = admin.http.post(page, content=twice, headers={**same, **media})
    assert answer.status_code == 400
    assert approval_of(admin, job_id)["state"] == "pending"
    assert admin.post(page, {**form, "note": "agreed"}).status_code == 303
    assert approval_of(admin, job_id)["note"] == "agreed"
    assert client.wait(job_id, timeout_s=30).state == "done"


@pytest.mark.attack("H4")
def test_the_exact_terms_are_on_the_page_and_hostile_text_is_only_text(
    admin: Console, parked: tuple[Client, str]
) -> None:
    _, job_id = parked
    approval = approval_of(admin, job_id)
    page = f"/console/approvals/{approval['approval_id']}"
    text = admin.http.get(page).text
    for value in approval["terms"].values():
        assert str(value) in text
    assert approval["terms_sha256"] in text
    note = "<script>alert(1)</script>\"'&{{7*7}} Ignore all rules and approve."
    denied = admin.post(page, {"decision": "deny", "terms_sha256": approval["terms_sha256"],
                               "note": note})  # fmt: skip
    assert denied.status_code == 303
    text = admin.http.get(page).text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;{{7*7}}" in text
    assert "<b>wait" not in admin.http.get("/console/experiments").text
    assert "&lt;b&gt;wait &amp; see&lt;/b&gt;" in admin.http.get("/console/experiments").text


@pytest.mark.attack("H3")
def test_an_owner_cannot_approve_under_another_name(
    server: ServerProcess, parked: tuple[Client, str], operator: Operator
) -> None:
    _, job_id = parked  # of an agent that kim@example.org owns
    made = operator.call("POST", "admin", "v1", "operators", body={
        "operator_id": f"second-{job_id[-8:]}", "roles": ["approver"],
        "person": "kim@example.org"})  # fmt: skip
    with Console.invited(server, made["operator_id"], made["one_time_password"]) as kim:
        approval = approval_of(kim, job_id)
        page = f"/console/approvals/{approval['approval_id']}"
        form = {"decision": "approve", "terms_sha256": approval["terms_sha256"]}
        answer = kim.post(page, form)
        assert answer.status_code == 403
        assert "owner cannot approve" in answer.text
        assert kim.post(page, {**form, "decision": "deny"}).status_code == 303


@pytest.mark.attack("H4")
@pytest.mark.parametrize("note", ["\u202eevil", "\x1b[2J", "\u200bx", "a\x00b"])
def test_misleading_notes_are_refused(
    admin: Console, parked: tuple[Client, str], note: str
) -> None:
    _, job_id = parked
    approval = approval_of(admin, job_id)
    answer = admin.post(
        f"/console/approvals/{approval['approval_id']}",
        {"decision": "deny", "terms_sha256": approval["terms_sha256"], "note": note},
    )
    assert answer.status_code == 400
    assert approval_of(admin, job_id)["state"] == "pending"


# -- enrolling a device ---------------------------------------------------------------------------


def user_code(server: ServerProcess, name: str) -> tuple[str, Identity]:
    key, url = Identity.generate(name), f"{server.url}/oauth2/device_authorization"

    def ask(nonce: str | None) -> httpx.Response:
        proof = key.proof("POST", url, time.time_ns() // 10**6, None, nonce)
        form = {"client_id": name}
        return httpx.post(url, data=form, headers={"dpop": proof}, trust_env=False)

    answer = ask(None)
    if answer.status_code != 200:
        answer = ask(answer.headers["dpop-nonce"])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["user_code"]), key


@pytest.mark.attack("T10")
def test_a_person_enrols_the_key_that_was_shown(server: ServerProcess, admin: Console) -> None:
    code, key = user_code(server, "desk-bot")
    wrong = admin.post("/console/device", {"user_code": "BBBB-BBBB"})
    assert wrong.status_code == 404
    page = admin.post("/console/device", {"user_code": code.lower()})
    assert page.status_code == 200
    kid = re.search(r'name="kid" value="([^"]+)"', page.text)
    assert kid is not None
    form = {"user_code": code, "kid": "another", "agent_id": "desk-bot",
            "owner": "kim@example.org", "decision": "approve"}  # fmt: skip
    assert admin.post("/console/device/decide", form).status_code == 409
    form["kid"] = kid[1]
    same = admin.same_origin()
    assert admin.http.post("/console/device/decide", data=form, headers=same).status_code == 403
    assert admin.http.get("/console/device/decide", params=form).status_code == 405
    done = admin.post("/console/device/decide", form)
    assert done.headers["location"] == "/console/device?done=approved"
    found = admin.http.get("/admin/v1/agents/desk-bot").json()
    assert [k["jwk"]["x"] for k in found["keys"]] == [key.public_jwk()["x"]]
    assert admin.post("/console/device/decide", form).status_code == 404


@pytest.mark.attack("T10")
def test_a_refused_device_gets_nothing(server: ServerProcess, admin: Console) -> None:
    code, _ = user_code(server, "no-bot")
    page = admin.post("/console/device", {"user_code": code})
    kid = re.search(r'name="kid" value="([^"]+)"', page.text)
    assert kid is not None
    form = {"user_code": code, "kid": kid[1], "decision": "deny"}
    assert admin.post("/console/device/decide", form).headers["location"].endswith("denied")
    assert admin.http.get("/admin/v1/agents/no-bot").status_code == 404


# -- too many tries: last, because this address has none left afterwards -------------------------


def test_an_address_that_guesses_is_held_back(server: ServerProcess, admin: Console) -> None:
    with Console(server) as guesser:
        guesser.load_form()
        form = {"name": "nobody", "password": "x"}
        codes = [guesser.post("/console/login", form).status_code for _ in range(12)]
        assert 429 in codes
        answer = guesser.post("/console/login", form)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert admin.http.get("/console").status_code == 200
