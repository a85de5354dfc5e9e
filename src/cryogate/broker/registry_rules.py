"""What names, roles and attributes may be, for agents and operators."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

from cryogate.domain.agents import AGENT_ROLES, Role
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Malformed

OPERATOR_ROLES: Final = frozenset({"admin", "approver", "auditor"})
MAX_ATTRIBUTES: Final = 32
# Lower case only: two owners must never be one person written in two ways (A4, H3).
_OWNER: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,126}[a-z0-9])?", re.ASCII)
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def agent_roles(roles: Collection[Role]) -> frozenset[Role]:
    """Roles that an agent may have.

    Raises:
        Malformed: not acceptable.
    """
    given = frozenset(roles)
    if not given <= AGENT_ROLES:
        raise Malformed("role_refused", "agents are never given a role that is for humans")
    return given


def operator_roles(roles: Collection[str]) -> frozenset[str]:
    """Roles that an operator may have.

    Raises:
        Malformed: not acceptable.
    """
    given = frozenset(roles)
    if not given or not given <= OPERATOR_ROLES:
        raise Malformed("role_refused", "operators are admin, approver or auditor")
    return given


def owner_name(owner: str) -> str:
    """The name of a human owner.

    Raises:
        Malformed: not acceptable.
    """
    if _OWNER.fullmatch(owner) is None:
        raise Malformed(
            "malformed_name", "owner must be 1 to 128 of a-z 0-9 . _ @ + -, in lower case"
        )
    return owner


def _anything(value: Scalar) -> bool:
    return True


# What conditions of policy compare is of one type, so that a mistyped value is told here and does
# not silently become "not kept".
_KNOWN: Final[Mapping[str, Callable[[Scalar], bool]]] = {
    "model": lambda value: isinstance(value, str) and value.isascii() and value.isprintable(),
    "model_confidence": lambda value: type(value) is int and 0 <= value <= 100,
    "sandboxed": lambda value: isinstance(value, bool),
}


def plain_attributes(attributes: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Attributes that policy can read.

    Raises:
        Malformed: not acceptable.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise Malformed("malformed_attributes", f"an agent has at most {MAX_ATTRIBUTES} attributes")
    for name, value in attributes.items():
        if _ATTRIBUTE.fullmatch(name) is None:
            raise Malformed("malformed_attributes", "attribute names are lower_snake_case")
        known = value is None or isinstance(value, (str, int))
        if not known or (isinstance(value, str) and len(value) > 256):
            raise Malformed("malformed_attributes", f"attribute {name} is not short and plain")
        if isinstance(value, int) and not -(2**53) < value < 2**53:
            raise Malformed("malformed_attributes", f"attribute {name} is beyond 2**53")
        if not _KNOWN.get(name, _anything)(value):
            raise Malformed("malformed_attributes", f"attribute {name} is not what policy reads")
    return dict(attributes)
