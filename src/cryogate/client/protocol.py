"""The agent's side of the protocol, without I/O.

A `Session` turns one `Call` into a conversation: a generator that yields what to send and is
given what came back. Whoever owns a socket drives it, so the same rules serve any transport.

Why a request can be trusted to be safe, numbered as in `Session.converse`:

1. A token is fetched when there is none, or when it would run out on the way.
2. Every attempt carries a proof of its own: fresh ``jti``, this method, this URL, this token
   (RFC 9449 section 4.2). Nothing signed is ever sent twice.
3. A lost answer is asked for again only when the call is repeatable, or was certainly not seen;
   a bounded number of times, after a pause with jitter.
4. ``use_dpop_nonce`` (RFC 9449 sections 8, 9) is answered with the nonce, at most twice: the first
   may have been one process's, and the second one for all of them.
5. Any other 401 renews the token once. A second one is final: renewing again would be a loop.
6. Everything else that is not a success is an error, and the error never shows the token.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from cryogate.client.errors import Refused, Unavailable
from cryogate.client.messages import Call, Lost, Pause, Reply, Send
from cryogate.client.problems import error_of

Conversation = Generator[Send | Pause, Reply | Lost | None, Reply]

ATTEMPTS = 4
FIRST_PAUSE_S = 0.2
TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_MARGIN_MS = 30_000


class Prover(Protocol):
    """Signs with the client's key; the key itself never comes here."""

    @property
    def client_id(self) -> str:
        """The OAuth client id."""

    def grant(self, audience: str, now_ms: int) -> Mapping[str, str]:
        """The fields of a token request that prove who asks, for one use."""

    def proof(
        self, method: str, url: str, now_ms: int, token: str | None, nonce: str | None
    ) -> str | None:
        """A DPoP proof (RFC 9449 section 4.2) for one request; None where the connection's
        certificate is the proof (RFC 8705).
        """


class _TokenAnswer(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    expires_in: int
    scope: str = ""
    authorization_details: tuple[dict[str, Any], ...] = ()
    client_key_expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """An access token in hand. ``granted`` are the bounds the broker gave; ``scheme`` is how it
    is sent. ``key_ends_ms`` is when the client's key will be refused for its age, once it is near.
    """

    value: str = field(repr=False)
    renew_ms: int
    expires_ms: int
    life_s: int
    scope: str
    granted: tuple[Mapping[str, Any], ...]
    scheme: str = "DPoP"
    key_ends_ms: int | None = None


@dataclass(slots=True)
class Session:
    """State between calls: the token in hand, and the latest nonce of each endpoint.

    ``wanted`` is the form that asks for a token, without the client's authentication. ``now_ms``
    is UTC milliseconds; ``jitter`` gives a number in [0, 1).
    """

    origin: str
    prover: Prover
    wanted: Mapping[str, str]
    now_ms: Callable[[], int]
    jitter: Callable[[], float]
    token: Token | None = None
    _nonces: dict[str, str] = field(default_factory=dict, repr=False)
    _bound_to_key: bool = True

    def converse(self, call: Call) -> Conversation:
        """Carry out ``call``; the generator's value is the successful reply.

        Raises:
            Refused: the server said no.
            Unavailable: there was no usable answer.
        """
        renewed = False
        while True:
            token = yield from self.authorize()  # (1)
            reply = yield from self._exchange(call, token)
            if reply.status < 300:
                return reply
            if reply.status == 401 and not renewed:  # (5)
                renewed, self.token = True, None
                continue
            raise error_of(reply, (token.value,))  # (6)

    def authorize(self) -> Generator[Send | Pause, Reply | Lost | None, Token]:
        """The token in hand, or a new one when it is about to run out."""
        if self.token is not None and self.now_ms() < self.token.renew_ms:
            return self.token
        call = Call("POST", TOKEN_PATH)
        asked_ms = self.now_ms()
        reply = yield from self._exchange(call, None)
        if reply.status != 200:
            raise error_of(reply)
        self.token = _token(reply, asked_ms, bound_to_key=self._bound_to_key)
        return self.token

    def delegate(
        self, consent: str, wanted: Mapping[str, str]
    ) -> Generator[Send | Pause, Reply | Lost | None, Token]:
        """A token for the sub-agent that gave ``consent``, narrower than the one in hand.

        Raises:
            Refused: the server said no.
            Unavailable: there was no usable answer.
        """
        held = yield from self.authorize()
        form = {
            "grant_type": _EXCHANGE,
            "subject_token": held.value,
            "subject_token_type": _ACCESS_TOKEN,
            "actor_token": consent,
            "actor_token_type": _JWT,
            **wanted,
        }
        asked_ms = self.now_ms()
        reply = yield from self._exchange(Call("POST", TOKEN_PATH), None, form)
        if reply.status != 200:
            raise error_of(reply, (held.value, consent))
        # a sub-agent consents with its key, and the token is bound to that
        return _token(reply, asked_ms, bound_to_key=True)

    def _exchange(
        self, call: Call, token: Token | None, form: Mapping[str, str] | None = None
    ) -> Conversation:
        answered = tries = 0
        while True:
            reply = yield self._request(call, token, form or self.wanted)  # (2)
            if isinstance(reply, Lost):
                tries += 1
                if tries >= ATTEMPTS or (reply.sent and not call.repeatable):  # (3)
                    raise Unavailable(_lost(reply, call))
                yield Pause(FIRST_PAUSE_S * 2 ** (tries - 1) * (0.5 + self.jitter()))
                continue
            assert reply is not None  # noqa: S101 - the driver's side of the contract
            nonce = reply.headers.get("dpop-nonce", "")
            if nonce and len(nonce) <= 512:
                news = nonce != self._nonces.get(_realm(call))
                self._nonces[_realm(call)] = nonce
                if answered < (2 if news else 1) and _wants_nonce(reply):  # (4)
                    answered += 1
                    continue
            return reply

    def _request(self, call: Call, token: Token | None, wanted: Mapping[str, str]) -> Send:
        url = self.origin + call.path
        target = url.split("?", 1)[0]  # RFC 9449 section 4.2: htu is without query
        now, nonce = self.now_ms(), self._nonces.get(_realm(call))
        held = token.value if token else None
        headers = {"Accept": "application/json"}
        proof = self.prover.proof(call.method, target, now, held, nonce)
        if proof is not None:
            headers["DPoP"] = proof
        if token:
            headers["Authorization"] = f"{token.scheme} {token.value}"
            content = None if call.body is None else msgspec.json.encode(call.body)
            kind = "application/json"
        else:
            form = {**self.prover.grant(self.origin, now), **wanted}
            self._bound_to_key = proof is not None
            content, kind = urlencode(form).encode("ascii"), "application/x-www-form-urlencoded"
        if content is not None:
            headers["Content-Type"] = kind
        return Send(call.method, url, headers, content, call.wait_s)


def ask(
    origin: str,
    path: str,
    prover: Prover,
    form: Callable[[int], Mapping[str, str]],
    now_ms: Callable[[], int],
) -> Conversation:
    """One request to an OAuth endpoint other than the token endpoint, proven by ``prover``'s key.

    The generator's value is the reply, whatever it is. What was sent is never sent again, except
    to answer for a nonce.

    Raises:
        Unavailable: there was no answer.
    """
    call, nonce = Call("POST", path, repeatable=False), None
    while True:
        url, now = origin + path, now_ms()
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "DPoP": prover.proof("POST", url, now, None, nonce) or "",
        }
        reply = yield Send("POST", url, headers, urlencode(form(now)).encode("ascii"))
        if isinstance(reply, Lost):
            raise Unavailable(_lost(reply, call))
        assert reply is not None  # noqa: S101 - the driver's side of the contract
        if nonce is None and _wants_nonce(reply):
            nonce = reply.headers.get("dpop-nonce", "")
            if 0 < len(nonce) <= 512:
                continue
        return reply


