"""A refusal as a page: says what to change, and nothing of our inside."""

from __future__ import annotations

import logging
import secrets

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.humans.attempts import TooManyAttempts
from cryogate.console.rendering import Renderer
from cryogate.domain.errors import CryogateError, Refused, Unauthenticated
from cryogate.server.cookies import SESSION, Cookies
from cryogate.server.problems import STATUS
from cryogate.telemetry.requests import request_id

log = logging.getLogger("cryogate.console")


class Explainer:
    """Turns errors of the console's own routes into pages."""

    def __init__(self, renderer: Renderer, cookies: Cookies) -> None:
        self._renderer, self._cookies = renderer, cookies

    async def __call__(self, request: Request, error: CryogateError) -> Response:
        """See `cryogate.server.endpoints.ForPeople`."""
        if isinstance(error, Unauthenticated) and request.method in ("GET", "HEAD"):
            why = "over" if error.code == "session_over" else None
            answer = self._renderer.redirect("/console/login" + ("?done=over" if why else ""))
            if why:
                self._cookies.drop(answer, SESSION)
            return answer
        if isinstance(error, Refused) and error.code == "choose_password":
            return self._renderer.redirect("/console/password")
        return self.page(request, error)

    def page(self, request: Request, error: CryogateError) -> Response:
        """The page for ``error``, whoever looks at it."""
        if isinstance(error, Refused):
            status, title = next((s, t) for kind, s, t in STATUS if isinstance(error, kind))
            detail = error.detail
            if isinstance(error, TooManyAttempts):
                status, title = 429, "Too many tries"
        else:
            incident = request_id() or secrets.token_hex(6)
            log.error("incident %s: %s %s", incident, request.method, request.scope["path"],
                      exc_info=error)  # fmt: skip
            status, title = 503, "A part that must answer did not"
            detail = f"Nothing was done. Try again later (incident {incident})."
        answer = self._renderer.page(
            "refused.html", None, status=status, title=title, detail=detail
        )
        if isinstance(error, TooManyAttempts):
            answer.headers["retry-after"] = str(error.retry_after_s)
        return answer
