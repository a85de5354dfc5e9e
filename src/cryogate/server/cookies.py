"""Cookies of the console: their names, their flags, and how one is read.

Over https every name begins with ``__Host-``: the browser then insists on Secure, Path=/ and no
Domain, so that no other host, and no network, can plant one. Browsers do not store such a cookie
from clear-text http; that is served on loopback only, with names that begin with ``insecure-`` and
hold the port, because cookies of one address are shared by all its ports.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

SESSION, OIDC, FORM = "session", "oidc", "form"


class Cookies:
    """The cookies of one deployment, whose base URL is ``base_url``."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._secure = parts.scheme == "https"
        self._prefix = "__Host-cryogate-" if self._secure else f"insecure-cryogate-{parts.port}-"

    def name(self, kind: str) -> str:
        """The full name of a cookie."""
        return self._prefix + kind

    def read(self, request: Request, kind: str) -> str | None:
        """The one value of a cookie; None if there is none, or more than one.

        Two of one name mean that somebody else has put one there; we do not guess which.
        """
        wanted = self.name(kind)
        found: list[str] = []
        for name, value in request.scope["headers"]:
            if name != b"cookie":
                continue
            for part in value.decode("latin-1").split(";"):
                key, equals, text = part.strip().partition("=")
                if equals and key == wanted:
                    found.append(text)
        return found[0] if len(found) == 1 else None

    def put(
        self, response: Response, kind: str, value: str, max_age_s: int, *, strict: bool = True
    ) -> None:
        """Set a cookie. Not ``strict`` is for the one that must survive the provider's redirect."""
        response.set_cookie(
            self.name(kind), value, max_age=max_age_s, path="/", secure=self._secure,
            httponly=True, samesite="strict" if strict else "lax",
        )  # fmt: skip

    def drop(self, response: Response, kind: str) -> None:
        """Remove a cookie."""
        response.delete_cookie(
            self.name(kind), path="/", secure=self._secure, httponly=True, samesite="strict"
        )
