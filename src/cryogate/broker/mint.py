"""Step (3) of issuing: durable, then signed.

The row, the spent assertion and the event commit together or not at all; a token exists only
once they have. Whether agent, key and experiment are still good is asked by the insert itself,
under locks that a revocation needs as well (see ``token_insert`` in tokens.sql).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import structs

from cryogate.broker.authn import Client
from cryogate.broker.oauth import OAuthError, invalid_client
from cryogate.broker.status_list import StatusPlaces
from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Event
from cryogate.ports.clock import Clock
from cryogate.ports.keys import TokenSigner
from cryogate.ports.store import AlreadyExists, GuardFailed, Statement, Store, UnitOfWork
from cryogate.tokens import access
from cryogate.tokens.claims import AccessClaims

# Assertions are kept this long after their end, in case a clock is set back.
_SWEEP_AFTER_MS: Final = 600_000
_SWEEP_EVERY_MS: Final = 60_000
# How far a token may be dated ahead to be later than a revocation; verifiers allow 5 s.
_MAX_AHEAD_S: Final = 4


@dataclass(frozen=True, slots=True)
class Draft:
    """A token as it will be: the claims, the guarded insert of its row, and its event.

    ``first`` are statements that must hold before, such as the use of another assertion.
    """

    claims: AccessClaims
    insert: Statement
    event: Event
    first: tuple[Statement, ...] = ()


class Mint:
    """Turns drafts into tokens."""

    def __init__(
        self, store: Store, signer: TokenSigner, clock: Clock, places: StatusPlaces | None = None
    ) -> None:
        self._store, self._signer, self._clock, self._places = store, signer, clock, places
        self._swept_ms = 0

    async def issue_second(
        self, now_ms: int, *, agent_id: str, owner: str, experiment_id: str
    ) -> int:
        """The ``iat`` of a token issued now, in epoch seconds.

        A revocation ends what was issued up to its time. Seconds are coarse: an agent that is let
        in again within the second of its revocation would get a token that is dead already, so
        such a token is dated into the next second. It is a new decision, made after the
        revocation was lifted, which the guard of the insert confirms.

        Raises:
            Unavailable: a revocation lies further ahead of this clock than verifiers would accept.
        """
        row = await self._store.fetch_one(
            "revocation_latest",
            {
                "now_ms": now_ms,
                "agent_id": agent_id,
                "owner": owner,
                "experiment_id": experiment_id,
            },
        )
        latest_ms = row["ms"] if row is not None else None
        second = now_ms // 1000
        if isinstance(latest_ms, int):
            second = max(second, latest_ms // 1000 + 1)
        if second > now_ms // 1000 + _MAX_AHEAD_S:
            raise Unavailable("a revocation is dated ahead of this clock")
        return second

    async def mint(self, client: Client, draft: Draft) -> str:
        """The signed token, once everything about it is durable.

        Raises:
            OAuthError: the assertion was used before, or client or experiment changed meanwhile.
            Unavailable: not durable or not signed, so there is no token.
        """
        claims, insert = await self._placed(draft)
        try:
            await self._store.commit(
                UnitOfWork((*client.uses, *draft.first, insert, *self._sweep()), (draft.event,))
            )
        except AlreadyExists as error:
            if error.guard != "assertion":
                raise Unavailable("a token id was drawn twice") from error
            raise invalid_client("the assertion was used before") from None
        except GuardFailed as error:
            if error.guard == "assertion":
                raise invalid_client("the assertion was used before, by another key") from None
            if error.guard == "grant":
                raise OAuthError("invalid_grant", "the device code was used before") from None
            raise OAuthError(
                "unauthorized_client", "client or experiment changed meanwhile"
            ) from None
        return await self._signer.sign({"typ": access.TYPE}, claims.encode())

    async def _placed(self, draft: Draft) -> tuple[AccessClaims, Statement]:
        """The token with its place in a status list, where there are lists."""
        claims, list_id, place = draft.claims, None, None
        if self._places is not None:
            list_id, place = await self._places.next()
            claims = structs.replace(claims, status=self._places.claim(list_id, place))
        params = {**draft.insert.params, "status_list": list_id, "status_place": place}
        insert = draft.insert
        return claims, Statement(insert.name, params, insert.rows, insert.guard)

    def _sweep(self) -> tuple[Statement, ...]:
        now_ms = self._clock.now_ms()
        if now_ms - self._swept_ms < _SWEEP_EVERY_MS:
            return ()
        self._swept_ms = now_ms
        # Bounded to a few hundred rows, so nobody's token waits for a backlog.
        return tuple(
            Statement(name, {"before_ms": now_ms - _SWEEP_AFTER_MS}, rows=None)
            for name in ("assertions_sweep", "federated_sweep")
        )
