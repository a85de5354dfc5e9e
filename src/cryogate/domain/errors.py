"""The one error tree.

::

    CryogateError
    ├── Refused              the caller asked for something it may not have (4xx)
    │   ├── Malformed            the request could not be read into its type
    │   ├── Unauthenticated      no, foreign, expired, revoked or unproven credential
    │   ├── Forbidden            authenticated, but not allowed
    │   ├── NotFound             absent, or not the caller's to know about
    │   ├── Conflict             true in itself, but not in the present state
    │   └── Throttled            too much, too fast; says when to come back
    └── Unavailable          we could not find out, therefore no (503)

A `Refused` carries only text that is fit for the caller. An `Unavailable` never carries
its cause to the caller: the cause goes to the log through ``raise … from``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryogate.domain.decisions import Violation


class CryogateError(Exception):
    """Base of every error raised on purpose."""


class Refused(CryogateError):
    """A refusal that the caller may read.

    ``code`` is a stable snake_case name, ``detail`` one sentence for people,
    ``violations`` what exactly would have to change.
    """

    def __init__(self, code: str, detail: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.violations = tuple(violations)


class Malformed(Refused):
    """The request could not be read into its strict type."""


class Unauthenticated(Refused):
    """The credential is absent, foreign, expired, revoked or not proven."""


class Forbidden(Refused):
    """The caller is known and may not do this."""


class NotFound(Refused):
    """No such thing, or not the caller's to know about: both look the same (A1)."""


class Conflict(Refused):
    """The request contradicts the present state."""


class Throttled(Refused):
    """Too much or too fast. ``retry_after_s`` is when another try can do better."""

    def __init__(
        self,
        code: str,
        detail: str,
        violations: Sequence[Violation] = (),
        *,
        retry_after_s: int,
    ) -> None:
        super().__init__(code, detail, violations)
        self.retry_after_s = max(1, retry_after_s)


class Unavailable(CryogateError):
    """A part that must answer did not. No answer is a no.

    ``told`` is what a client may hear of it, where more can be said than that.
    """

    told = ""
