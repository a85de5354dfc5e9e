"""How a page is made, and the headers that keep it ours.

(1) every value is escaped by the template engine; there is no way around it in our templates
(2) before that, what could mislead an eye is made visible: control and direction characters,
    invisible letters (H4). Names and reasons may come from an agent, and an agent may be told by
    somebody else what to call things
(3) no script runs, ours or another's, and nothing is loaded from elsewhere (Content-Security-
    Policy); no other page may frame ours (clickjacking)
(4) nothing is cached: a shared browser shows nothing after signing out
"""

from __future__ import annotations

import importlib.resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from cryogate.domain.safe_text import clean
from cryogate.server.session_auth import Person

_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # not "no-referrer": browsers would then send ``Origin: null`` with our own forms
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_STATIC: Final = {"console.css": "text/css", "icon.svg": "image/svg+xml"}
_NOTHING: Final = "\u2013"
_HSTS: Final = {"strict-transport-security": "max-age=31536000"}


def shown(value: object) -> object:
    """A value as it may appear on a page (2); escaping comes after this."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return _NOTHING
    if isinstance(value, str):
        return clean(value, lines=True)
    return value if isinstance(value, int) else clean(value)


def money(cents: int | None, currency: str) -> str:
    """An amount for people."""
    return _NOTHING if cents is None else f"{cents // 100}.{cents % 100:02d} {currency}"


def moment(text: str | None) -> str:
    """An RFC 3339 time for people."""
    return _NOTHING if text is None else f"{text[:10]} {text[11:19]} UTC"


class Renderer:
    """Templates and headers of one deployment.

    ``always_tls`` tells browsers to use nothing else from now on: not for ``localhost``, which
    other programs have too.
    """

    def __init__(self, *, always_tls: bool, version: str) -> None:
        self._headers = {**_HEADERS, **(_HSTS if always_tls else {})}
        self._environment = Environment(
            loader=PackageLoader("cryogate.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(money=money, moment=moment)
        self._environment.globals.update(version=version)
        folder = importlib.resources.files("cryogate.console") / "static"
        self._files = {
            name: ((folder / name).read_bytes(), media) for name, media in _STATIC.items()
        }

    def page(
        self, template: str, person: Person | None, *, status: int = 200, **values: Any
    ) -> Response:
        """A page; ``person`` is who looks at it, None before signing in."""
        text = self._environment.get_template(template).render(person=person, **values)
        return Response(text, status, self._headers, media_type="text/html")

    def redirect(self, path: str) -> Response:
        """On to another page, by GET. ``path`` is ours, never from a request."""
        return Response(status_code=303, headers={**self._headers, "location": path})

    def file(self, name: str) -> Response:
        """One of the files that belong to every page."""
        data, media = self._files[name]
        headers = {**self._headers, "cache-control": "public, max-age=300"}
        return Response(data, headers=headers, media_type=media)
