"""An OPA server as the engine.

Undefined is 200 without ``result``; a redirect, another status, a slow or a huge answer is none.
Every answer must come from a bundle of the version that is in force here (OPA's provenance), or it
is none: a server that was not given the new bundle yet denies, and so does one that holds an older.
"""

from __future__ import annotations

import msgspec

from cryogate.domain.decisions import Decision
from cryogate.policies.answer import MalformedAnswer, read_caps, read_decision
from cryogate.policies.bundle_files import Bundle
from cryogate.policies.exchange import Exchange
from cryogate.policies.question import encode_question
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question


class _Revision(msgspec.Struct, frozen=True):
    revision: str = ""


class _Provenance(msgspec.Struct, frozen=True):
    bundles: dict[str, _Revision] = {}


class _Reply(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw()
    provenance: _Provenance = _Provenance()


class OpaEngine(PolicyEngine):
    """``POST /v1/data/cryogate/…`` (OPA's REST API). ``timeout_ms`` bounds the whole exchange."""

    def __init__(self, base_url: str, bundle: Bundle, timeout_ms: int) -> None:
        self._bundle = bundle
        # A bundle without a manifest has no version that a server could tell.
        self._revision = str(bundle.version) if bundle.version else ""
        self._exchange = Exchange(base_url, timeout_ms)

    @property
    def digest(self) -> str:
        """The digest of the bundle that the server is expected to hold."""
        return self._bundle.digest

    async def _evaluate(self, question: Question) -> Decision:
        return read_decision(await self._ask(question, "decision"), self._bundle.digest)

    async def _caps(self, question: Question) -> GrantFacts | None:
        return read_caps(await self._ask(question, "caps"))

    async def _ask(self, question: Question, rule: str) -> bytes:
        body = b'{"input":' + encode_question(question) + b"}"
        path = f"/v1/data/cryogate/{rule}?strict-builtin-errors=true&provenance=true"
        data, _ = await self._exchange.post(path, body)
        try:
            reply = msgspec.json.decode(data, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedAnswer("OPA's answer is not JSON") from error
        if not bytes(reply.result):
            raise MalformedAnswer("undefined")
        told = {bundle.revision for bundle in reply.provenance.bundles.values()}
        if self._revision and told != {self._revision}:
            raise MalformedAnswer(f"OPA does not hold version {self._revision} of the policy")
        return bytes(reply.result)

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()
