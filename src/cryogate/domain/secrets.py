"""A secret that cannot be shown by accident (S1)."""

from __future__ import annotations

from typing import Any, NoReturn


class Secret:
    """Holds bytes that never appear in ``repr``, ``str``, formatting, pickles or comparisons.

    A traceback that shows local variables shows ``repr``, so it shows nothing; an encoder finds no
    fields. The ways to the value are `reveal` and `text`, so a review can find every use by
    searching for them.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = value

    def reveal(self) -> bytes:
        """The value itself. Pass it on at once; never store or format it."""
        return self.__value

    def text(self) -> str:
        """The value as ASCII text, for a header or a signature. Pass it on at once.

        Raises:
            ValueError: it is no ASCII text; the message does not hold it.
        """
        if not self.__value.isascii():
            raise ValueError("the secret is no ASCII text")
        return self.__value.decode("ascii")

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("a Secret is not compared; use hmac.compare_digest on reveal()")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("a Secret has no subclasses: one could show it")

    __hash__ = None  # type: ignore[assignment]
