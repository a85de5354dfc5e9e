"""The console in a real browser: a person signs in, decides, signs out; other sites get nowhere."""

from __future__ import annotations

import os
import shutil
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from tests.support.console import Console, one_time_password, parked_job, started
from tests.support.identity_provider import client, free_port, provider
from tests.support.process import ServerProcess
from tests.support.tls import issue


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no Chromium: .ci/browser installs it"
        if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    # Chromium's own sandbox needs a user that is not root; what it loads here are our pages only.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with started(tmp_path_factory.mktemp("browser"), circuits__workers=0) as running:
        yield running


@contextmanager
def window(browser: Browser, *, scripts: bool = False) -> Iterator[Page]:
    """A window without JavaScript, as somebody may have it; nothing may fail to load."""
    context = browser.new_context(java_script_enabled=scripts, ignore_https_errors=True)
    context.set_default_timeout(20_000)
    page = context.new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("console", lambda message: failed.append(message.text))
    yield page
    context.close()
    # The identity provider's own page asks for fonts of the Internet: not ours to judge. An icon
    # may be left unloaded when the page moves on.
    ours = [text for text in failed if "127.0.0.1" in text or "Content Security" in text]
    assert not [text for text in ours if not text.endswith("/icon.svg")]


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    page.goto(url + "/console")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def signed(page: Page, action: str) -> None:
    """Wait until the signed log, of which the page shows no more, holds an event."""
    deadline = time.monotonic() + 20
    while action not in page.locator("table").inner_text():
        assert time.monotonic() < deadline, f"{action} does not come into the log"
        page.wait_for_timeout(200)
        page.reload()


def choose_password(page: Page) -> None:
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    page.get_by_label("New password", exact=True).fill(Console.PASSWORD)
    page.get_by_label("New password, again").fill(Console.PASSWORD)
    page.get_by_role("button", name="Set password").click()


@pytest.mark.slow
def test_a_person_signs_in_decides_and_signs_out(browser: Browser, server: ServerProcess) -> None:
    agent, job_id = parked_job(server, "ghz-bot")
    with agent, window(browser) as page:
        sign_in(page, server.url, "admin", "not the password")
        expect(page.get_by_role("alert")).to_contain_text("wrong")
        sign_in(page, server.url, "admin", one_time_password(server))
        choose_password(page)
        expect(page.get_by_role("status")).to_have_text("Your password is set.")

        page.get_by_role("link", name="Overview").click()
        page.get_by_role("link", name="job for ghz-bot").click()
        terms = page.locator("dl.terms")
        expect(terms).to_contain_text("local:null")
        expect(terms).to_contain_text("6.")
        page.get_by_label("Note").fill("within plan")
        page.get_by_role("button", name="Approve these terms").click()
        expect(page.get_by_role("status")).to_have_text("You approved this request.")
        assert agent.wait(job_id, timeout_s=30).state == "done"
        expect(page.get_by_role("button", name="Approve these terms")).to_have_count(0)

        for name in ("Jobs", "Agents", "Experiments", "Events"):
            page.get_by_role("link", name=name, exact=True).click()
            expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
        signed(page, "approval.approved")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("status")).to_have_text("You are signed out.")
        page.go_back()  # nothing was cached, and the session is over
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        # what was printed once is worth nothing now
        sign_in(page, server.url, "admin", one_time_password(server))
        expect(page.get_by_role("alert")).to_contain_text("wrong")


@pytest.mark.slow
def test_every_field_has_a_name_and_every_page_a_heading(
    browser: Browser, server: ServerProcess
) -> None:
    with window(browser, scripts=True) as page:
        sign_in(page, server.url, "admin", Console.PASSWORD)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        for path in ("", "/approvals", "/jobs", "/agents", "/experiments", "/events", "/me",
                     "/password", "/device"):  # fmt: skip
            page.goto(f"{server.url}/console{path}")
            assert page.locator("h1").count() == 1
            assert page.locator("html[lang=en]").count() == 1
            nameless = page.eval_on_selector_all(
                "input:not([type=hidden]), textarea, button",
                "found => found.filter(e => !(e.labels && e.labels.length) && "
                "!e.textContent.trim()).length",
            )
            assert nameless == 0
            wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wide


