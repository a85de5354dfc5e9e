"""Who is calling, as the token and its proof have shown."""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.domain.grants import Grant
from cryogate.ports.revocations import Subject
from cryogate.tokens.access import VerifiedToken


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
    key: str | None = None
    ancestors: tuple[str, ...] = ()

    @staticmethod
    def of(token: VerifiedToken, grant: Grant) -> Caller:
        """The caller that a proven token shows: the agent that acts, whoever it acts for."""
        return Caller(
            token.client_id,
            token.owner,
            token.token_id,
            token.issued_ms,
            token.expires_ms,
            grant,
            token.chain,
            token.jkt or token.x5t,
            token.ancestors,
        )

    def subject(self, session_id: str | None = None) -> Subject:
        """Everything by which this caller could have been revoked."""
        return Subject(
            token_id=self.token_id,
            agent_id=self.agent_id,
            owner=self.owner,
            experiment_id=self.grant.experiment_id,
            issued_ms=self.issued_ms,
            session_id=session_id,
            key=self.key,
            ancestors=self.ancestors,
            delegators=self.actor_chain[:-1],
        )
