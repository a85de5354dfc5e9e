"""From an identity provider's claims to a name and roles here. Unknown is nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryogate.domain.errors import Forbidden
from cryogate.domain.ids import is_slug

_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")
_MOST_VALUES: Final = 1000
_MOST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """``roles`` maps values of the claim ``roles_claim`` to roles; others mean nothing."""

    roles_claim: str
    roles: Mapping[str, str]
    name_claim: str


def roles_of(claims: Mapping[str, object], rules: ClaimRules) -> frozenset[str]:
    """The roles of a person: exact matches of text values only, so usually none."""
    value = _claim(claims, rules.roles_claim)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        return frozenset()
    known = (rules.roles.get(v) for v in values[:_MOST_VALUES] if isinstance(v, str))
    return frozenset(role for role in known if role is not None)


def name_of(claims: Mapping[str, object], rules: ClaimRules) -> str:
    """The operator's name: the claim's part before any ``@``, as a slug.

    Raises:
        Forbidden: the claim is not there, or nothing of it makes a name.
    """
    value = _claim(claims, rules.name_claim)
    if isinstance(value, str) and 0 < len(value) <= _MOST_NAME:
        plain = unicodedata.normalize("NFKD", value).casefold().partition("@")[0]
        slug = _NOT_SLUG.sub("-", plain.encode("ascii", "ignore").decode()).strip("-")
        if is_slug(slug):
            return slug
    raise Forbidden("no_name", f"the identity provider sent no usable {rules.name_claim}")


def person_of(claims: Mapping[str, object]) -> str:
    """The human behind the account, by the name under which they may own agents (H3)."""
    mail = claims.get("email") if claims.get("email_verified") is not False else None
    for name in (mail, claims.get("upn"), claims.get("preferred_username")):
        if isinstance(name, str) and 0 < len(name) <= _MOST_NAME and name.isprintable():
            return unicodedata.normalize("NFKC", name).strip().casefold()
    return ""


def _claim(claims: Mapping[str, object], name: str) -> object:
    """A claim by its name, or by a path of names with dots between them."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
