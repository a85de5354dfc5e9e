"""AuthZEN 1.0 in front of the policy in force, for other enforcement points.

They authenticate as an operator (role auditor is enough: asking changes nothing). The facts are the
caller's; the decision says nothing about what the gateway would find.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.policies.authzen import Evaluation, of_decision, to_question
from cryogate.ports.policy import PolicyEngine
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole, Public
from cryogate.server.replies import query, reply

_MAX_BODY = 256 << 10
_PATH = "/access/v1/evaluation"


class AuthzenRoutes:
    """``base_url`` is this decision point's own."""

    def __init__(self, policy: PolicyEngine, base_url: str) -> None:
        self._policy = policy
        self._base_url = base_url

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The evaluation endpoint and the document that names it."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        return (
            ForOperators("POST", _PATH, look, self.evaluate),
            Public("GET", "/.well-known/authzen-configuration", self.configuration),
        )

    async def evaluate(self, request: Request, operator: Operator) -> Response:
        """``{"decision": true or false, "context": …}``; 200 for a no as well."""
        asked = await read_json(request, Evaluation, _MAX_BODY)
        decision = await self._policy.decide(to_question(asked))
        given = request.headers.get("x-request-id", "")
        echoed = {"x-request-id": given} if _plain(given) else {}
        return reply(of_decision(decision), headers=echoed)

    async def configuration(self, request: Request) -> Response:
        """AuthZEN 1.0 section 9: where the endpoint is."""
        query(request)
        return reply(
            {
                "policy_decision_point": self._base_url,
                "access_evaluation_endpoint": self._base_url + _PATH,
            }
        )


def _plain(text: str) -> bool:
    return 0 < len(text) <= 128 and text.isascii() and text.isprintable()
