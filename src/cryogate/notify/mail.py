"""Messages as e-mail: plain text only, over SMTP, in a thread.

No header holds anything but our own words and ids, and the standard library refuses a header with
a line break; the agent's words are in the body, quoted. TLS is not optional unless the setting
that says ``insecure`` is.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

from cryogate.ports.channels import FOR_PEOPLE, URGENT, Channel, Message

Security = Literal["starttls", "tls", "insecure_clear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The SMTP server that takes our mail."""

    host: str
    port: int
    security: Security = "starttls"
    user: str = ""
    password: str = ""
    ca_file: str = ""
    timeout_s: float = 15.0


class MailChannel(Channel):
    """See the module. ``urgent_to`` get what was left undone for long, and alerts that matter."""

    def __init__(
        self,
        relay: Relay,
        *,
        sender: str,
        to: Sequence[str],
        urgent_to: Sequence[str] = (),
        name: str = "mail",
    ) -> None:
        self._relay, self._name = relay, name
        self._sender = _address(sender)
        self._to = tuple(map(_address, to))
        self._urgent_to = tuple(map(_address, urgent_to))
        if not self._to:
            raise ValueError("mail needs somebody to go to")

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return self._name

    def wants(self, kind: str) -> bool:
        """What a person has to act on."""
        return kind in FOR_PEOPLE

    async def _send(self, message: Message) -> None:
        await asyncio.to_thread(self._hand_over, self.compose(message))

    def compose(self, message: Message) -> EmailMessage:
        """The mail."""
        urgent = message.urgent or message.kind in URGENT
        to = {a.addr_spec: a for a in (*self._to, *(self._urgent_to if urgent else ()))}
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = tuple(to.values())
        mail["Subject"] = f"[cryogate] {message.title}"
        mail["Date"] = format_datetime(_utc(message.created_ms))
        mail["Message-ID"] = f"<{message.message_id}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if urgent:
            mail["Importance"] = "high"
        mail.set_content(_body(message), charset="utf-8", cte="quoted-printable")
        return mail

    def _hand_over(self, mail: EmailMessage) -> None:
        relay = self._relay
        context = ssl.create_default_context(cafile=relay.ca_file or None)
        if relay.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                relay.host, relay.port, timeout=relay.timeout_s, context=context
            )
        else:
            server = smtplib.SMTP(relay.host, relay.port, timeout=relay.timeout_s)
        with server:
            if relay.security == "starttls":
                # raises where the server does not offer it: nothing is sent in clear instead
                server.starttls(context=context)
            if relay.user:
                server.login(relay.user, relay.password)
            refused = server.send_message(mail)
            if refused:
                raise smtplib.SMTPRecipientsRefused(refused)


def _address(text: str) -> Address:
    try:
        return Address(addr_spec=text)
    except Exception as error:
        raise ValueError(f"{text!r} is not a mail address") from error


def _body(message: Message) -> str:
    lines = [message.title, "", *(f"{name}: {value}" for name, value in message.facts)]
    if message.quote:
        lines += ["", "The agent writes (nobody has checked it):"]
        lines += ["> " + line for line in message.quote.splitlines()]
    if message.url:
        lines += ["", "Decide in the console, logged in:", message.url]
    lines += ["", "This link decides nothing by itself, and this mailbox is not read."]
    return "\n".join(lines) + "\n"


def _utc(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
