"""``resource`` (RFC 8707): for which of our resources a token is wanted.

A token is for agents' resources or for operators' and for nothing else, whatever is said here. So
the parameter widens nothing: it may only agree, and a token for somebody else's resource is refused
instead of issued for ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryogate.broker.oauth import OAuthError

MAX: Final = 2048
_ADMIN: Final = "/admin/"


def check_resource(form: Mapping[str, str], issuer: str, *, operator: bool) -> None:
    """Refuse a resource that is none of ours, or not for who asks.

    Raises:
        OAuthError: ``invalid_target`` (RFC 8707 section 2).
    """
    named = form.get("resource")
    if named is None:
        return
    path = named.removeprefix(issuer)
    # An absolute URI of this server, without query, fragment or a way around its path.
    ours = named.startswith(issuer) and path[:1] in ("", "/") and len(named) <= MAX
    plain = path.isascii() and path.isprintable() and not set("?#\\%") & set(path)
    if not (ours and plain and ".." not in path):
        raise OAuthError("invalid_target", f"resource is {issuer} or a path under it")
    if path.startswith(_ADMIN) != operator and path not in ("", "/"):
        raise OAuthError("invalid_target", "this resource is not for this client")
