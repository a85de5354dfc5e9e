"""Device flow (RFC 8628): a person says whose a desktop agent's key is.

 (1) the device asks, and proves a key that it made; it gets a device code of 256 bits, of which we
     keep the digest, and a user code for a person
 (2) an operator reads the user code *from the device*, looks what it is about, and decides: for a
     new agent, or as a further key of one. The key is registered in that unit of work
 (3) the device polls, each time with a proof by the same key: the code alone is of no use (T10)
 (4) polling faster than told makes the interval longer; what is not pending is answered by name
 (5) the first poll after the yes is an authenticated token request of that agent; a token that is
     issued spends the code

A user code has 34 bits and lives for minutes. Only operators can try one, `MAX_WRONG` a minute.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.broker.authn import Client
from cryogate.broker.client_keys import insert_key, registry_event
from cryogate.broker.oauth import OAuthError, only
from cryogate.broker.possession import Possession
from cryogate.broker.registry import AgentDraft
from cryogate.broker.rows import agent_of, number, text
from cryogate.domain.agents import Agent
from cryogate.domain.errors import Conflict, Forbidden, NotFound
from cryogate.domain.ids import is_slug
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    Row,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)
from cryogate.tokens.claims import Confirmation
from cryogate.tokens.encoding import b64
from cryogate.tokens.keys import load_public

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
LIFE_S: Final = 600
INTERVAL_S: Final = 5
MOST_INTERVAL_S: Final = 60
MAX_PENDING: Final = 256
MAX_WRONG: Final = 10
_WINDOW_MS: Final = 60_000
_KEEP_MS: Final = 86_400_000
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, no words
_CODE: Final = re.compile(f"[{_LETTERS}]{{8}}", re.ASCII)
_DEVICE_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_FORM: Final = frozenset({"client_id"})


class DeviceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 8628 section 3.2. Times are in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A key that waits for a person. ``client_id`` is the name it asks for, nothing more."""

    user_code: str
    client_id: str
    kid: str
    address: str
    created_ms: int
    expires_ms: int


