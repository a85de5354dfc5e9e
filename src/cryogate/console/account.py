"""The signed-in person: who am I, my sessions, my password, signing out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.humans.attempts import Attempts
from cryogate.broker.humans.local import LocalAccounts, SignInRefused
from cryogate.broker.humans.sessions import HumanSessions
from cryogate.console.refusals import Explainer
from cryogate.console.rendering import Renderer
from cryogate.console.sign_in import address
from cryogate.domain.errors import Forbidden, Malformed
from cryogate.domain.humans import SignIn
from cryogate.server.cookies import SESSION, Cookies
from cryogate.server.endpoints import Endpoint, ForPeople, OperatorRole
from cryogate.server.human_routes import session_view
from cryogate.server.replies import actor
from cryogate.server.session_auth import Person

_EVERY = tuple(OperatorRole)
_DONE = {"password": "Your password is set.", "ended": "That session is over."}


class AccountPages:
    """Everybody's own pages."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        explain: Explainer,
        cookies: Cookies,
        sessions: HumanSessions,
        accounts: LocalAccounts | None,
        attempts: Attempts,
        session_life_s: int,
    ) -> None:
        self._renderer, self._explain, self._cookies = renderer, explain, cookies
        self._sessions, self._accounts, self._attempts = sessions, accounts, attempts
        self._life_s = session_life_s

    def endpoints(self) -> tuple[Endpoint, ...]:
        """For every role: whoever may sign in may sign out."""
        explain = self._explain
        return (
            ForPeople("GET", "/console/me", _EVERY, self.me, explain),
            ForPeople("POST", "/console/me/sessions", _EVERY, self.end_session, explain),
            ForPeople("GET", "/console/password", _EVERY, self.password, explain, choosing=True),
            ForPeople("POST", "/console/password", _EVERY, self.choose, explain, choosing=True),
            ForPeople("POST", "/console/logout", _EVERY, self.log_out, explain, choosing=True),
        )

    async def me(self, request: Request, person: Person) -> Response:
        """Who is signed in, how, and where else."""
        found = await self._sessions.of(person.operator.operator_id)
        return self._renderer.page(
            "me.html",
            person,
            here="me",
            sessions=[session_view(s) for s in found],
            local=person.session.method is SignIn.PASSWORD,
            message=_DONE.get(request.query_params.get("done", "")),
        )

    async def end_session(self, request: Request, person: Person) -> Response:
        """End another of the person's sessions."""
        await self._sessions.end(
            person.form.get("session_id", ""),
            person.operator.operator_id,
            actor(person.operator),
            "ended elsewhere",
        )
        return self._renderer.redirect("/console/me?done=ended")

    async def password(self, request: Request, person: Person) -> Response:
        """The form for a new password."""
        return self._password(person, None, 200)

    def _password(self, person: Person, message: str | None, status: int) -> Response:
        return self._renderer.page(
            "password.html",
            person,
            status=status,
            here="me",
            message=message,
            first=person.session.must_choose_password,
        )

    async def choose(self, request: Request, person: Person) -> Response:
        """Set the password. Every other session of the person ends."""
        if self._accounts is None:
            raise Forbidden("no_passwords", "people do not sign in with a password here")
        self._attempts.take(address(request))
        form = person.form
        if form.get("new", "") != form.get("again", ""):
            return self._password(person, "The two new passwords are not the same.", 400)
        try:
            opening = await self._accounts.choose(
                person.session, form.get("current", ""), form.get("new", "")
            )
        except (Malformed, SignInRefused) as error:
            detail = error.detail
            if isinstance(error, SignInRefused):
                detail = "the present password is wrong; after several tries, wait a minute"
            return self._password(person, detail[0].upper() + detail[1:] + ".", 400)
        self._attempts.give_back(address(request))
        answer = self._renderer.redirect("/console/me?done=password")
        self._cookies.put(answer, SESSION, opening.secret, self._life_s)
        return answer

    async def log_out(self, request: Request, person: Person) -> Response:
        """End this session, here and on the server."""
        name = person.operator.operator_id
        await self._sessions.end(
            person.session.session_id, name, actor(person.operator), "signed out"
        )
        answer = self._renderer.redirect("/console/login?done=out")
        self._cookies.drop(answer, SESSION)
        return answer
