"""Keys of other issuers: fetched, remembered, and never fetched faster than we choose.

(1) ``jwks_uri`` comes from the issuer's own metadata, which must name that very issuer (OpenID
    Connect Discovery section 4.3); a caller may name it instead, for issuers without metadata
(2) keys are fresh for what ``Cache-Control`` says, within `FRESH_MS`
(3) a key name that is not in the set makes us look again, but at most once in `AGAIN_MS`, for
    all callers together: a flood of invented names costs nothing (T11)
(4) after a failure the next look waits twice as long, up to `MOST_MS`; meanwhile keys that were
    fetched serve on, `STALE_MS` beyond their freshness and no longer
(5) of several callers that need the same keys, one fetches and the others wait for it
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryogate.domain.errors import Unavailable
from cryogate.outbound.errors import FetchFailed, UnknownKey, UnsafeUrl
from cryogate.outbound.fetcher import Answer, Fetcher
from cryogate.tokens.encoding import parse_object
from cryogate.tokens.errors import MalformedToken

FRESH_MS: Final = (60_000, 3_600_000)
DEFAULT_FRESH_MS: Final = 600_000
STALE_MS: Final = 3_600_000
AGAIN_MS: Final = 30_000
FIRST_WAIT_MS: Final = 1_000
MOST_MS: Final = 60_000
MAX_ISSUERS: Final = 256
MAX_KEYS: Final = 64
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})(?:$|[,\s])", re.ASCII)

Jwk = Mapping[str, object]


@dataclass(slots=True)
class _Known:
    keys: Mapping[str, Jwk] = field(default_factory=dict)
    fresh_until_ms: int = 0
    next_look_ms: int = 0
    failures: int = 0
    jwks_uri: str | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class IssuerKeys:
    """See the module. ``monotonic_ms`` is a clock that never steps."""

    def __init__(self, fetcher: Fetcher, monotonic_ms: Callable[[], int]) -> None:
        self._fetcher, self._now = fetcher, monotonic_ms
        self._known: dict[tuple[str, str | None], _Known] = {}

    async def key(self, issuer: str, kid: str, jwks_uri: str | None = None) -> Jwk:
        """The public JWK that ``issuer`` calls ``kid``.

        Ask only for issuers that somebody entrusted: this fetches.

        Raises:
            UnknownKey: the issuer has no such key now.
            Unavailable: its keys cannot be had.
        """
        known = self._entry(issuer, jwks_uri)
        if self._now() >= known.fresh_until_ms or kid not in known.keys:
            async with known.lock:  # (5)
                await self._look(known, issuer, kid, jwks_uri)
        if not known.keys or self._now() >= known.fresh_until_ms + STALE_MS:  # (4)
            raise Unavailable(f"the keys of {issuer} cannot be had")
        found = known.keys.get(kid)
        if found is None:
            raise UnknownKey
        return found

    async def metadata(self, issuer: str) -> dict[str, object]:
        """The issuer's metadata, fetched now (1).

        Raises:
            FetchFailed: no usable answer, or one that names another issuer.
        """
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = _object(await self._fetcher.get(url))
        if document.get("issuer") != issuer:
            raise FetchFailed(f"the metadata at {issuer} names another issuer")
        return document

    def _entry(self, issuer: str, jwks_uri: str | None) -> _Known:
        place = issuer, jwks_uri
        known = self._known.pop(place, None) or _Known()
        self._known[place] = known  # in order of last use
        if len(self._known) > MAX_ISSUERS:
            del self._known[next(iter(self._known))]
        return known

    async def _look(self, known: _Known, issuer: str, kid: str, jwks_uri: str | None) -> None:
        now_ms = self._now()
        if (now_ms < known.fresh_until_ms and kid in known.keys) or now_ms < known.next_look_ms:
            return  # (3), (4): somebody has looked already
        try:
            answer = await self._fetcher.get(await self._where(known, issuer, jwks_uri))
            keys = _keys(_object(answer))
        except (FetchFailed, UnsafeUrl):
            known.failures += 1
            wait_ms = min(MOST_MS, FIRST_WAIT_MS << min(known.failures - 1, 16))
            known.next_look_ms = self._now() + wait_ms
            known.jwks_uri = None
            if not known.keys:
                raise
            return
        known.keys, known.failures = keys, 0
        known.fresh_until_ms = now_ms + _fresh_ms(answer)
        known.next_look_ms = now_ms + AGAIN_MS

    async def _where(self, known: _Known, issuer: str, jwks_uri: str | None) -> str:
        if jwks_uri is not None:
            return jwks_uri
        if known.jwks_uri is None:  # (1)
            found = (await self.metadata(issuer)).get("jwks_uri")
            if not isinstance(found, str):
                raise FetchFailed(f"the metadata of {issuer} has no jwks_uri")
            known.jwks_uri = found
        return known.jwks_uri


def _object(answer: Answer) -> dict[str, object]:
    try:
        return parse_object(answer.body)
    except MalformedToken as error:
        raise FetchFailed("the answer is not a JSON object") from error


def _keys(document: Mapping[str, object]) -> Mapping[str, Jwk]:
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise FetchFailed("the answer is not a JWK set of reasonable size")
    found: dict[str, Jwk] = {}
    for jwk in listed:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        # symmetric keys and keys for encryption are no keys here (T1)
        usable = isinstance(jwk, dict) and jwk.get("kty") in ("RSA", "EC", "OKP")
        if isinstance(kid, str) and usable and jwk.get("use", "sig") == "sig":
            found.setdefault(kid, jwk)
    if not found:
        raise FetchFailed("the JWK set holds no key for signatures")
    return found


def _fresh_ms(answer: Answer) -> int:
    said = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    least, most = FRESH_MS
    return DEFAULT_FRESH_MS if said is None else max(least, min(most, int(said[1]) * 1000))
