"""What the OAuth endpoints read and how they refuse."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.oauth import MAX_FORM_BYTES, OAuthError, read_form
from cryogate.server.bodies import read_body
from cryogate.server.replies import reply

_FORM = "application/x-www-form-urlencoded"


async def read_oauth_form(request: Request) -> dict[str, str]:
    """The form of a request, each parameter once.

    Raises:
        OAuthError: it is none.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != _FORM:
        raise OAuthError("invalid_request", f"send the request as {_FORM}")
    return read_form(await read_body(request, MAX_FORM_BYTES))


def refused(error: OAuthError) -> Response:
    """The refusal in OAuth's words."""
    return reply(error.document(), error.status, error.headers())
