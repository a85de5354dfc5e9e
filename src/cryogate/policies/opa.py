"""An OPA server as the engine.

Undefined is 200 without ``result``; a redirect, another status, a slow or a huge answer is none.
The server must hold the bundle we were told to expect; we ask it for decisions, never for rules.
"""

from __future__ import annotations

import httpx
import msgspec

from cryogate.domain.decisions import Decision
from cryogate.policies.answer import MAX_ANSWER_BYTES, MalformedAnswer, read_caps, read_decision
from cryogate.policies.bundle_files import Bundle
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question


class _Reply(msgspec.Struct, frozen=True):
    result: msgspec.Raw | None = None


class OpaEngine(PolicyEngine):
    """``POST /v1/data/cryogate/…`` (OPA's REST API). ``timeout_ms`` bounds the whole exchange."""

    def __init__(self, base_url: str, bundle: Bundle, timeout_ms: int) -> None:
        self._bundle = bundle
        self._client = httpx.AsyncClient(
            base_url=base_url, timeout=timeout_ms / 1000, follow_redirects=False, trust_env=False
        )

    @property
    def digest(self) -> str:
        """The digest of the bundle that the server is expected to hold."""
        return self._bundle.digest

    async def _evaluate(self, question: Question) -> Decision:
        return read_decision(await self._ask(question, "decision"), self._bundle.digest)

    async def _caps(self, question: Question) -> GrantFacts | None:
        return read_caps(await self._ask(question, "caps"))

    async def _ask(self, question: Question, rule: str) -> bytes:
        body = msgspec.json.encode({"input": question})
        url = f"/v1/data/cryogate/{rule}?strict-builtin-errors=true"
        async with self._client.stream(
            "POST", url, content=body, headers={"content-type": "application/json"}
        ) as response:
            if response.status_code != 200:
                raise MalformedAnswer(f"OPA answered {response.status_code}")
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise MalformedAnswer("OPA's answer is too large")
        try:
            reply = msgspec.json.decode(bytes(data), type=_Reply)
        except msgspec.DecodeError as error:
            raise MalformedAnswer("OPA's answer is not JSON") from error
        if reply.result is None:
            raise MalformedAnswer("undefined")
        return bytes(reply.result)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
