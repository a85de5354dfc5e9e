"""No cookies: what one answer sets must not travel with the next request, of another caller."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy


def refusing_jar() -> CookieJar:
    """A jar that keeps nothing. A client without one carries a login over to the next caller."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
