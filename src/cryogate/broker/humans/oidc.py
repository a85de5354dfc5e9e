"""OpenID Connect sign-in: authorization code with PKCE, as the relying party.

Begin:
 (1) ``state``, ``nonce`` and the PKCE verifier are random and rest, sealed, in a cookie of the
     browser that begins: a visitor makes us store nothing

Finish, each step before anything of the next is believed:
 (2) the cookie is one of ours and minutes old, and ``state`` is the one in it: this browser began
     this sign-in (login CSRF, RFC 6749 section 10.12)
 (3) ``iss`` names the issuer that we asked (mix-up, RFC 9207); demanded where it is promised
 (4) the code is redeemed with the verifier (RFC 7636) at the issuer's own token endpoint
 (5) the ID token is signed by the issuer's key, and its ``iss``, ``aud``, ``azp``, times and
     ``nonce`` are right (OpenID Connect Core section 3.1.3.7)

Every URL is reached through the guarded fetcher (P4). Access and refresh tokens are not kept.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from cryogate.domain.errors import Unauthenticated, Unavailable
from cryogate.domain.secrets import Secret
from cryogate.outbound import foreign
from cryogate.outbound.errors import FetchFailed, UnknownKey, UnsafeUrl
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Sealer
from cryogate.tokens.assertion import ASSERTION_TYPE, make_assertion
from cryogate.tokens.encoding import parse_object
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import SigningKey

BEGUN_LIFE_MS: Final = 10 * 60_000
_METADATA_MS: Final = 10 * 60_000
_SKEW_S: Final = 60
_MOST_CODE: Final = 4096
_CONTEXT: Final = "oidc-sign-in"
# What we repeat of the provider's refusals: its own text never reaches our page (H4).
_ERRORS: Final = frozenset(
    {"access_denied", "login_required", "interaction_required", "consent_required",
     "temporarily_unavailable", "server_error", "invalid_scope", "unauthorized_client"}
)  # fmt: skip


class OidcRefused(Unauthenticated):
    """This sign-in is not believed."""

    def __init__(self, detail: str) -> None:
        super().__init__("oidc_refused", detail)


@dataclass(frozen=True, slots=True)
class OidcClient:
    """Who we are at the provider: with a secret, a key, or with PKCE alone."""

    issuer: str
    client_id: str
    redirect_uri: str
    scopes: str
    secret: Secret | None = None
    key: SigningKey | None = None


class _Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: str
    nonce: str
    verifier: str
    began_ms: int


class OidcSignIn:
    """See the module."""

    def __init__(
        self,
        client: OidcClient,
        fetcher: Fetcher,
        issuers: IssuerKeys,
        sealer: Sealer,
        clock: Clock,
    ) -> None:
        self._client, self._fetcher, self._issuers = client, fetcher, issuers
        self._sealer, self._clock = sealer, clock
        self._turn = asyncio.Lock()
        self._metadata: Mapping[str, object] = {}
        self._metadata_until_ms = 0

    @property
    def provider(self) -> str:
        """The provider's host, for the button."""
        return urlsplit(self._client.issuer).netloc

    async def begin(self) -> tuple[str, str]:
        """Where to send the browser, and what to put into its cookie.

        Raises:
            Unavailable: the provider does not answer.
        """
        endpoint = await self._endpoint("authorization_endpoint")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = _Begun(state, nonce, verifier, self._clock.now_ms())
        challenge = _b64(hashlib.sha256(begun.verifier.encode()).digest())
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._client.client_id,
                "redirect_uri": self._client.redirect_uri,
                "scope": self._client.scopes,
                "state": begun.state,
                "nonce": begun.nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        joint = "&" if "?" in endpoint else "?"
        sealed = self._sealer.seal(Secret(msgspec.json.encode(begun)), _CONTEXT)  # (1)
        return f"{endpoint}{joint}{query}", sealed

    async def finish(
        self, params: Mapping[str, str], cookie: str
    ) -> tuple[str, Mapping[str, object]]:
        """The subject and the claims of who signed in. ``params`` are the query's, each once.

        Raises:
            OidcRefused: any of (2) to (5) does not hold.
            Unavailable: the provider does not answer.
        """
        begun = self._opened(cookie)
        if not _same(params.get("state", ""), begun.state):  # (2)
            raise OidcRefused("this sign-in was not begun in this browser; begin again")
        await self._check_issuer(params.get("iss"))  # (3)
        if "error" in params:
            known = params["error"] if params["error"] in _ERRORS else "an error"
            raise OidcRefused(f"the identity provider answered {known}")
        code = params.get("code", "")
        if not 0 < len(code) <= _MOST_CODE:
            raise OidcRefused("the identity provider sent no code")
        token = await self._redeem(code, begun.verifier)  # (4)
        claims = await self._claims(token, begun.nonce)  # (5)
        return str(claims["sub"]), claims

    def _opened(self, cookie: str) -> _Begun:
        try:
            opened = self._sealer.open(cookie, _CONTEXT).reveal()
            begun = msgspec.json.decode(opened, type=_Begun)
        except (ValueError, msgspec.MsgspecError) as error:
            raise OidcRefused("this sign-in was not begun in this browser; begin again") from error
        if not 0 <= self._clock.now_ms() - begun.began_ms <= BEGUN_LIFE_MS:
            raise OidcRefused("this sign-in took too long; begin again")
        return begun

    async def _check_issuer(self, iss: str | None) -> None:
        promised = (await self._document()).get("authorization_response_iss_parameter_supported")
        if iss is None and promised is not True:
            return
        if iss != self._client.issuer:
            raise OidcRefused("the answer is not from the identity provider that was asked")

    async def _redeem(self, code: str, verifier: str) -> str:
        client = self._client
        endpoint = await self._endpoint("token_endpoint")
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": verifier,
        }
        if client.key is not None:
            now_s = self._clock.now_ms() // 1000
            form["client_assertion_type"] = ASSERTION_TYPE
            form["client_assertion"] = make_assertion(
                client.key, client.client_id, client.issuer, now=now_s
            )
            form["client_id"] = client.client_id
        elif client.secret is not None:
            # RFC 6749 section 2.3.1: both parts are form-encoded first
            name, secret = quote(client.client_id, safe=""), quote(client.secret.reveal(), safe="")
            joined = base64.b64encode(f"{name}:{secret}".encode()).decode()
            headers["authorization"] = f"Basic {joined}"
        else:
            form["client_id"] = client.client_id
        answer = await self._fetcher.send("POST", endpoint, headers, urlencode(form).encode())
        if answer.status != 200:
            raise OidcRefused("the identity provider did not accept the code; begin again")
        try:
            token = parse_object(answer.body).get("id_token")
        except TokenError as error:
            raise FetchFailed("the token endpoint did not answer with a JSON object") from error
        if not isinstance(token, str):
            raise OidcRefused("the identity provider sent no ID token")
        return token

    async def _claims(self, token: str, nonce: str) -> Mapping[str, object]:
        issuer, client_id = self._client.issuer, self._client.client_id
        try:
            claims = await foreign.verify(foreign.read(token), self._issuers, issuer)
        except (TokenError, UnknownKey) as error:
            raise OidcRefused("the ID token is not genuine") from error
        now_s = self._clock.now_ms() // 1000
        audience, party = claims.get("aud"), claims.get("azp")
        expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
        if claims.get("iss") != issuer:
            raise OidcRefused("the ID token is another issuer's")
        if audience not in (client_id, [client_id]) or party not in (None, client_id):
            raise OidcRefused("the ID token is for somebody else")
        if type(expires) is not int or type(issued) is not int:
            raise OidcRefused("the ID token has no times")
        if expires <= now_s - _SKEW_S or issued > now_s + _SKEW_S:
            raise OidcRefused("the ID token is not of this time; is the clock right?")
        if issued < now_s - BEGUN_LIFE_MS // 1000 - _SKEW_S:
            raise OidcRefused("the ID token is older than this sign-in")
        said = claims.get("nonce")
        if not isinstance(said, str) or not _same(said, nonce):
            raise OidcRefused("the ID token is from another sign-in")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise OidcRefused("the ID token names nobody")
        return claims

    async def _endpoint(self, name: str) -> str:
        url = (await self._document()).get(name)
        if not isinstance(url, str):
            raise Unavailable(f"the identity provider's metadata has no {name}")
        try:
            return self._fetcher.check(url)
        except UnsafeUrl as error:
            raise Unavailable(f"the identity provider's {name} is not usable") from error

    async def _document(self) -> Mapping[str, object]:
        async with self._turn:
            if self._clock.now_ms() >= self._metadata_until_ms:
                self._metadata = await self._issuers.metadata(self._client.issuer)
                self._metadata_until_ms = self._clock.now_ms() + _METADATA_MS
            return self._metadata


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
