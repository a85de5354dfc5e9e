"""Short bearer tokens for a stored secret: IBM Cloud IAM.

(1) The long secret goes to the identity service alone, in the body of a request that follows no
    redirect; the vendor's API sees the token.
(2) The token's end is the earlier of what the answer says and an hour: a service that promises
    more is not believed.
(3) IAM cannot recall a token. It lives in memory alone, and lapses.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final
from urllib.parse import urlencode

import httpx
import msgspec

from cryogate.credentials.vendor_secrets import StoredSecrets
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseSource, LeaseTerms, LeaseUnavailable, Minted

_MAX_ANSWER: Final = 64 << 10
_LONGEST_MS: Final = 3_600_000
_GRANT: Final = "urn:ibm:params:oauth:grant-type:apikey"
_Token = Annotated[str, msgspec.Meta(min_length=16, max_length=16_384, pattern=r"\A[!-~]+\Z")]


class IbmRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cryogate secret set ibm`` takes: the key of a service id, and its instance."""

    api_key: Annotated[str, msgspec.Meta(min_length=16, max_length=512)]
    crn: Annotated[str, msgspec.Meta(pattern=r"\Acrn:[!-~]{1,512}\Z")]

    def __repr__(self) -> str:
        return "IbmRoot(…)"


class _Answer(msgspec.Struct):
    access_token: _Token
    expires_in: Annotated[int, msgspec.Meta(gt=0)]

    def __repr__(self) -> str:
        return "_Answer(…)"


class IbmIam(LeaseSource):
    """Trades an API key for an access token; the lease holds token and instance."""

    def __init__(
        self, *, secrets: StoredSecrets, clock: Clock, url: str, ca_file: str = ""
    ) -> None:
        self._secrets, self._clock, self._url = secrets, clock, url + "/identity/token"
        self._http = httpx.AsyncClient(
            verify=ca_file or True, trust_env=False, follow_redirects=False, timeout=10.0
        )

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """(1), (2)."""
        value = await self._secrets.value(terms.scheme, terms.experiment_id)
        try:
            root = msgspec.json.decode(value.reveal(), type=IbmRoot)
        except msgspec.MsgspecError:
            raise LeaseUnavailable(
                f"the secret for {terms.scheme} is not JSON with api_key and crn"
            ) from None
        body = urlencode({"grant_type": _GRANT, "apikey": root.api_key}).encode()
        found = await self._ask(body)
        now_ms = self._clock.now_ms()
        held = msgspec.json.encode({"token": found.access_token, "crn": root.crn})
        handle = hashlib.sha256(found.access_token.encode()).hexdigest()[:16]
        return Minted(Secret(held), now_ms + min(found.expires_in * 1000, _LONGEST_MS), handle)

    async def _ask(self, body: bytes) -> _Answer:
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "accept-encoding": "identity",
        }
        data = bytearray()
        async with self._http.stream("POST", self._url, headers=headers, content=body) as response:
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > _MAX_ANSWER:
                    raise LeaseUnavailable("the identity service sent too much")
        if response.status_code != 200:
            raise LeaseUnavailable(f"the identity service answered {response.status_code}")
        try:
            return msgspec.json.decode(bytes(data), type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # the cause could show a piece of the answer
            raise LeaseUnavailable("the identity service gave no token") from None

    async def end(self, handle: str) -> None:
        """(3): there is nothing to tell IAM."""

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()
