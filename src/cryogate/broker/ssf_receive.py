"""Hearing of revocations elsewhere: CAEP events pushed by an identity provider (RFC 8935).

 (1) the transmitter shows the secret that was agreed with it, where one was
 (2) the SET is of its type, by the one issuer that is entrusted, for us, and of our time; its key
     is the issuer's, fetched through the guarded door (P4)
 (3) it holds exactly one event. One that we do not act on is taken and left at that
 (4) what it means here is done: durable and in force before it is acknowledged
 (5) its ``jti`` is kept, so that a SET that comes again does nothing again. It is kept last: a
     crash in between does (4) twice, which ends nothing more than once

| event | about | then |
|---|---|---|
| session-revoked | an e-mail address | every agent of that owner is revoked |
| credential-change ``revoke``, ``delete`` | an e-mail address | the same |
| credential-change, others | an e-mail address | an alert |
| both | a person of the issuer who signs in here | their sessions end |
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from cryogate.broker.humans.sessions import HumanSessions
from cryogate.broker.revoke import RevocationService
from cryogate.broker.rows import text
from cryogate.broker.security_events import (
    CREDENTIAL_CHANGE,
    SESSION_REVOKED,
    TYPE,
    subject_in,
)
from cryogate.domain.errors import Refused
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.outbound import foreign
from cryogate.outbound.errors import UnknownKey
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevokedKind
from cryogate.ports.store import AlreadyExists, Statement, Store, UnitOfWork
from cryogate.tokens.errors import TokenError

MAX_AGE_S: Final = 7 * 86_400
MAX_SKEW_S: Final = 60
_ENDS: Final = frozenset({"revoke", "delete"})


class SetRefused(Refused):
    """A refusal in the words of RFC 8935 section 2.4: ``code`` is its ``err``."""


class SsfReceiver:
    """Steps (1) to (5) for one transmitter, ``issuer``. ``audience`` is what it calls us."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        keys: IssuerKeys,
        revocations: RevocationService,
        sessions: HumanSessions,
        alerts: Alerts,
        issuer: str,
        audience: str,
        jwks_uri: str | None = None,
        secret: Secret | None = None,
    ) -> None:
        self._store, self._clock, self._keys = store, clock, keys
        self._revocations, self._sessions, self._alerts = revocations, sessions, alerts
        self._issuer, self._audience, self._jwks_uri = issuer, audience, jwks_uri
        self._secret = secret
        self._actor = f"ssf:{issuer}"[:128]

    async def receive(self, token: str, authorization: str) -> None:
        """Act on a SET. Returns once what it asks for is durable and in force.

        Raises:
            SetRefused: it is not acceptable; says why.
            Unavailable: keys or database cannot be had; the transmitter sends it again.
        """
        if self._secret is not None:  # (1)
            shown = authorization.encode("utf-8", "replace")
            if not hmac.compare_digest(shown, b"Bearer " + self._secret.reveal()):
                raise SetRefused("authentication_failed", "the transmitter is not known")
        claims = await self._verified(token)  # (2)
        jti, events = claims.get("jti"), claims.get("events")
        if not isinstance(jti, str) or not 0 < len(jti) <= 128:
            raise SetRefused("invalid_request", "jti is missing")
        if not isinstance(events, dict) or len(events) != 1:  # (3)
            raise SetRefused("invalid_request", "a SET holds exactly one event here")
        [(event_type, event)] = events.items()
        if not isinstance(event, dict):
            raise SetRefused("invalid_request", "the event is not an object")
        key = {"client_id": self._actor, "jti": jti}
        if await self._store.fetch_one("set_received", key) is not None:
            return
        done = await self._act(event_type, event, subject_in(claims, event))  # (4)
        now_ms = self._clock.now_ms()
        told = Event(
            timestamp_ms=now_ms,
            action="security_event.received",
            outcome=Outcome.SUCCESS,
            decision_reasons=(event_type[:256], f"jti {jti}", *done),
            actor_chain=(self._actor,),
        )
        keep = Statement("assertion_use", {**key, "expires_ms": now_ms + 2 * MAX_AGE_S * 1000})
        try:
            await self._store.commit(UnitOfWork((keep,), (told,)))  # (5)
        except AlreadyExists:
            return  # another process took the same SET

    async def _verified(self, token: str) -> Mapping[str, object]:
        try:
            found = foreign.read(token, (TYPE,))
        except TokenError as error:
            raise SetRefused("invalid_request", error.detail) from None
        if found.issuer != self._issuer:
            raise SetRefused("invalid_issuer", "this issuer is not entrusted here")
        try:
            claims = await foreign.verify(found, self._keys, self._issuer, self._jwks_uri)
        except (TokenError, UnknownKey):
            raise SetRefused("invalid_key", "the signature does not hold") from None
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise SetRefused("invalid_audience", "this SET is for another receiver")
        now_s, iat = self._clock.now_ms() // 1000, claims.get("iat")
        if type(iat) is not int or not now_s - MAX_AGE_S <= iat <= now_s + MAX_SKEW_S:
            raise SetRefused("invalid_request", "iat is missing, too old or in the future")
        if "exp" in claims or "sub" in claims:
            # RFC 8417 section 4.5: so that no other kind of token passes for a SET, or back.
            raise SetRefused("invalid_request", "a SET has neither exp nor sub")
        return claims

    async def _act(
        self, event_type: str, event: Mapping[str, object], about: Mapping[str, str]
    ) -> tuple[str, ...]:
        if event_type not in (SESSION_REVOKED, CREDENTIAL_CHANGE):
            return ("no action",)
        change = event.get("change_type") if event_type == CREDENTIAL_CHANGE else "revoke"
        name = event_type.rpartition("/")[2]
        if about.get("format") == "iss_sub" and about.get("iss") == self._issuer:
            return await self._person(about.get("sub", ""), name)
        owner = about.get("email", "").lower() if about.get("format") == "email" else ""
        if not owner:
            self._alerts.tell("security_event", "unknown subject", Severity.LOW, {"event": name})
            return ("no subject of ours",)
        evidence = {"event": name, "change": str(change)[:64], "issuer": self._issuer[:256]}
        self._alerts.tell("security_event", owner, Severity.HIGH, evidence)
        if change not in _ENDS:
            return (f"owner {owner}", "alert")
        await self._revocations.revoke(
            RevokedKind.OWNER, owner, f"{name} at the identity provider", self._actor
        )
        return (f"owner {owner}", "revoked")

    async def _person(self, sub: str, name: str) -> tuple[str, ...]:
        params = {"issuer": self._issuer, "subject": sub}
        row = await self._store.fetch_one("person_of_issuer", params)
        if row is None:
            return ("no person of ours",)
        operator_id = text(row, "operator_id")
        why = f"{name} at the identity provider"
        await self._sessions.end_all(operator_id, self._actor, why)
        self._alerts.tell("security_event", f"operator:{operator_id}", Severity.MEDIUM,
                          {"event": name})  # fmt: skip
        return (f"operator {operator_id}", "sessions ended")
