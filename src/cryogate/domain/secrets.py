"""A secret that cannot be shown by accident (S1)."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Holds bytes that never appear in ``repr``, ``str``, formatting, pickles or comparisons.

    The one way to the value is `reveal`, so a review can find every use by searching for it.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def reveal(self) -> bytes:
        """The value itself. Pass it on at once; never store or format it."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("a Secret is not compared; use hmac.compare_digest on reveal()")

    __hash__ = None  # type: ignore[assignment]
