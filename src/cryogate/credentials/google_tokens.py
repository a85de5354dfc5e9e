"""Google access tokens: of a service account's key, or of a workload that has no key at all.

(1) A key signs one assertion (RFC 7523) for Google's token endpoint, good for five minutes; it is
    sent nowhere itself. The address is configured: the one that a key's file names is not used.
(2) A workload shows the token of its own issuer, read from a file each time, and gets one of
    Google's for it (RFC 8693). There is no secret of ours that could be lost.
(3) Either can be no more than the right to make tokens of another account: then that account's
    token is what is lent out, and it lives as long as the lease and no longer.
(4) Google cannot recall a token. It lives in memory alone, and lapses.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cryogate.config.secret_files import read_secret
from cryogate.credentials.bearer_tokens import Token, TokenSource, handle_of
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseTerms, LeaseUnavailable, Minted, RootSecrets

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_ASSERTION_S: Final = 300
_LONGEST_S: Final = 3600
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPES: Final = "urn:ietf:params:oauth:token-type:"
_MIN_BITS: Final = 2048


class GoogleRoot(msgspec.Struct, frozen=True):
    """What ``cryogate secret set google`` takes: a service account's key file. Its addresses are
    not read (1).
    """

    client_email: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9@.-]{6,255}\Z")]
    private_key: Annotated[str, msgspec.Meta(min_length=64, max_length=16_384)]
    private_key_id: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,128}\Z")]

    def __repr__(self) -> str:
        return "GoogleRoot(…)"


class _Short(msgspec.Struct, rename="camel"):
    access_token: Token
    expire_time: str

    def __repr__(self) -> str:
        return "_Short(…)"


@dataclass(frozen=True, slots=True)
class GooglePlaces:
    """Where tokens are had, and what for; see `cryogate.config.google`."""

    token_url: str
    sts_url: str
    iam_url: str
    service_account: str = ""
    audience: str = ""
    token_file: str = ""


class GoogleTokens(TokenSource):
    """``places.audience`` set: (2); otherwise (1). ``places.service_account`` set: (3) as well."""

    def __init__(
        self, *, secrets: RootSecrets, clock: Clock, places: GooglePlaces, ca_file: str = ""
    ) -> None:
        super().__init__(secrets, clock, ca_file)
        self._places = places

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """(1) or (2), then (3)."""
        places = self._places
        if places.audience:
            token, until_ms = await self._of_workload()
        else:
            token, until_ms = await self._of_key(terms)
        if places.service_account:
            token, until_ms = await self._of_account(token, ttl_s)
        return Minted(Secret(token.encode()), until_ms, handle_of(token))

    async def _of_key(self, terms: LeaseTerms) -> tuple[str, int]:
        root = await self._root(terms, GoogleRoot)
        form = {"grant_type": _JWT_BEARER, "assertion": self._assertion(root)}
        return await self._ask("POST", self._places.token_url, form)

    def _assertion(self, root: GoogleRoot) -> str:
        now_s = self._clock.now_ms() // 1000
        claims = {
            "iss": root.client_email,
            "scope": SCOPE,
            "aud": self._places.token_url,
            "iat": now_s,
            "exp": now_s + _ASSERTION_S,
        }
        head = {"alg": "RS256", "typ": "JWT", "kid": root.private_key_id}
        signed = f"{_b64(msgspec.json.encode(head))}.{_b64(msgspec.json.encode(claims))}"
        try:
            key = load_pem_private_key(root.private_key.encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # the error's text could show a piece of the key
            raise LeaseUnavailable("the secret for google has no private key") from None
        if not isinstance(key, RSAPrivateKey) or key.key_size < _MIN_BITS:
            raise LeaseUnavailable(f"the key for google is no RSA key of {_MIN_BITS} bits or more")
        return f"{signed}.{_b64(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"

    async def _of_workload(self) -> tuple[str, int]:
        places = self._places
        try:
            subject = read_secret("google.token_file", places.token_file)
        except Exception as error:
            raise LeaseUnavailable("google.token_file cannot be read") from error
        form = {
            "grant_type": _EXCHANGE,
            "audience": places.audience,
            "scope": SCOPE,
            "requested_token_type": _TYPES + "access_token",
            "subject_token_type": _TYPES + "jwt",
            "subject_token": subject,
        }
        return await self._ask("POST", places.sts_url, form)

    async def _of_account(self, token: str, ttl_s: int) -> tuple[str, int]:
        life_s = max(60, min(ttl_s, _LONGEST_S))
        body = msgspec.json.encode({"scope": [SCOPE], "lifetime": f"{life_s}s"})
        account = self._places.service_account
        url = f"{self._places.iam_url}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        data, _ = await self._call("POST", url, None, headers, body)
        try:
            found = msgspec.json.decode(data, type=_Short)
            ends_ms = int(datetime.fromisoformat(found.expire_time).timestamp() * 1000)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError):
            raise LeaseUnavailable("the identity service gave no token") from None
        # what the answer promises beyond what was asked for is not believed
        return found.access_token, min(ends_ms, self._clock.now_ms() + life_s * 1000)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
