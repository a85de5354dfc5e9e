"""Another decision point as the engine, by AuthZEN 1.0: ``POST /access/v1/evaluation``.

AuthZEN answers yes or no and knows no caps, so what a token may offer at most comes from the
bundle in force here; the other side decides on the request that was filled from it. Only ``true``
is a yes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from cryogate.domain.decisions import Decision
from cryogate.policies.answer import MalformedAnswer
from cryogate.policies.authzen import of_question, read_answer
from cryogate.policies.bundle_files import BundleInvalid
from cryogate.policies.exchange import Exchange
from cryogate.policies.question import encode_question
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question

_PATH = "/access/v1/evaluation"


def read_token(path: Path) -> str:
    """The bearer token in a file.

    Raises:
        BundleInvalid: unreadable, or not one line of plain text.
    """
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleInvalid(f"cannot read a token from {path}") from error
    if not token or not token.isprintable() or len(token) > 8192:
        raise BundleInvalid(f"{path} holds no token")
    return token


class AuthzenEngine(PolicyEngine):
    """``base_url`` is the decision point; ``local`` gives the caps."""

    def __init__(
        self, base_url: str, local: PolicyEngine, timeout_ms: int, token: str = ""
    ) -> None:
        self._exchange = Exchange(base_url, timeout_ms)
        self._local = local
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._digest = hashlib.sha256(f"authzen:{base_url}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """The digest of the bundle that gives the caps; it is the one that is in force here.

        A decision names the digest that the decision point told, else one of its address.
        """
        return self._local.digest

    async def _evaluate(self, question: Question) -> Decision:
        encode_question(question)  # refuses what is not strictly a question, as for every engine
        body = json.dumps(of_question(question)).encode()
        request_id = secrets.token_hex(16)
        headers = {**self._headers, "x-request-id": request_id}
        data, answered = await self._exchange.post(_PATH, body, headers)
        # AuthZEN 1.0, section 10.1.3: the same id comes back, so no answer is of another question.
        if answered.get("x-request-id", request_id) != request_id:
            raise MalformedAnswer("the answer is to another request")
        return read_answer(data, self._digest)

    async def _caps(self, question: Question) -> GrantFacts | None:
        return await self._local.caps(question)

    async def close(self) -> None:
        """See `PolicyEngine.close`."""
        await self._exchange.close()
        await self._local.close()
