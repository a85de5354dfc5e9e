"""Signing in: the form, the identity provider, and back."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.humans.attempts import Attempts
from cryogate.broker.humans.federated import FederatedPeople
from cryogate.broker.humans.local import LocalAccounts, SignInRefused
from cryogate.broker.humans.oidc import BEGUN_LIFE_MS, OidcSignIn
from cryogate.console.refusals import Explainer
from cryogate.console.rendering import Renderer
from cryogate.domain.errors import CryogateError, Forbidden, Malformed
from cryogate.domain.humans import SignIn
from cryogate.server.cookies import FORM, OIDC, SESSION, Cookies
from cryogate.server.endpoints import Endpoint, Public
from cryogate.server.forms import read_form
from cryogate.server.session_auth import SessionAuth, csrf_token, same

_FORM_LIFE_S = 3600
_DONE = {
    "over": "Your session is over. Sign in again.",
    "out": "You are signed out.",
}


class SignInPages:
    """The pages that need no session."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        explain: Explainer,
        cookies: Cookies,
        auth: SessionAuth,
        attempts: Attempts,
        redemptions: Attempts,
        accounts: LocalAccounts | None,
        oidc: tuple[OidcSignIn, FederatedPeople, str] | None,
        session_life_s: int,
    ) -> None:
        """``oidc`` is how to sign in there, who its people are here, and the issuer."""
        self._renderer, self._explain, self._cookies = renderer, explain, cookies
        self._auth, self._attempts, self._redemptions = auth, attempts, redemptions
        self._accounts, self._oidc, self._life_s = accounts, oidc, session_life_s

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Open to everybody; what they let in, they let in by themselves."""
        found = [
            Public("GET", "/console/console.css", self.style),
            Public("GET", "/console/icon.svg", self.icon),
            Public("GET", "/console/login", self.form),
        ]
        if self._accounts is not None:
            found.append(Public("POST", "/console/login", self._page(self.sign_in)))
        if self._oidc is not None:
            found.append(Public("GET", "/console/login/oidc", self._page(self.begin)))
            found.append(Public("GET", "/console/login/oidc/done", self._page(self.finish)))
        return tuple(found)

    def _page(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except CryogateError as error:
                return self._explain.page(request, error)

        return guarded

    async def style(self, request: Request) -> Response:
        """The style sheet."""
        return self._renderer.file("console.css")

    async def icon(self, request: Request) -> Response:
        """The icon in the browser's tab."""
        return self._renderer.file("icon.svg")

    async def form(self, request: Request) -> Response:
        """The sign-in form."""
        return self._form(request, _DONE.get(request.query_params.get("done", "")), 200)

    def _form(self, request: Request, message: str | None, status: int) -> Response:
        secret = self._cookies.read(request, FORM) or secrets.token_urlsafe(32)
        answer = self._renderer.page(
            "login.html",
            None,
            status=status,
            csrf=csrf_token(secret),
            local=self._accounts is not None,
            provider=self._oidc[0].provider if self._oidc else None,
            message=message,
            failed=status != 200,
        )
        self._cookies.put(answer, FORM, secret, _FORM_LIFE_S)
        return answer

    async def sign_in(self, request: Request) -> Response:
        """Name and password. Whatever is wrong, the answer is the same."""
        if self._accounts is None:
            raise Forbidden("no_passwords", "people do not sign in with a password here")
        self._auth.check_source(request)
        self._attempts.take(address(request))
        form = await read_form(request)
        secret = self._cookies.read(request, FORM)
        # a page of somebody else must not sign this browser in under their name (login CSRF)
        if secret is None or not same(form.get("csrf"), csrf_token(secret)):
            return self._form(request, "The form was out of date. Please try again.", 403)
        try:
            opening, method = await self._accounts.sign_in(
                form.get("name", "").strip().lower(), form.get("password", "")
            )
        except SignInRefused as error:
            return self._form(request, error.detail[0].upper() + error.detail[1:] + ".", 401)
        self._attempts.give_back(address(request))
        chosen = method is not SignIn.ONE_TIME
        answer = self._renderer.redirect("/console" if chosen else "/console/password")
        self._cookies.put(answer, SESSION, opening.secret, self._life_s)
        self._cookies.drop(answer, FORM)
        return answer

    async def begin(self, request: Request) -> Response:
        """On to the identity provider."""
        if self._oidc is None:
            raise Forbidden("no_provider", "there is no identity provider")
        self._auth.check_source(request)
        url, sealed = await self._oidc[0].begin()
        answer = Response(status_code=303, headers={"location": url, "cache-control": "no-store"})
        self._cookies.put(answer, OIDC, sealed, BEGUN_LIFE_MS // 1000, strict=False)
        return answer

    async def finish(self, request: Request) -> Response:
        """Back from the identity provider.

        The session's cookie is strict, so the browser would not send it along with a redirect
        that another site began: a page of ours comes between.
        """
        if self._oidc is None:
            raise Forbidden("no_provider", "there is no identity provider")
        self._redemptions.take(address(request))
        sign_in, people, issuer = self._oidc
        pairs = request.query_params.multi_items()
        params = dict(pairs)
        if len(params) != len(pairs):
            raise Malformed("malformed_query", "a parameter is there twice")
        sealed = self._cookies.read(request, OIDC) or ""
        subject, claims = await sign_in.finish(params, sealed)
        opening = await people.sign_in(issuer, subject, claims)
        answer = self._renderer.page("signed_in.html", None)
        self._cookies.put(answer, SESSION, opening.secret, self._life_s)
        self._cookies.drop(answer, OIDC)
        return answer


def address(request: Request) -> str:
    """Where the request comes from, for counting tries."""
    return request.client.host if request.client else "unknown"
