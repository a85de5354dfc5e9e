"""Who may decide: operators by name, and when two names are one person.

Operator client ids are ``operator:`` and a slug; no agent id contains a colon, so an agent can
never be named as the actor of a decision or of a changed limit (A8, B5).
"""

from __future__ import annotations

import unicodedata

from cryogate.domain.errors import Forbidden
from cryogate.domain.ids import is_slug
from cryogate.domain.texts import require_plain

_PREFIX = "operator:"
_MAX_NOTE = 1000


def require_operator(actor: str) -> str:
    """Return ``actor``, an operator's client id.

    Raises:
        Forbidden: not an operator.
    """
    if not actor.startswith(_PREFIX) or not is_slug(actor[len(_PREFIX) :]):
        raise Forbidden("operators_only", "only an operator may do this")
    return actor


def _names(identity: str) -> frozenset[str]:
    folded = unicodedata.normalize("NFKC", identity).strip().casefold().removeprefix(_PREFIX)
    return frozenset({folded, folded.partition("@")[0]})


def same_person(one: str, other: str) -> bool:
    """Whether two ids must be taken for one person (H3).

    Case, width and the ``operator:`` prefix do not make two people, nor does a mail domain when
    the other id has none. A wrong yes costs a second pair of eyes; a wrong no costs the control.
    """
    mine, theirs = _names(one), _names(other)
    if "@" in one and "@" in other:
        return max(mine, key=len) == max(theirs, key=len)
    return not mine.isdisjoint(theirs)


def require_note(note: str) -> str:
    """Return ``note``, text that is safe to show and to log (H4).

    Raises:
        Malformed: too long, or with control, bidirectional or invisible characters.
    """
    return require_plain(note, _MAX_NOTE, "note")


def person_key(person: str) -> str:
    """One spelling of a person's name, so that a key of votes holds each person once (H3)."""
    return unicodedata.normalize("NFKC", person).strip().casefold().removeprefix(_PREFIX)
