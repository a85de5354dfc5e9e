"""One bounded question to a policy server over HTTP: what is late, large or odd is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from cryogate.policies.answer import MAX_ANSWER_BYTES, MalformedAnswer


class Exchange:
    """Posts JSON and reads a JSON answer. ``timeout_ms`` bounds the whole of it.

    Redirects are not followed and proxies of the environment not used: the answer comes from the
    configured server or is none.
    """

    def __init__(self, base_url: str, timeout_ms: int) -> None:
        self._timeout_s = timeout_ms / 1000
        self._client = httpx.AsyncClient(
            base_url=base_url, timeout=self._timeout_s, follow_redirects=False, trust_env=False
        )

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, httpx.Headers]:
        """The answer's bytes and headers.

        Raises:
            MalformedAnswer: another status, a compressed or a huge answer.
            TimeoutError: late.
        """
        # The client's own time-outs are per read; a server that drips bytes meets this one.
        async with asyncio.timeout(self._timeout_s):
            return await self._post(path, body, headers or {})

    async def _post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[bytes, httpx.Headers]:
        sent = {"content-type": "application/json", "accept-encoding": "identity", **headers}
        async with self._client.stream("POST", path, content=body, headers=sent) as response:
            if response.status_code != 200:
                raise MalformedAnswer(f"the policy server answered {response.status_code}")
            if "content-encoding" in response.headers:
                raise MalformedAnswer("the policy server compressed its answer, unasked")
            data = bytearray()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise MalformedAnswer("the policy server's answer is too large")
        return bytes(data), response.headers

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
