"""Errors as RFC 9457 problem documents.

A `Refused` tells the caller everything it carries. Anything else tells nothing: the cause goes
to the log under the request's id, and the id goes to the caller.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import asdict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.domain.errors import (
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    Refused,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from cryogate.telemetry.requests import request_id
from cryogate.tokens.errors import NonceRequired, TokenError
from cryogate.tokens.guard import challenge

log = logging.getLogger("cryogate.server")

TYPE_BASE = "https://cryogate.dev/problems/"
MEDIA_TYPE = "application/problem+json"

# First match wins, so the more special stands first.
STATUS: tuple[tuple[type[Refused], int, str], ...] = (
    (Malformed, 400, "The request could not be read"),
    (Unauthenticated, 401, "The credential was not accepted"),
    (Forbidden, 403, "This is not allowed"),
    (NotFound, 404, "There is no such thing"),
    (Conflict, 409, "This contradicts the present state"),
    (Throttled, 429, "Too much, too fast"),
    (Refused, 400, "The request was refused"),
)


class TooLarge(Malformed):
    """The body is larger than this server reads."""


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    violations: tuple[object, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem document."""
    document: dict[str, object] = {
        "type": TYPE_BASE + code,
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if violations:
        document["violations"] = violations
    return Response(
        msgspec.json.encode(document),
        status,
        {"cache-control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def refusal(error: Refused) -> Response:
    """The document for a refusal."""
    status, title = next((s, t) for kind, s, t in STATUS if isinstance(error, kind))
    if isinstance(error, TooLarge):
        status = 413
    elif error.code.startswith("circuit_"):
        status = 422
    headers = {}
    if isinstance(error, Throttled):
        headers["retry-after"] = str(error.retry_after_s)
    if status == 401:
        # RFC 6750 section 3, RFC 9449 section 7.1
        if isinstance(error, TokenError):
            headers["www-authenticate"] = challenge(error)
        else:
            headers["www-authenticate"] = 'DPoP error="invalid_token", algs="ES256"'
        if isinstance(error, NonceRequired):
            headers["dpop-nonce"] = error.nonce  # RFC 9449 section 9
    violations = tuple(asdict(v) for v in error.violations)
    return problem(status, error.code, title, error.detail, violations=violations, headers=headers)


async def on_refused(request: Request, error: Exception) -> Response:
    """Exception handler for `Refused`."""
    if not isinstance(error, Refused):
        return await on_crash(request, error)
    return refusal(error)


async def on_unavailable(request: Request, error: Exception) -> Response:
    """Exception handler for `Unavailable`: no answer is a no, and may be asked again."""
    incident = _incident(request, error, "unavailable")
    return problem(
        503,
        "unavailable",
        "A part that must answer did not",
        f"{_said(request, error)} (incident {incident})",
        headers={"retry-after": "1"},
    )


def _said(request: Request, error: Exception) -> str:
    """No more than is known: a part that broke off may have done what was asked."""
    if isinstance(error, Unavailable) and error.told:
        return error.told
    if request.method in ("GET", "HEAD"):
        return "there is no answer now; try again later"
    return "it may have been done or not: look, then ask again"


async def on_crash(request: Request, error: Exception) -> Response:
    """Exception handler for everything else: a bug is a refusal that tells nothing."""
    incident = _incident(request, error, "failed")
    return problem(
        500, "internal", "The server failed", f"tell the operator about incident {incident}"
    )


def _incident(request: Request, error: Exception, how: str) -> str:
    """Tell operators, under the id that the caller is given: the request's."""
    incident = request_id() or secrets.token_hex(6)
    log.error("incident %s: %s %s %s", incident, request.method, request.url.path, how,
              exc_info=error)  # fmt: skip
    return incident


async def on_http_error(request: Request, error: Exception) -> Response:
    """Exception handler for the router's own 404 and 405."""
    status = getattr(error, "status_code", 404)
    if status == 405:
        return problem(405, "method_not_allowed", "No such method here", "see the API description",
                       headers=dict(getattr(error, "headers", None) or {}))  # fmt: skip
    return problem(404, "no_such_path", "There is nothing here", "see the API description")
