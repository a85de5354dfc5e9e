"""Messages on the wire: signed, plain, refused when the other side is not what it should be."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from tests.support.tls import authority, issue, server_context

from cryogate.notify.mail import MailChannel, Relay
from cryogate.notify.webhook import WebhookChannel, payload
from cryogate.outbound.addresses import networks
from cryogate.outbound.errors import UnsafeUrl
from cryogate.outbound.fetcher import Answer, Fetcher
from cryogate.outbound.standard_webhooks import secret_bytes, signature
from cryogate.ports.channels import Message, NotSent

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "message_id": "msg-7", "kind": "approval.requested", "about": "apr_1",
        "title": "job approval apr_1 of bot waits for a decision",
        "facts": (("Agent", "bot"), ("Backend", "ibm:x")), "quote": "please",
        "url": "https://qpu.example.org/console/approvals/apr_1", "created_ms": 1_800_000_000_000,
        "data": {"approval_id": "apr_1"}, **changes,
    }  # fmt: skip
    return Message(**fields)


# -- webhook -------------------------------------------------------------------------------


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The vector of the specification's own test suite."""
    made = signature(
        secret_bytes(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["", "abc", "whsec_", "whsec_%%%", "whsec_c2hvcnQ="])
def test_a_weak_secret_is_none(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        secret_bytes(secret)


def channel(status: int, seen: list[Any]) -> WebhookChannel:
    async def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        seen.append((method, url, headers, body))
        return Answer(status, {}, b"")

    return WebhookChannel(
        url="https://hooks.example.org/x", secret=SECRET, send=send, now_ms=lambda: 1_000_500
    )


async def test_what_is_sent_is_signed_and_names_itself() -> None:
    seen: list[Any] = []
    await channel(200, seen).send(message())
    [(method, _, headers, body)] = seen
    assert (method, headers["webhook-id"], headers["webhook-timestamp"]) == (
        "POST",
        "msg-7",
        "1000",
    )
    want = signature(secret_bytes(SECRET), "msg-7", "1000", body)
    assert headers["webhook-signature"] == want
    assert json.loads(body)["metadata"]["event_payload"] == {"approval_id": "apr_1"}


@pytest.mark.parametrize("status", [302, 307, 400, 404, 429, 500])
async def test_anything_but_yes_is_not_sent(status: int) -> None:
    with pytest.raises(NotSent):
        await channel(status, []).send(message())


@pytest.mark.attack("P4")
@pytest.mark.parametrize(
    "url",
    ["https://169.254.169.254/latest", "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/",
     "http://hooks.example.org/", "https://user:pw@hooks.example.org/"],
)  # fmt: skip
async def test_a_webhook_reaches_nothing_inside(url: str) -> None:
    async with Fetcher(allowed=networks(())) as fetcher:
        hook = WebhookChannel(url=url, secret=SECRET, send=fetcher.send, now_ms=lambda: 0)
        with pytest.raises(NotSent) as refused:
            await hook.send(message())
    assert isinstance(refused.value.__cause__, (UnsafeUrl, Exception))


@pytest.mark.attack("H4")
def test_markup_of_an_agent_is_shown_as_text() -> None:
    """No mrkdwn element holds anything; angle brackets and ampersands cannot open anything."""
    evil = "<!channel> *approved* <https://evil.example|click> &lt;"
    made = payload(message(quote=evil, title=f"t {evil}"))
    assert made["mrkdwn"] is False
    assert "<" not in made["text"]

    def kinds(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("text"), str):
                yield str(node.get("type"))
            for value in node.values():
                yield from kinds(value)
        elif isinstance(node, list):
            for value in node:
                yield from kinds(value)

    assert set(kinds(made["blocks"])) == {"plain_text"}
    assert evil not in json.dumps(made["metadata"])


# -- mail ----------------------------------------------------------------------------------


class Inbox:
    """What a real SMTP server took."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append(envelope)
        return "250 OK"


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None, **options: Any) -> AsyncIterator[tuple[Inbox, int]]:
    inbox = Inbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, hostname="localhost", tls_context=tls, loop=loop, **options),
        "127.0.0.1",
        0,
    )
    try:
        yield inbox, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def secured(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Inbox, int, Path]]:
    root = authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(root.cert_pem)
    context = server_context(tmp_path, issue("localhost", "localhost", issuer=root))
    async with receiver(context, require_starttls=True, **options) as (inbox, port):
        yield inbox, port, ca


def mail(port: int, **relay: Any) -> MailChannel:
    made = Relay(**{"host": "localhost", "port": port, "timeout_s": 5.0, **relay})
    return MailChannel(
        made,
        sender="cryogate@example.org",
        to=["approvers@example.org"],
        urgent_to=["boss@example.org"],
    )


def right(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    ok = isinstance(data, LoginPassword) and (data.login, data.password) == (b"cryogate", b"s3cret")
    return AuthResult(success=ok)


async def test_mail_goes_over_tls_with_a_login(tmp_path: Path) -> None:
    options = {"authenticator": right, "auth_required": True}
    async with secured(tmp_path, **options) as (inbox, port, ca):
        login = {"user": "cryogate", "password": "s3cret", "ca_file": str(ca)}
        await mail(port, **login).send(message())
        with pytest.raises(NotSent):
            await mail(port, **{**login, "password": "wrong", "timeout_s": 0.5}).send(message())
    [envelope] = inbox.taken
    assert envelope.rcpt_tos == ["approvers@example.org"]
    got = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert got["Subject"] == "[cryogate] job approval apr_1 of bot waits for a decision"
    assert (got["Auto-Submitted"], got["Message-ID"]) == (
        "auto-generated", "<msg-7@example.org>",
    )  # fmt: skip
    assert got.get_content_type() == "text/plain"
    body = got.get_content()
    for line in ("Agent: bot", "> please", "https://qpu.example.org/console/approvals/apr_1"):
        assert line in body.splitlines()


async def test_a_server_without_tls_gets_nothing(tmp_path: Path) -> None:
    async with receiver(None) as (inbox, port):
        with pytest.raises(NotSent):
            await mail(port).send(message())
        assert not inbox.taken
        await mail(port, security="insecure_clear").send(message())
        assert len(inbox.taken) == 1


async def test_a_foreign_certificate_gets_nothing(tmp_path: Path) -> None:
    async with secured(tmp_path) as (inbox, port, _):
        with pytest.raises(NotSent):
            await mail(port).send(message())
    assert not inbox.taken


async def test_what_cannot_wait_goes_to_more_people() -> None:
    made = mail(25).compose(message(kind="approval.escalated"))
    assert "boss@example.org" in made["To"]
    assert made["Importance"] == "high"


@pytest.mark.attack("H4")
def test_no_line_break_gets_into_a_header() -> None:
    with pytest.raises(ValueError, match="Header values"):
        mail(25).compose(message(title="x\r\nBcc: evil@example.org"))
    for sender in ("", "x", "a@b\nBcc: c@d", "Name <a@b>"):
        with pytest.raises(ValueError, match="not a mail address"):
            MailChannel(Relay(host="h", port=1), sender=sender, to=["a@example.org"])


async def test_a_silent_server_is_not_waited_for() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    relay = Relay(host="127.0.0.1", port=port, security="insecure_clear", timeout_s=0.2)
    made = MailChannel(relay, sender="c@example.org", to=["a@example.org"])
    with pytest.raises(NotSent):
        await made.send(message())
    server.close()
    await server.wait_closed()
