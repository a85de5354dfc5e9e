"""Short bearer tokens for a stored secret: IBM Cloud IAM, Microsoft Entra, Quantinuum Nexus.

(1) The long secret goes to the identity service alone, in the body of a request that follows no
    redirect; the vendor's API sees the token.
(2) The token's end is the earlier of what the answer says and an hour: a service that promises
    more is not believed.
(3) These services cannot recall a token. It lives in memory alone, and lapses.
(4) A managed identity has no secret at all: the machine's own metadata service gives the token, at
    an address that is fixed here.
(5) Nexus answers with a cookie. No cookie is kept here: the next token is for somebody else. The
    refresh token stays the same, as Nexus's own client relies on.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from cryogate.domain.secrets import Secret
from cryogate.outbound.cookies import refusing_jar
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import (
    LeaseSource,
    LeaseTerms,
    LeaseUnavailable,
    Minted,
    RootSecrets,
)

T = TypeVar("T", bound=msgspec.Struct)
_MAX_ANSWER: Final = 64 << 10
_LONGEST_MS: Final = 3_600_000
_UNTOLD_S: Final = 600
_IBM_GRANT: Final = "urn:ibm:params:oauth:grant-type:apikey"
_SCOPE: Final = "https://quantum.microsoft.com/.default"
_METADATA: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
Token = Annotated[str, msgspec.Meta(min_length=16, max_length=16_384, pattern=r"\A[!-~]+\Z")]
_COOKIE: Final = r"\A[!#-+\--:<-\[\]-~]+\Z"
_Guid = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-fA-F-]{36}\Z")]


class IbmRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cryogate secret set ibm`` takes: the key of a service id, and its instance."""

    api_key: Annotated[str, msgspec.Meta(min_length=16, max_length=512)]
    crn: Annotated[str, msgspec.Meta(pattern=r"\Acrn:[!-~]{1,512}\Z")]

    def __repr__(self) -> str:
        return "IbmRoot(…)"


class EntraRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cryogate secret set azure`` takes: an application and its secret."""

    tenant: _Guid
    client_id: _Guid
    client_secret: Annotated[str, msgspec.Meta(min_length=8, max_length=1024)]

    def __repr__(self) -> str:
        return "EntraRoot(…)"


class NexusRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cryogate secret set quantinuum`` takes; the group is where credits are counted."""

    refresh_token: Annotated[str, msgspec.Meta(min_length=16, max_length=8192, pattern=_COOKIE)]
    project: _Guid
    user_group: Annotated[str, msgspec.Meta(max_length=128)] = ""

    def __repr__(self) -> str:
        return "NexusRoot(…)"


class _Claims(msgspec.Struct):
    exp: int


class _Answer(msgspec.Struct):
    access_token: Token
    # the metadata service writes the number as a text
    expires_in: int | str

    def __repr__(self) -> str:
        return "_Answer(…)"


