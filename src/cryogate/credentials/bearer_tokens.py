"""Short bearer tokens for a stored secret: IBM Cloud IAM, and Microsoft Entra.

(1) The long secret goes to the identity service alone, in the body of a request that follows no
    redirect; the vendor's API sees the token.
(2) The token's end is the earlier of what the answer says and an hour: a service that promises
    more is not believed.
(3) These services cannot recall a token. It lives in memory alone, and lapses.
(4) A managed identity has no secret at all: the machine's own metadata service gives the token, at
    an address that is fixed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from cryogate.domain.secrets import Secret
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
_IBM_GRANT: Final = "urn:ibm:params:oauth:grant-type:apikey"
_SCOPE: Final = "https://quantum.microsoft.com/.default"
_METADATA: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
_Token = Annotated[str, msgspec.Meta(min_length=16, max_length=16_384, pattern=r"\A[!-~]+\Z")]
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


class _Answer(msgspec.Struct):
    access_token: _Token
    # the metadata service writes the number as a text
    expires_in: int | str

    def __repr__(self) -> str:
        return "_Answer(…)"


class _Tokens(LeaseSource):
    """What both have in common: one bounded request, and (3)."""

    def __init__(self, secrets: RootSecrets, clock: Clock, ca_file: str) -> None:
        self._secrets, self._clock = secrets, clock
        self._http = httpx.AsyncClient(
            verify=ca_file or True, trust_env=False, follow_redirects=False, timeout=10.0
        )

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
        sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
        body = None
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
        try:
            found = msgspec.json.decode(bytes(data), type=_Answer)
            life_ms = int(found.expires_in) * 1000
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            # the cause could show a piece of the answer
            raise LeaseUnavailable("the identity service gave no token") from None
        return found.access_token, self._clock.now_ms() + min(life_ms, _LONGEST_MS)

    async def end(self, handle: str) -> None:
        """(3): there is nothing to tell."""

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()


class IbmIam(_Tokens):
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
        return Minted(Secret(held), until_ms, _handle(token))


class Entra(_Tokens):
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
        return Minted(Secret(token.encode()), until_ms, _handle(token))


def _handle(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]