@contextmanager
def other_site(body: str) -> Iterator[str]:
    """A page on another port of this machine: the same *site* as ours, another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Quiet."""

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_address[1]}/"
        site.shutdown()
        thread.join()


def signed_in(browser: Browser, server: ServerProcess) -> BrowserContext:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    page = context.new_page()
    sign_in(page, server.url, "admin", Console.PASSWORD)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return context


@pytest.mark.attack("H4")
@pytest.mark.slow
def test_another_port_of_this_machine_cannot_use_the_session(
    browser: Browser, server: ServerProcess
) -> None:
    # The cookie is strict, but ports of one address are one site: the browser sends it along.
    hostile = f"""
      <form id=f method=post action="{server.url}/console/logout"><input name=csrf value=x></form>
      <iframe src="{server.url}/console"></iframe>
      <img src="{server.url}/console/me">
      <script>
        fetch("{server.url}/admin/v1/agents", {{credentials: "include"}})
          .then(r => r.text()).then(t => document.title = "READ " + t, () => 0)
          .finally(() => document.getElementById("f").submit());
      </script>"""
    context = signed_in(browser, server)
    with other_site(hostile) as url:
        page = context.new_page()
        statuses: dict[str, int] = {}
        page.on("response", lambda r: statuses.update({r.url.removeprefix(server.url): r.status}))
        page.goto(url)
        page.wait_for_url(server.url + "/console/logout")
        assert "READ" not in page.title()
        assert statuses["/console/logout"] == 403
        # the browser keeps even the refusals from the other page where it can
        for path in ("/console", "/console/me", "/admin/v1/agents"):
            assert statuses.get(path, 403) == 403
        page.goto(server.url + "/console")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    context.close()


@pytest.mark.slow
def test_a_person_comes_back_from_the_identity_provider(browser: Browser, tmp_path: Path) -> None:
    # Over TLS, with ``__Host-`` cookies; a strict one does not go along with a redirect that
    # another site began.
    port = free_port()
    known = client(port, "console", "https", token_endpoint_auth_method="none")
    people = {"s-ada": {"preferred_username": "ada", "groups": ["q-admins"]}}
    cert, cert_key = issue("127.0.0.1", "127.0.0.1").write(tmp_path, "server")
    with provider(tmp_path, [known], people) as idp:
        config = tmp_path / "cryogate.toml"
        config.write_text(
            f'[oidc]\nissuer = "{idp.issuer}"\nclient_id = "console"\n'
            'scopes = "openid profile groups"\n[oidc.roles]\n"q-admins" = "admin"\n'
            f'[outbound]\nprivate_networks = ["127.0.0.0/8"]\nca_file = "{idp.ca}"\n'
            "[console]\nlocal_accounts = false\n"
            f'[server]\ntls_cert = "{cert}"\ntls_key = "{cert_key}"\n'
        )
        with (
            started(tmp_path, port, config, circuits__workers=0) as server,
            window(browser) as page,
        ):
            page.goto(server.url + "/console")
            expect(page.get_by_label("Password")).to_have_count(0)
            page.get_by_role("link", name="Continue with").click()
            page.get_by_placeholder("Enter any login").fill("s-ada")
            page.get_by_placeholder("and password").fill("any")
            page.get_by_role("button", name="Sign-in").click()
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_role("heading", name="Overview")).to_be_visible()
            expect(page.get_by_role("link", name="ada", exact=True)).to_be_visible()
            cookies = {c["name"]: c for c in page.context.cookies()}
            session = cookies["__Host-cryogate-session"]
            assert session["secure"]
            assert session["httpOnly"]
            assert session["sameSite"] == "Strict"
            assert "__Host-cryogate-oidc" not in cookies
            assert "one-time password" not in server.output.read_text()
