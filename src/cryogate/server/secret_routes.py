"""``/admin/v1/secrets`` and ``/admin/v1/leases``: vendors' credentials, for admins only.

A value goes in and never comes out: there is no endpoint that could show one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed
from cryogate.domain.secrets import Secret
from cryogate.ports.audit import rfc3339
from cryogate.ports.credentials import LeaseBook, LeaseRecord, SecretRecord, VendorSecrets
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply, whole_number

_MAX_BODY = 64 << 10
_PAGE = 50
_STATES = frozenset({"active", "revoking", "revoked", "expired", "failed"})


class NewSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value on its way in. Its representation does not show it."""

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=16 << 10)]
    experiment_id: Annotated[str, msgspec.Meta(max_length=63)] = ""

    def __repr__(self) -> str:
        return "NewSecret(…)"


class SecretRoutes:
    """Set, rotate, list and remove secrets; list and revoke leases."""

    def __init__(self, secrets: VendorSecrets, leases: LeaseBook) -> None:
        self._secrets, self._leases = secrets, leases

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Auditors may see what there is; admins alone change it."""
        look = (OperatorRole.AUDITOR,)
        one = "/admin/v1/secrets/{scheme}"
        return (
            ForOperators("GET", "/admin/v1/secrets", look, self.list),
            ForOperators("POST", one, (), self.add),
            ForOperators("POST", one + "/rotate", (), self.rotate),
            ForOperators("DELETE", one, (), self.remove),
            ForOperators("GET", "/admin/v1/leases", look, self.leases),
            ForOperators("POST", "/admin/v1/leases/{id}/revoke", (), self.revoke),
        )

    async def list(self, request: Request, operator: Operator) -> Response:
        """Every secret, without its value."""
        query(request)
        return reply({"items": [secret_view(s) for s in await self._secrets.list()], "next": None})

    async def add(self, request: Request, operator: Operator) -> Response:
        """A first secret for a scheme or an experiment on it."""
        new = await read_json(request, NewSecret, _MAX_BODY)
        scheme, value = request.path_params["scheme"], Secret(new.value.encode())
        made = await self._secrets.add(scheme, new.experiment_id, value, actor(operator))
        return reply(secret_view(made), 201)

    async def rotate(self, request: Request, operator: Operator) -> Response:
        """Another value in its place; leases of the old one are revoked."""
        new = await read_json(request, NewSecret, _MAX_BODY)
        scheme, value = request.path_params["scheme"], Secret(new.value.encode())
        made = await self._secrets.rotate(scheme, new.experiment_id, value, actor(operator))
        return reply(secret_view(made))

    async def remove(self, request: Request, operator: Operator) -> Response:
        """Forget it; its leases are revoked."""
        scheme = request.path_params["scheme"]
        experiment_id = query(request, "experiment_id").get("experiment_id", "")
        await self._secrets.remove(scheme, experiment_id, actor(operator))
        return reply({"scheme": scheme, "experiment_id": experiment_id, "removed": True})

    async def leases(self, request: Request, operator: Operator) -> Response:
        """The newest leases."""
        params = query(request, "state", "limit")
        state = params.get("state")
        if state is not None and state not in _STATES:
            raise Malformed("malformed_query", f"state is one of {', '.join(sorted(_STATES))}")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        found = await self._leases.list(state, limit)
        return reply({"items": [lease_view(lease) for lease in found], "next": None})

    async def revoke(self, request: Request, operator: Operator) -> Response:
        """The lease, which is ended or about to be."""
        query(request)
        found = await self._leases.revoke_by(request.path_params["id"], actor(operator))
        return reply(lease_view(found))


def secret_view(secret: SecretRecord) -> dict[str, Any]:
    """A secret for showing: everything but its value."""
    return {
        "scheme": secret.scheme,
        "experiment_id": secret.experiment_id,
        "version": secret.version,
        "created_at": rfc3339(secret.created_ms),
        "changed_at": rfc3339(secret.changed_ms),
        "changed_by": secret.changed_by,
    }


def lease_view(lease: LeaseRecord) -> dict[str, Any]:
    """A lease for showing: everything but its credential."""
    return {
        "lease_id": lease.lease_id,
        "scheme": lease.terms.scheme,
        "backend": lease.terms.backend,
        "experiment_id": lease.terms.experiment_id,
        "agent_id": lease.terms.agent_id,
        "session_id": lease.terms.session_id,
        "state": lease.state,
        "issued_at": rfc3339(lease.issued_ms),
        "expires_at": rfc3339(lease.expires_ms),
        "failed_revocations": lease.attempts,
    }
