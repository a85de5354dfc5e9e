"""Client-Initiated Backchannel Authentication (CIBA Core 1.0), poll mode, as the relying party.

(1) the provider's endpoints come from its own metadata, through the guarded fetcher (P4)
(2) we authenticate with a key (``private_key_jwt``) or a secret; a public client has no CIBA
(3) a yes is an ID token that is signed by the provider's key, for us, fresh, and that names the
    request where it names any; who agreed is its ``sub`` and nothing else
(4) whatever is not one of the answers of the specification is no yes
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.outbound import foreign
from cryogate.outbound.errors import FetchFailed, UnknownKey, UnsafeUrl
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.backchannel import Answer, BackChannel, Reply, Started
from cryogate.ports.clock import Clock
from cryogate.tokens.assertion import ASSERTION_TYPE, make_assertion
from cryogate.tokens.encoding import parse_object
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import SigningKey

GRANT: Final = "urn:openid:params:grant-type:ciba"
_REQUEST_CLAIM: Final = "urn:openid:params:jwt:claim:auth_req_id"
_SKEW_S: Final = 60
_OLDEST_S: Final = 600
_LIFE: Final = (30, 3600)
_INTERVAL: Final = (1, 60)
_REPLIES: Final = {
    "authorization_pending": Reply.PENDING,
    "slow_down": Reply.SLOW_DOWN,
    "access_denied": Reply.DECLINED,
    "expired_token": Reply.OVER,
    "invalid_grant": Reply.OVER,
}


@dataclass(frozen=True, slots=True)
class CibaClient:
    """Who we are at the provider (2)."""

    issuer: str
    client_id: str
    secret: Secret | None = None
    key: SigningKey | None = None

    def __post_init__(self) -> None:
        if (self.secret is None) is (self.key is None):
            raise ValueError("a CIBA client has a secret or a key")


class Ciba(BackChannel):
    """See the module."""

    def __init__(
        self, client: CibaClient, fetcher: Fetcher, issuers: IssuerKeys, clock: Clock
    ) -> None:
        self._client, self._fetcher, self._issuers, self._clock = client, fetcher, issuers, clock

    @property
    def issuer(self) -> str:
        """See `BackChannel.issuer`."""
        return self._client.issuer

    async def start(self, person: str, message: str) -> Started:
        """See `BackChannel.start`."""
        form = {"scope": "openid", "login_hint": person, "binding_message": message}
        status, said = await self._post("backchannel_authentication_endpoint", form)
        request_id, life = said.get("auth_req_id"), said.get("expires_in")
        if status != 200 or not isinstance(request_id, str) or not 0 < len(request_id) <= 1024:
            raise FetchFailed(f"the provider did not start it: {status} {_error(said)}")
        return Started(
            request_id, _within(life, _LIFE, 120), _within(said.get("interval"), _INTERVAL, 5)
        )

    async def answer(self, request_id: str) -> Answer:
        """See `BackChannel.answer`."""
        form = {"grant_type": GRANT, "auth_req_id": request_id}
        status, said = await self._post("token_endpoint", form)
        if status == 200:
            return Answer(Reply.AGREED, await self._subject(said.get("id_token"), request_id))
        reply = _REPLIES.get(_error(said))
        if reply is None:
            raise FetchFailed(f"the provider answered {status} {_error(said)}")
        return Answer(reply)

    async def _subject(self, token: object, request_id: str) -> str:
        """(3)"""
        client = self._client
        if not isinstance(token, str):
            raise FetchFailed("the provider sent no ID token")
        try:
            claims = await foreign.verify(foreign.read(token), self._issuers, client.issuer)
        except (TokenError, UnknownKey) as error:
            raise FetchFailed("the ID token is not genuine") from error
        now_s = self._clock.now_ms() // 1000
        expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
        right = (
            claims.get("iss") == client.issuer
            and claims.get("aud") in (client.client_id, [client.client_id])
            and claims.get("azp") in (None, client.client_id)
            and claims.get(_REQUEST_CLAIM) in (None, request_id)
            and type(expires) is int
            and type(issued) is int
            and expires > now_s - _SKEW_S
            and now_s - _OLDEST_S <= issued <= now_s + _SKEW_S
        )
        if not right or not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise FetchFailed("the ID token is for somebody else, or of another time")
        return subject

    async def _post(self, name: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, object]]:
        url = (await self._issuers.metadata(self._client.issuer)).get(name)  # (1)
        if not isinstance(url, str):
            raise Unavailable(f"the identity provider's metadata has no {name}")
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        body = urlencode({**form, **self._prove(headers)}).encode()
        try:
            answer = await self._fetcher.send("POST", url, headers, body)
        except UnsafeUrl as error:
            raise Unavailable(f"the identity provider's {name} is not usable") from error
        try:
            return answer.status, parse_object(answer.body)
        except TokenError as error:
            raise FetchFailed(f"the {name} did not answer with a JSON object") from error

    def _prove(self, headers: dict[str, str]) -> dict[str, str]:
        """(2)"""
        client = self._client
        if client.key is not None:
            now_s = self._clock.now_ms() // 1000
            made = make_assertion(client.key, client.client_id, client.issuer, now=now_s)
            return {
                "client_id": client.client_id,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": made,
            }
        secret = b"" if client.secret is None else client.secret.reveal()
        # RFC 6749 section 2.3.1: both parts are form-encoded first
        pair = f"{quote(client.client_id, safe='')}:{quote(secret, safe='')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return {}


def _error(said: Mapping[str, object]) -> str:
    # only words of the specification are repeated: the provider's own text goes nowhere (H4)
    error = said.get("error")
    return error if isinstance(error, str) and error.isidentifier() and len(error) < 64 else ""


def _within(value: object, bounds: tuple[int, int], default: int) -> int:
    least, most = bounds
    return max(least, min(most, value)) if type(value) is int else default