class DeviceFlow:
    """Steps (1) to (5). ``verification_uri`` is where a person is sent."""

    def __init__(
        self, store: Store, clock: Clock, possession: Possession, verification_uri: str
    ) -> None:
        self._store, self._clock, self._possession = store, clock, possession
        self._verification_uri = verification_uri
        self._wrong: dict[str, list[int]] = {}

    async def start(
        self, form: Mapping[str, str], proof: str | None, endpoint: str, address: str
    ) -> DeviceAnswer:
        """Step (1). ``address`` is shown to the person who decides.

        Raises:
            OAuthError: not a request of this kind, or too many wait already.
        """
        only(form, _FORM)
        name = form.get("client_id", "")
        if not is_slug(name):
            raise OAuthError("invalid_request", "client_id is the name the agent is to have")
        key = await self._possession.key(proof, endpoint)
        now_ms = self._clock.now_ms()
        device_code = secrets.token_urlsafe(32)
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(8))
        insert = Statement(
            "device_insert",
            {
                "digest": _digest(device_code),
                "user_code": user_code,
                "client_id": name,
                "jwk": msgspec.json.encode(key.jwk()).decode(),
                "kid": key.kid,
                "address": address[:64],
                "created_ms": now_ms,
                "expires_ms": now_ms + LIFE_S * 1000,
                "interval_s": INTERVAL_S,
                "most": MAX_PENDING,
            },
            guard="room",
        )
        sweep = Statement("devices_sweep", {"before_ms": now_ms - _KEEP_MS}, rows=None)
        try:
            await self._store.commit(UnitOfWork((sweep, insert)))
        except GuardFailed:
            raise OAuthError(
                "temporarily_unavailable", "too many devices wait: try again later", 503
            ) from None
        return DeviceAnswer(
            device_code=device_code,
            user_code=f"{user_code[:4]}-{user_code[4:]}",
            verification_uri=self._verification_uri,
            expires_in=LIFE_S,
            interval=INTERVAL_S,
        )

    # -- for operators ---------------------------------------------------------------------

    async def pending(self, limit: int = 100) -> Sequence[Waiting]:
        """Keys that wait, oldest first."""
        rows = await self._store.fetch(
            "devices_pending", {"now_ms": self._clock.now_ms(), "limit": limit}
        )
        return tuple(map(_waiting, rows))

    async def look(self, user_code: str, *, actor: str) -> Waiting:
        """What a user code is about.

        Raises:
            NotFound: there is no such code, or it is decided or expired.
            Forbidden: too many wrong codes.
        """
        return _waiting(await self._row(user_code, actor))

    async def approve(
        self, user_code: str, agent_id: str, *, actor: str, draft: AgentDraft | None = None
    ) -> Agent:
        """Register the key: for the new agent in ``draft``, or for one that exists.

        Raises:
            NotFound, Forbidden: as `look`; or there is no such agent.
            Conflict: decided meanwhile, the agent exists, or the key cannot be registered.
        """
        row = await self._row(user_code, actor)
        agent = draft.agent if draft is not None else await self._agent(agent_id)
        now_ms = self._clock.now_ms()
        key = load_public(msgspec.json.decode(text(row, "jwk"), type=dict[str, object]))
        event = registry_event(
            now_ms, "device.approved", actor, agent,
            (f"kid {key.kid}", f"from {text(row, 'address')}"),
        )  # fmt: skip
        decide = _decision(row, "approved", agent.agent_id, actor, now_ms)
        statements = (
            *(draft.statements if draft else ()),
            insert_key(now_ms, agent.agent_id, key),
            decide,
        )
        try:
            await self._store.commit(
                UnitOfWork(statements, (*(draft.events if draft else ()), event))
            )
        except AlreadyExists as error:
            what = "this agent exists already" if error.guard == "agent" else "the key is known"
            raise Conflict("already_exists", what) from None
        except GuardFailed as error:
            if error.guard == "key":
                raise Conflict("key_refused", "the key cannot be registered") from None
            raise Conflict("decided", "somebody decided this already") from None
        return agent

    async def deny(self, user_code: str, *, actor: str) -> None:
        """Refuse the key.

        Raises:
            NotFound, Forbidden: as `look`.
            Conflict: decided meanwhile.
        """
        row = await self._row(user_code, actor)
        now_ms = self._clock.now_ms()
        event = registry_event(now_ms, "device.denied", actor, None, (f"kid {text(row, 'kid')}",))
        try:
            await self._store.commit(
                UnitOfWork((_decision(row, "denied", "", actor, now_ms),), (event,))
            )
        except GuardFailed:
            raise Conflict("decided", "somebody decided this already") from None

    # -- for the device --------------------------------------------------------------------

    async def poll(self, form: Mapping[str, str], bound: Confirmation | None) -> Client:
        """Steps (3) to (5): the agent, once a person said yes.

        Raises:
            OAuthError: RFC 8628 section 3.5, or ``invalid_grant``.
        """
        code = form.get("device_code", "")
        if _DEVICE_CODE.fullmatch(code) is None:
            raise _no_good()
        row = await self._store.fetch_one("device_by_digest", {"digest": _digest(code)})
        kid = bound.jkt if bound is not None else None
        if row is None or kid is None or not hmac.compare_digest(kid, text(row, "kid")):  # (3)
            raise _no_good()
        if form.get("client_id", text(row, "client_id")) != text(row, "client_id"):
            raise _no_good()
        now_ms, state = self._clock.now_ms(), text(row, "state")
        if state == "used":
            raise _no_good()
        if state == "denied":  # (4)
            raise OAuthError("access_denied", "an operator said no")
        if number(row, "expires_ms") <= now_ms:
            raise OAuthError("expired_token", "the code has expired: start again")
        if state == "pending":
            raise await self._pending(text(row, "digest"), now_ms)
        agent = await self._agent(text(row, "agent_id"))  # (5)
        use = Statement(
            "device_use", {"digest": text(row, "digest"), "now_ms": now_ms}, guard="grant"
        )
        return Client(agent.agent_id, agent, None, kid, (use,))

    async def _pending(self, digest: str, now_ms: int) -> OAuthError:
        polled = Statement("device_polled", {"digest": digest, "now_ms": now_ms}, guard="soon")
        try:
            await self._store.commit(UnitOfWork((polled,)))
        except GuardFailed:
            slower: dict[str, SqlValue] = {
                "digest": digest,
                "now_ms": now_ms,
                "most_s": MOST_INTERVAL_S,
            }
            await self._store.commit(UnitOfWork((Statement("device_slow_down", slower),)))
            return OAuthError("slow_down", "wait 5 seconds longer between polls from now on")
        return OAuthError("authorization_pending", "nobody has decided yet")

    async def _row(self, user_code: str, actor: str) -> Row:
        now_ms = self._clock.now_ms()
        wrong = [at for at in self._wrong.get(actor, ()) if at > now_ms - _WINDOW_MS]
        if len(wrong) >= MAX_WRONG:
            raise Forbidden("too_many_codes", "too many wrong codes: wait a minute")
        code = re.sub(r"[\s-]", "", user_code[:32]).upper()
        row = None
        if _CODE.fullmatch(code):
            row = await self._store.fetch_one(
                "device_by_user_code", {"user_code": code, "now_ms": now_ms}
            )
        if row is None:
            self._wrong[actor] = [*wrong, now_ms]
            raise NotFound("no_such_code", "there is no such code waiting")
        return row

    async def _agent(self, agent_id: str) -> Agent:
        row = await self._store.fetch_one("agent_by_id", {"agent_id": agent_id})
        if row is None:
            raise NotFound("no_such_agent", "there is no such agent")
        return agent_of(row)


def _decision(row: Row, state: str, agent_id: str, actor: str, now_ms: int) -> Statement:
    return Statement(
        "device_decide",
        {
            "digest": text(row, "digest"),
            "state": state,
            "agent_id": agent_id,
            "decided_by": actor,
            "now_ms": now_ms,
        },
        guard="decision",
    )


def _waiting(row: Row) -> Waiting:
    code = text(row, "user_code")
    return Waiting(
        f"{code[:4]}-{code[4:]}",
        text(row, "client_id"),
        text(row, "kid"),
        text(row, "address"),
        number(row, "created_ms"),
        number(row, "expires_ms"),
    )


def _digest(device_code: str) -> str:
    return b64(hashlib.sha256(device_code.encode()).digest())


def _no_good() -> OAuthError:
    return OAuthError("invalid_grant", "the device code is not good")
