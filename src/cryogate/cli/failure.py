"""Errors as people and programs read them, and the exit codes.

0 ok · 1 refused · 2 usage · 3 unavailable · 4 verification failed · 130 interrupted
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from cryogate.cli.options import Settings
from cryogate.cli.output import show, table
from cryogate.domain.decisions import Violation
from cryogate.domain.errors import CryogateError, Refused, Unavailable
from cryogate.domain.safe_text import clean, to_json

OK, REFUSED, USAGE, UNAVAILABLE, UNVERIFIED = 0, 1, 2, 3, 4

# What to do next, by code. A code that is not here still has its detail and its violations.
_NEXT = {
    "invalid_client": "Check that the agent exists and this key is its own: cryogate agent show.",
    "invalid_dpop_proof": "Compare this machine's clock with the server's; a minute is too much.",
    "access_denied": "Policy said no; an operator can see why: cryogate audit events.",
    "no_credential": "Name a credential file with --as or CRYOGATE_AGENT (agents), or the server's "
    "state directory with --state-dir (operators).",
    "exposed_credential": "Make the file its owner's alone, then rotate the key.",
    "revoked": "The right was withdrawn on purpose; ask an operator: cryogate revocation list.",
    "unauthorized_client": "An operator can see why: cryogate agent show, revocation list.",
    "session_not_found": "A session ends with its token, after minutes: cryogate session open.",
    "budget_exceeded": "Ask an operator for more: cryogate budget set.",
    "no_experiment": "Name it with --experiment, or put experiment_id into the credential file.",
}
# Only the waiting ended: nothing was refused.
_GOES_ON = frozenset({"WaitExpired", "StillUndecided"})
_REACH = "Is the server running? Start it with: cryogate up. Its address: --url or CRYOGATE_URL."
_LATER = "Nothing was changed as far as can be told; try again in a moment."


class VerificationFailed(CryogateError):
    """Something that must hold does not: evidence of a fault or of tampering."""


def exit_code(error: CryogateError) -> int:
    """The exit code for ``error``."""
    if isinstance(error, VerificationFailed):
        return UNVERIFIED
    if isinstance(error, Unavailable) or type(error).__name__ in _GOES_ON:
        return UNAVAILABLE
    return REFUSED


def report(settings: Settings, error: CryogateError) -> None:
    """Tell of ``error`` on standard error: a problem document, or text."""
    if settings.as_json:
        click.echo(to_json(problem(error)), err=True)
        return
    violations: Sequence[Violation] = ()
    if isinstance(error, Refused):
        title = getattr(error, "title", "") or error.code.replace("_", " ")
        headline = f"refused: {title}" if title != error.detail else "refused"
        click.echo(clean(headline), err=True)
        click.echo(f"  {clean(error.detail)}", err=True)
        violations = error.violations
        table(
            ("limit", "allowed", "actual", "hint"),
            [(v.limit, show(v.allowed), show(v.actual), v.hint) for v in violations],
            err=True,
        )
    else:
        click.echo(clean(f"{_headline(error)}: {error}"), err=True)
    if advice := _advice(error):
        click.echo(f"  next: {clean(advice)}", err=True)


def problem(error: CryogateError) -> dict[str, object]:
    """``error`` as an RFC 9457 problem document; ``exit`` is the exit code."""
    code = error.code if isinstance(error, Refused) else _headline(error).replace(" ", "_")
    document: dict[str, object] = {
        "type": f"https://cryogate.dev/problems/{code}",
        "title": getattr(error, "title", "") or code.replace("_", " "),
        "status": getattr(error, "status", None),
        "code": code,
        "detail": str(error),
        "exit": exit_code(error),
    }
    if isinstance(error, Refused):
        document["violations"] = [asdict(v) for v in error.violations]
    if advice := _advice(error):
        document["next"] = advice
    return document


def _headline(error: CryogateError) -> str:
    if isinstance(error, VerificationFailed):
        return "verification failed"
    if isinstance(error, Unavailable):
        return "unavailable"
    name = type(error).__name__
    return {"JobEnded": "job ended", "WaitExpired": "still waiting"}.get(name, "failed")


def _advice(error: CryogateError) -> str:
    if isinstance(error, Refused):
        return _NEXT.get(error.code, "")
    if isinstance(error, Unavailable):
        return _LATER if getattr(error, "status", None) else _REACH
    job = getattr(error, "job", None)
    if job is not None and type(error).__name__ in _GOES_ON:
        return f"It goes on by itself; look with: cryogate job show {job.job_id}"
    return str(getattr(job, "next", "") or "")
