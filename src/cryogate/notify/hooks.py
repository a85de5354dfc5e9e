"""Webhooks that a job's agent, or its experiment's owner, has named: ids and a state, signed.

The signature is by our published key (`outbound.message_signatures`), so a receiver needs no secret
and an agent carries none. The body holds nothing that a vendor wrote and no result: who wants
that asks for it with a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from cryogate.domain.errors import Refused
from cryogate.notify.webhook import Send
from cryogate.outbound.hooks import Hooks
from cryogate.outbound.message_signatures import MessageSigner
from cryogate.ports.audit import rfc3339
from cryogate.ports.channels import Channel, Message, NotSent


class HookChannel(Channel):
    """See the module. ``signer`` is asked late: its key is loaded after the channels are made."""

    by_request = True

    def __init__(
        self, name: str, hooks: Hooks, send: Send, signer: Callable[[], MessageSigner],
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._name, self._hooks, self._send_request = name, hooks, send
        self._signer, self._now_ms = signer, now_ms

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return self._name

    def wants(self, kind: str) -> bool:
        """Only what is asked for reaches it."""
        return False

    async def _send(self, message: Message) -> None:
        try:
            url = self._hooks.check(message.to)  # the list may have become shorter meanwhile
        except Refused as error:
            raise NotSent(f"{self._name}: {error.code}") from error
        told = {
            "type": message.kind,
            "timestamp": rfc3339(message.created_ms),
            "data": message.data,
        }
        body = json.dumps(told, separators=(",", ":")).encode()
        headers = self._signer().signed("POST", url, message.message_id, body, self._now_ms())
        answer = await self._send_request("POST", url, headers, body)
        # a redirect is no acceptance, and is never followed: the signature is for this address
        if not 200 <= answer.status < 300:
            raise NotSent(f"{self._name}: answered {answer.status}")
