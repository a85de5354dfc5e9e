"""Refusals per agent in the last ten minutes, in memory.

They are counted in this process and begin at zero when it starts: nothing is read or written for
them while a request waits. A deployment of several processes sees a share each, so a limit on them
is a brake for a runaway agent and never the only one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from cryogate.ports.denials import Denials

WINDOW_MS: Final = 600_000
_MOST: Final = 1000  # more than this need not be told apart
_AGENTS: Final = 10_000


class RecentDenials(Denials):
    """Bounded in memory whatever happens: `_MOST` instants of each of `_AGENTS` agents."""

    def __init__(self, window_ms: int = WINDOW_MS) -> None:
        self._window_ms = window_ms
        self._seen: OrderedDict[str, deque[int]] = OrderedDict()

    def record(self, agent_id: str, now_ms: int) -> None:
        """See `Denials.record`. The agent that was refused longest ago is forgotten first."""
        instants = self._seen.get(agent_id)
        if instants is None:
            instants = self._seen[agent_id] = deque(maxlen=_MOST)
            if len(self._seen) > _AGENTS:
                self._seen.popitem(last=False)
        instants.append(now_ms)
        self._seen.move_to_end(agent_id)

    def recent(self, agent_id: str, now_ms: int) -> int:
        """See `Denials.recent`."""
        instants = self._seen.get(agent_id)
        if instants is None:
            return 0
        oldest = now_ms - self._window_ms
        while instants and instants[0] <= oldest:
            instants.popleft()
        return len(instants)
