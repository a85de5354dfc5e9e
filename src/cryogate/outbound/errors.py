"""Why an outbound request gave nothing.

::

    Malformed
    └── UnsafeUrl            a URL that is never fetched, whatever answers there
    Unavailable
    └── FetchFailed          no usable answer; the text is for our log, not for the caller
        └── BlockedAddress       the name leads to an address that must not be reached (P4)
    Unauthenticated
    └── UnknownKey           the issuer has no key of this name
"""

from __future__ import annotations

from cryogate.domain.errors import Malformed, Unauthenticated, Unavailable


class UnsafeUrl(Malformed):
    """The URL itself is not acceptable."""

    def __init__(self, detail: str) -> None:
        super().__init__("unsafe_url", detail)


class FetchFailed(Unavailable):
    """There was no answer that can be used."""


class BlockedAddress(FetchFailed):
    """The name resolves to an address inside, or to none that is public."""


class UnknownKey(Unauthenticated):
    """Nobody can say that this signature is the issuer's."""

    def __init__(self) -> None:
        super().__init__("unknown_key", "the issuer has no such key")
