"""Which statements can speak about which agent and action, worked out once when a bundle is read.

A deployment writes statements for single agents (`cryogate policy suggest` does), and a decision
must not look at those of all the others. The index is derived from the statements and from nothing
else: here it is always computed; for an OPA server it is written into the bundle when that is
signed, and a bundle whose index is not the computed one is never put in force, for an index that
left out a deny would be a hole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, get_args

from cryogate.ports.policy import Action

FILE = "cryogate_index/data.json"


def index_of(statements: Mapping[str, Any]) -> dict[str, Any]:
    """``by_agent``: all sids that can speak about an agent named exactly; ``others``: about the
    rest; each by the action that they can speak about. A principal with a pattern, or without
    ``agent``, can be about anybody."""
    others: list[str] = []
    named: dict[str, list[str]] = defaultdict(list)
    for sid, statement in sorted(statements.items()):
        agents = _exact(statement.get("principal"))
        if agents is None:
            others.append(sid)
        for agent in agents or ():
            named[agent].append(sid)
    return {
        "by_agent": {
            agent: _by_action(statements, sorted([*sids, *others]))
            for agent, sids in sorted(named.items())
        },
        "others": _by_action(statements, others),
    }


def _by_action(statements: Mapping[str, Any], sids: list[str]) -> dict[str, list[str]]:
    return {
        action: [sid for sid in sids if _matches(statements[sid].get("actions"), action)]
        for action in get_args(Action)
    }


def _matches(patterns: Any, name: str) -> bool:
    """What ``matches`` of the rules says: an exact name, or a prefix and one star."""
    listed = patterns if isinstance(patterns, list) else ()
    return any(
        pattern == name or (pattern.endswith("*") and name.startswith(pattern[:-1]))
        for pattern in listed
        if isinstance(pattern, str)
    )


def _exact(principal: Any) -> list[str] | None:
    """The agents that a principal names exactly; None when it can be about others too."""
    patterns = principal.get("agent") if isinstance(principal, dict) else None
    listed = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(listed, list) or any(str(p).endswith("*") for p in listed):
        return None
    return sorted(set(listed))