class TokenSource(LeaseSource):
    """What both have in common: one bounded request, and (3)."""

    def __init__(self, secrets: RootSecrets, clock: Clock, ca_file: str) -> None:
        self._secrets, self._clock = secrets, clock
        self._http = httpx.AsyncClient(
            verify=ca_file or True, trust_env=False, follow_redirects=False, timeout=10.0,
            cookies=refusing_jar(),
        )  # fmt: skip

    async def _root(self, terms: LeaseTerms, kind: type[T]) -> T:
        value = await self._secrets.value(terms.scheme, terms.experiment_id)
        try:
            return msgspec.json.decode(value.reveal(), type=kind)
        except msgspec.MsgspecError:
            # the error's text and chain could hold a piece of the secret
            fields = ", ".join(field.name for field in msgspec.structs.fields(kind))
            raise LeaseUnavailable(
                f"the secret for {terms.scheme} is not JSON with {fields}"
            ) from None

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str] = {}
    ) -> tuple[str, int]:
        """A token, and when it ends."""
        data, _ = await self._call(method, url, form, headers)
        try:
            found = msgspec.json.decode(data, type=_Answer)
            life_ms = int(found.expires_in) * 1000
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            # the cause could show a piece of the answer
            raise LeaseUnavailable("the identity service gave no token") from None
        return found.access_token, self._clock.now_ms() + min(life_ms, _LONGEST_MS)

    async def _call(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> tuple[bytes, Sequence[str]]:
        """(1): the answer's body, and the cookies it sets."""
        sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
        if form is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        data = bytearray()
        async with self._http.stream(method, url, headers=sent, content=body) as response:
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > _MAX_ANSWER:
                    raise LeaseUnavailable("the identity service sent too much")
        if response.status_code != 200:
            raise LeaseUnavailable(f"the identity service answered {response.status_code}")
        return bytes(data), response.headers.get_list("set-cookie")

    async def end(self, handle: str) -> None:
        """(3): there is nothing to tell."""

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()


class IbmIam(TokenSource):
    """Trades an API key for an access token; the lease holds token and instance."""

    def __init__(self, *, secrets: RootSecrets, clock: Clock, url: str, ca_file: str = "") -> None:
        super().__init__(secrets, clock, ca_file)
        self._url = url + "/identity/token"

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """(1), (2)."""
        root = await self._root(terms, IbmRoot)
        form = {"grant_type": _IBM_GRANT, "apikey": root.api_key}
        token, until_ms = await self._ask("POST", self._url, form)
        held = msgspec.json.encode({"token": token, "crn": root.crn})
        return Minted(Secret(held), until_ms, handle_of(token))


class Entra(TokenSource):
    """Client credentials, or the machine's managed identity; the lease holds the token."""

    def __init__(
        self, *, secrets: RootSecrets, clock: Clock, url: str, managed_identity: bool = False,
        metadata_url: str = _METADATA, ca_file: str = "",
    ) -> None:  # fmt: skip
        super().__init__(secrets, clock, ca_file)
        self._url, self._managed, self._metadata = url, managed_identity, metadata_url

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """(1), (2), or (4)."""
        if self._managed:
            query = urlencode(
                {"api-version": "2018-02-01", "resource": _SCOPE.removesuffix("/.default")}
            )
            token, until_ms = await self._ask(
                "GET", f"{self._metadata}?{query}", None, {"metadata": "true"}
            )
        else:
            root = await self._root(terms, EntraRoot)
            form = {
                "grant_type": "client_credentials",
                "client_id": root.client_id,
                "client_secret": root.client_secret,
                "scope": _SCOPE,
            }
            url = f"{self._url}/{root.tenant}/oauth2/v2.0/token"
            token, until_ms = await self._ask("POST", url, form)
        return Minted(Secret(token.encode()), until_ms, handle_of(token))


class Nexus(TokenSource):
    """Trades a refresh token for an access token; the lease holds it, and the project."""

    def __init__(self, *, secrets: RootSecrets, clock: Clock, url: str, ca_file: str = "") -> None:
        super().__init__(secrets, clock, ca_file)
        self._url = url + "/auth/tokens/refresh"

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """(1), (2), (5)."""
        root = await self._root(terms, NexusRoot)
        cookie = {"cookie": f"myqos_oat={root.refresh_token}"}
        _, cookies = await self._call("POST", self._url, None, cookie)
        token, life_s = _nexus_token(cookies)
        now_ms = self._clock.now_ms()
        told_ms = _expiry_ms(token)
        if told_ms is not None and life_s is not None:
            until_ms = min(told_ms, now_ms + life_s * 1000)
        elif told_ms is not None:
            until_ms = told_ms
        else:
            until_ms = now_ms + (_UNTOLD_S if life_s is None else life_s) * 1000
        if until_ms <= now_ms:
            raise LeaseUnavailable("the identity service gave a token that has ended")
        held = {"token": token, "project": root.project, "user_group": root.user_group}
        until_ms = min(until_ms, now_ms + _LONGEST_MS)
        return Minted(Secret(msgspec.json.encode(held)), until_ms, handle_of(token))


def _nexus_token(cookies: Sequence[str]) -> tuple[str, int | None]:
    """The access token among the cookies, and its life in seconds if that is told."""
    for cookie in cookies:
        pair, _, rest = cookie.partition(";")
        name, _, value = pair.strip().partition("=")
        if name != "myqos_id":
            continue
        if not 16 <= len(value) <= 16_384 or not re.fullmatch(_COOKIE, value):
            break
        life = re.search(r"(?i)(?:\A|;)\s*max-age=([0-9]{1,9})\s*(?:;|\Z)", rest)
        return value, None if life is None else int(life[1])
    raise LeaseUnavailable("the identity service gave no token")


def _expiry_ms(token: str) -> int | None:
    """When a JWT says that it ends. Nothing is believed of it but that it is not longer good."""
    parts = token.split(".")
    try:
        claims = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp * 1000
    except (IndexError, binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None


def handle_of(token: str) -> str:
    """What a token is called where it must not be shown."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
