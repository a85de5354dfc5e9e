"""What can go wrong with the log.

::

    CryogateError
    ├── LogIntegrityError    the stored log contradicts what was signed; nothing may go on
    │   ├── NoteRefused          bytes that are no note, or carry no trusted signature
    │   ├── TimestampRefused     a time-stamp token that does not verify, or was not given
    │   └── HeadConflict         another head is in the second store than the one expected
    ├── NotInLog             (Refused: NotFound) no such entry, size or tile
    ├── HeadUnavailable      (Unavailable) the second store did not answer
    └── WitnessFailed        (Unavailable) a witness gave no cosignature this time
        └── WitnessContradicts   it has cosigned what this log does not have
"""

from __future__ import annotations

from cryogate.domain.errors import CryogateError, NotFound, Unavailable


class LogIntegrityError(CryogateError):
    """The log is not what was signed. The message says what differs and what to do."""


class NoteRefused(LogIntegrityError):
    """Not a well-formed note, or no valid signature of a trusted key is on it."""


class TimestampRefused(LogIntegrityError):
    """A time-stamp token does not verify, or the authority gave none."""


class HeadConflict(LogIntegrityError):
    """The head in the second store is not the one that was to be replaced."""


class HeadUnavailable(Unavailable):
    """The second store cannot be read or written now."""


class WitnessFailed(Unavailable):
    """A witness did not cosign. The message says why, in words of ours."""


class WitnessContradicts(WitnessFailed):
    """A witness knows another history of this log, or a longer one."""


class NotInLog(NotFound):
    """No such entry, tree size or tile."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_in_log", detail)
