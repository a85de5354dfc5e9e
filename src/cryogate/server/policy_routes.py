"""``/admin/v1/policies``: which bundle is in force, what it says, and putting another in force."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.decisions import Allow, Decision
from cryogate.policies.activation import PolicyDesk
from cryogate.policies.bundle_files import MAX_BUNDLE_BYTES, MAX_FILES, Bundle
from cryogate.ports.audit import rfc3339
from cryogate.ports.policy import PolicyEngine, Question
from cryogate.ports.store import Row
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply

_MAX_QUESTION = 256 << 10
_MAX_BUNDLE_BODY = 2 * MAX_BUNDLE_BYTES
_Note = Annotated[str, msgspec.Meta(max_length=1000)]
Files = Annotated[dict[str, str], msgspec.Meta(max_length=MAX_FILES)]


class Evaluate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question for the policy in force."""

    question: Question


class Activate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed bundle, its files by path, and why it is put in force."""

    files: Files
    note: _Note = ""


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Back to a version; None: to the bundle that was in force before."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None
    note: _Note = ""


def decision_view(decision: Decision) -> dict[str, Any]:
    """A decision for showing."""
    allowed = isinstance(decision, Allow)
    return {
        "decision": "allow" if allowed else "deny",
        "reasons": decision.reasons,
        "obligations": decision.obligations if isinstance(decision, Allow) else (),
        "violations": () if isinstance(decision, Allow) else decision.violations,
        "policy_digest": decision.policy_digest,
    }


class PolicyRoutes:
    """Looking is for every operator; changing what is in force is for admins."""

    def __init__(self, policy: PolicyEngine, desk: PolicyDesk) -> None:
        self._policy = policy
        self._desk = desk

    def endpoints(self) -> tuple[Endpoint, ...]:
        """See the class."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        base = "/admin/v1/policies"
        return (
            ForOperators("GET", base, look, self.show),
            ForOperators("GET", f"{base}/history", look, self.history),
            ForOperators("GET", f"{base}/bundle", look, self.bundle),
            ForOperators("POST", f"{base}/evaluate", look, self.evaluate),
            ForOperators("POST", f"{base}/activate", (), self.activate),
            ForOperators("POST", f"{base}/rollback", (), self.rollback),
        )

    async def show(self, request: Request, operator: Operator) -> Response:
        """Digest and version of the bundle in force."""
        return reply({"digest": self._policy.digest, "version": self._desk.version})

    async def history(self, request: Request, operator: Operator) -> Response:
        """What was in force, newest first."""
        query(request)
        items = [_activation(row) for row in await self._desk.history()]
        return reply({"items": items, "next": None})

    async def bundle(self, request: Request, operator: Operator) -> Response:
        """The files of the bundle in force, as they were signed."""
        query(request)
        found = await self._desk.bundle()
        files = {name: content.decode() for name, content in found.files.items()}
        return reply({**_in_force(found), "files": files})

    async def evaluate(self, request: Request, operator: Operator) -> Response:
        """What the policy in force says to a question, without anything happening."""
        wanted = await read_json(request, Evaluate, _MAX_QUESTION)
        return reply(decision_view(await self._policy.decide(wanted.question)))

    async def activate(self, request: Request, operator: Operator) -> Response:
        """The bundle that is in force now."""
        wanted = await read_json(request, Activate, _MAX_BUNDLE_BODY)
        files = {name: text.encode() for name, text in wanted.files.items()}
        return reply(_in_force(await self._desk.activate(files, actor(operator), wanted.note)))

    async def rollback(self, request: Request, operator: Operator) -> Response:
        """The bundle that is in force again."""
        wanted = await read_json(request, Rollback, _MAX_QUESTION)
        bundle = await self._desk.rollback(wanted.version, actor(operator), wanted.note)
        return reply(_in_force(bundle))


def _in_force(bundle: Bundle) -> dict[str, Any]:
    return {"digest": bundle.digest, "version": bundle.version}


def _activation(row: Row) -> dict[str, Any]:
    created = row["created_ms"]
    shown = {name: row[name] for name in ("digest", "version", "kind", "signer", "actor", "note")}
    return {**shown, "at": rfc3339(created) if isinstance(created, int) else None}
