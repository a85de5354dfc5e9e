"""Who is calling, as the token and its proof have shown."""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.domain.grants import Grant
from cryogate.ports.revocations import Subject


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified access token whose possession was proven on this very request."""

    agent_id: str
    owner: str
    token_id: str
    issued_ms: int
    expires_ms: int
    grant: Grant
    actor_chain: tuple[str, ...] = ()

    def subject(self, session_id: str | None = None) -> Subject:
        """Everything by which this caller could have been revoked."""
        return Subject(
            token_id=self.token_id,
            agent_id=self.agent_id,
            owner=self.owner,
            experiment_id=self.grant.experiment_id,
            issued_ms=self.issued_ms,
            session_id=session_id,
        )