def _token(reply: Reply, asked_ms: int, *, bound_to_key: bool) -> Token:
    try:
        answer = msgspec.json.decode(reply.body, type=_TokenAnswer)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Unavailable("the token endpoint's answer cannot be read", reply.status) from None
    # A bearer token would work for whoever finds it; we asked for a bound one (RFC 9449 sec. 5).
    # One that is bound to the connection's certificate has no type of its own (RFC 8705 sec. 3).
    expected = "dpop" if bound_to_key else "bearer"
    if answer.token_type.lower() != expected or not answer.access_token.isascii():
        raise Unavailable("the token endpoint gave a token that is not sender-bound", reply.status)
    life_ms = max(0, min(answer.expires_in, 3600)) * 1000
    margin_ms = min(_MARGIN_MS, life_ms // 5)
    return Token(
        answer.access_token,
        asked_ms + life_ms - margin_ms,
        asked_ms + life_ms,
        life_ms // 1000,
        answer.scope,
        answer.authorization_details,
        "DPoP" if bound_to_key else "Bearer",
        None
        if answer.client_key_expires_in is None
        else asked_ms + answer.client_key_expires_in * 1000,
    )


def _realm(call: Call) -> str:
    return "token" if call.path == TOKEN_PATH else "api"


def _wants_nonce(reply: Reply) -> bool:
    if reply.status == 401 and "use_dpop_nonce" in reply.headers.get("www-authenticate", ""):
        return True
    failure = error_of(reply) if reply.status in (400, 401) else None
    return isinstance(failure, Refused) and failure.code == "use_dpop_nonce"


def _lost(lost: Lost, call: Call) -> str:
    if not lost.sent:
        return f"the server cannot be reached ({lost.reason})"
    if call.repeatable:
        return f"the server did not answer ({lost.reason})"
    return (
        f"the server did not answer ({lost.reason}); it may have done what was asked, so look "
        "before you ask again"
    )
