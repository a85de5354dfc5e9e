"""Messages as signed HTTP requests that Slack can read.

The signature is that of Standard Webhooks: HMAC-SHA256 over id, time and body, so a receiver can
refuse what is forged, altered or old, and can tell a repetition by its id. The body is a Slack
message. Text of an agent's stands in a ``plain_text`` element, where no markup is read; everything
else is our words and ids, escaped all the same.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from cryogate.outbound.standard_webhooks import secret_bytes, signature
from cryogate.ports.channels import Channel, Message, NotSent


class Answered(Protocol):
    """What a sender gives back."""

    @property
    def status(self) -> int:
        """The HTTP status."""


Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answered]]


class WebhookChannel(Channel):
    """See the module. ``send`` is the guarded fetcher's: it reaches no address inside (P4)."""

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        send: Send,
        now_ms: Callable[[], int],
        name: str = "webhook",
        experiment: str = "",
    ) -> None:
        self._url, self._send_request, self._now_ms, self._name = url, send, now_ms, name
        self._secret = secret_bytes(secret)
        self.experiment = experiment

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return self._name

    def wants(self, kind: str) -> bool:
        """Everything: a program at the other end can choose."""
        return True

    async def _send(self, message: Message) -> None:
        body = json.dumps(payload(message), separators=(",", ":")).encode()
        stamp = str(self._now_ms() // 1000)
        headers = {
            "content-type": "application/json",
            "webhook-id": message.message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._secret, message.message_id, stamp, body),
        }
        answer = await self._send_request("POST", self._url, headers, body)
        # a redirect is no acceptance, and is never followed: the signature is for this address
        if not 200 <= answer.status < 300:
            raise NotSent(f"{self._name}: answered {answer.status}")


def escape(text: str) -> str:
    """Text in Slack's markup: the three characters that could begin a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def payload(message: Message) -> dict[str, Any]:
    """The Slack message; ``metadata`` is for programs."""
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": _plain(message.title)},
        {"type": "section", "fields": [_plain(f"{n}: {v}") for n, v in message.facts[:10]]},
    ]
    if message.quote:
        blocks += [
            {"type": "context", "elements": [_plain("The agent writes (nobody has checked it):")]},
            {"type": "section", "text": _plain(message.quote)},
        ]
    if message.url:
        button = {"type": "button", "text": _plain("Open the console"), "url": message.url}
        blocks.append({"type": "actions", "elements": [button]})
    return {
        "text": escape(message.title),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [b for b in blocks if b.get("fields", True)],
        "metadata": {"event_type": message.kind.replace(".", "_"), "event_payload": message.data},
    }


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text[:2000], "emoji": False}
