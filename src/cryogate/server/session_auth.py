"""A person's session as the credential of a request.

A cookie goes along with requests that the person never meant to make. So:

 (1) there is one session cookie, not two
 (2) the browser says that the request comes from our own pages (Fetch Metadata); a plain
     navigation may also come from the address bar. Nothing that a navigation, a prefetch or an
     image can do changes anything: those are GETs, and GETs only show (H4)
 (3) what may change something names our own origin in ``Origin``, always
 (4) and carries the session's CSRF token, in the form or in ``X-CSRF-Token``
 (5) the session is open on the server and its operator is active
 (6) nothing revokes the operator, in a view that is not stale

``SameSite=Strict`` alone would nearly do, but sites are wider than origins: on loopback every port
is the same site. Each of (2) to (4) is enough where the browser is honest; together they hold when
one of them is forgotten by a browser, a proxy or us.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from cryogate.broker.humans.sessions import HumanSessions
from cryogate.domain.agents import Operator
from cryogate.domain.errors import Forbidden, Unauthenticated
from cryogate.domain.humans import HumanSession
from cryogate.ports.revocations import RevocationView, Subject
from cryogate.server.cookies import SESSION, Cookies
from cryogate.server.forms import read_form

_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in, with the fields of the form that was posted."""

    operator: Operator
    session: HumanSession
    csrf: str = field(repr=False)
    form: Mapping[str, str] = field(repr=False)


class SessionAuth:
    """Steps (1) to (6)."""

    def __init__(
        self, sessions: HumanSessions, revocations: RevocationView, cookies: Cookies, scheme: str
    ) -> None:
        self._sessions, self._revocations = sessions, revocations
        self._cookies, self._scheme = cookies, scheme

    def present(self, request: Request) -> bool:
        """Whether the request brings a session cookie at all."""
        return self._cookies.read(request, SESSION) is not None

    async def operator(self, request: Request) -> Operator:
        """The operator of a request to the API.

        Raises:
            Unauthenticated, Forbidden, Unavailable: any of (1) to (6) does not hold.
        """
        person = await self._person(request, request.headers.get("x-csrf-token"), {})
        if person.session.must_choose_password:
            raise Forbidden("choose_password", "choose a password in the console first")
        return person.operator

    async def person(self, request: Request) -> Person:
        """The person of a request to a page, with the form it posts.

        Raises:
            Unauthenticated, Forbidden, Malformed, Unavailable: as `operator`.
        """
        if request.method in _SAFE:
            return await self._person(request, None, {})
        self.check_source(request)
        form = dict(await read_form(request))
        return await self._person(request, form.pop("csrf", None), form)

    async def _person(self, request: Request, csrf: str | None, form: Mapping[str, str]) -> Person:
        secret = self._cookies.read(request, SESSION)  # (1)
        if secret is None:
            raise Unauthenticated("no_session", "sign in first")
        self.check_source(request)  # (2), (3)
        expected = csrf_token(secret)
        if request.method not in _SAFE and not same(csrf, expected):  # (4)
            raise Forbidden("csrf", "this page is out of date; load it again and repeat")
        session = await self._sessions.find(secret)  # (5)
        if session is None:
            raise Unauthenticated("session_over", "your session is over; sign in again")
        name = session.operator.operator_id
        revoked = self._revocations.revoked(  # (6)
            Subject(session.session_id, f"operator:{name}", name, "", session.created_ms)
        )
        # The global switch stops agents, not the people who must be able to turn it off again.
        if revoked is not None and revoked != "all":
            raise Unauthenticated("revoked", f"revoked: {revoked.value}")
        return Person(session.operator, session, expected, form)

    def check_source(self, request: Request) -> None:
        """Steps (2) and (3), which hold for the sign-in form too.

        Raises:
            Forbidden: the request does not come from our own pages.
        """
        headers = request.headers
        site = headers.get("sec-fetch-site")
        safe = request.method in _SAFE
        if site is not None and site != "same-origin":
            shown = (
                safe
                and headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest") == "document"
            )
            if not (shown or (safe and site == "none")):
                raise Forbidden("foreign_request", "pages of other sites may not ask this")
        # The host was found to be ours before anything else was looked at (P3).
        if not safe and headers.get("origin") != f"{self._scheme}://{headers.get('host')}":
            raise Forbidden("foreign_request", "pages of other sites may not ask this")


def csrf_token(secret: str) -> str:
    """The token of the session or form whose cookie is ``secret``: it cannot be turned back."""
    digest = hmac.digest(secret.encode("latin-1"), b"cryogate csrf token", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def same(given: str | None, expected: str) -> bool:
    """Whether the token is the expected one, in constant time."""
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())
