"""From an answer that is not a success to one of our errors (RFC 9457, RFC 6749 section 5.2)."""

from __future__ import annotations

import msgspec

from cryogate.client.errors import Refused, Unavailable
from cryogate.client.messages import Reply
from cryogate.domain.decisions import Scalar, Violation

_MAX_PROBLEM_BYTES = 256 << 10
_MAX_TEXT = 2_000
_MAX_VIOLATIONS = 100

_Value = Scalar | tuple[Scalar, ...]


class _Violation(msgspec.Struct, frozen=True):
    limit: str
    allowed: _Value = None
    actual: _Value = None
    hint: str = ""


class _Problem(msgspec.Struct, frozen=True):
    type: str = ""
    title: str = ""
    detail: str = ""
    error: str = ""
    error_description: str = ""
    violations: tuple[_Violation, ...] = ()


def error_of(reply: Reply, secrets: tuple[str, ...] = ()) -> Refused | Unavailable:
    """The error that ``reply`` means. ``secrets`` are blanked wherever the server echoes them."""
    problem = _read(reply)

    def fit(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "…")
        return text[:_MAX_TEXT]

    def value(found: _Value) -> _Value:
        if isinstance(found, tuple):
            return tuple(fit(v) if isinstance(v, str) else v for v in found[:_MAX_VIOLATIONS])
        return fit(found) if isinstance(found, str) else found

    detail = fit(problem.detail or problem.error_description)
    if reply.status >= 500:
        return Unavailable(detail or f"the server answered {reply.status}", reply.status)
    code = fit(problem.type.rsplit("/", 1)[-1] or problem.error) or f"http_{reply.status}"
    violations = tuple(
        Violation(fit(v.limit), value(v.allowed), value(v.actual), fit(v.hint))
        for v in problem.violations[:_MAX_VIOLATIONS]
    )
    title = fit(problem.title) or code.replace("_", " ")
    return Refused(reply.status, code, title, detail or title, violations)


def _read(reply: Reply) -> _Problem:
    kind = reply.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in ("application/problem+json", "application/json"):
        return _Problem()
    if len(reply.body) > _MAX_PROBLEM_BYTES:
        return _Problem()
    try:
        return msgspec.json.decode(reply.body, type=_Problem)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _Problem()
