"""A person enrols a program's key by the code it shows (RFC 8628 section 3.3).

The code is typed in, never part of a link: a link that carries it is how people are talked into
enrolling somebody else's key (RFC 8628 section 5.4). What is decided is the key that was shown.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.device import DeviceFlow, Waiting
from cryogate.broker.registry import Registry
from cryogate.console.refusals import Explainer
from cryogate.console.rendering import Renderer
from cryogate.domain.agents import Role
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.ports.audit import rfc3339
from cryogate.server.endpoints import Endpoint, ForPeople
from cryogate.server.replies import actor
from cryogate.server.session_auth import Person

_DONE = {"approved": "The key is registered.", "denied": "The key is refused."}
_ROLES = (Role.SUBMIT_ONLY, Role.READ_AGGREGATES)


class DevicePages:
    """Enter a code, look, decide. For admins, as on the API."""

    def __init__(
        self, *, renderer: Renderer, explain: Explainer, devices: DeviceFlow, registry: Registry
    ) -> None:
        self._renderer, self._explain = renderer, explain
        self._devices, self._registry = devices, registry

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Whoever makes keys good is an admin."""
        explain = self._explain
        return (
            ForPeople("GET", "/console/device", (), self.form, explain),
            ForPeople("POST", "/console/device", (), self.look, explain),
            ForPeople("POST", "/console/device/decide", (), self.decide, explain),
        )

    async def form(self, request: Request, person: Person) -> Response:
        """Where the code is typed in."""
        message = _DONE.get(request.query_params.get("done", ""))
        return self._page(person, None, message=message)

    async def look(self, request: Request, person: Person) -> Response:
        """What the code is about."""
        try:
            found = await self._devices.look(
                person.form.get("user_code", ""), actor=actor(person.operator)
            )
        except NotFound:
            return self._page(person, None, failed="There is no such code waiting.", status=404)
        return self._page(person, found)

    async def decide(self, request: Request, person: Person) -> Response:
        """Register or refuse the key that was shown."""
        form, who = person.form, actor(person.operator)
        code, decision = form.get("user_code", ""), form.get("decision", "")
        found = await self._devices.look(code, actor=who)
        if form.get("kid") != found.kid:
            raise Conflict("key_changed", "this is not the key that you were shown")
        if decision == "deny":
            await self._devices.deny(code, actor=who)
            return self._renderer.redirect("/console/device?done=denied")
        if decision != "approve":
            raise Malformed("malformed_form", "decide by one of the two buttons")
        agent_id, owner = form.get("agent_id", "").strip(), form.get("owner", "").strip()
        draft = None
        if owner:
            draft = self._registry.draft_agent(
                agent_id=agent_id, owner=owner, tier="sandbox", roles=_ROLES, attributes={},
                actor=who,
            )  # fmt: skip
        await self._devices.approve(code, agent_id, actor=who, draft=draft)
        return self._renderer.redirect("/console/device?done=approved")

    def _page(
        self,
        person: Person,
        found: Waiting | None,
        *,
        message: str | None = None,
        failed: str | None = None,
        status: int = 200,
    ) -> Response:
        return self._renderer.page(
            "device.html",
            person,
            status=status,
            here="device",
            message=message,
            failed=failed,
            found=found,
            asked=None if found is None else rfc3339(found.created_ms),
        )
