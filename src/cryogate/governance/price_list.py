"""A price book as people read it: every entry with its formula, source, date and age."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryogate.domain.errors import NotFound
from cryogate.domain.periods import DAY_MS
from cryogate.governance.pricing import DataPriceBook, Priced
from cryogate.governance.quotes import AgeLimit
from cryogate.ports.pricing import Unpriced


class PriceList:
    """The book in force, and how old its entries are by now."""

    def __init__(self, book: DataPriceBook, age: AgeLimit, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._age = age
        self._now_ms = now_ms

    def document(self) -> dict[str, Any]:
        """The whole book. ``stale`` entries need a person's yes, or are no price, as configured."""
        book = self._book
        return {
            "version": book.version,
            "sha256": book.digest,
            "max_age_days": self._age.max_days,
            "stale": self._age.stale,
            "items": [self._item(name, priced) for name, priced in book.listed()],
            "conversions": [
                {
                    "from": one,
                    "to": other,
                    "rate": found.figure,
                    "source": found.source,
                    "as_of": found.as_of,
                    **self._aged(found.day),
                }
                for (one, other), found in sorted(book.conversions.items())
            ],
        }

    def one(self, backend: str) -> dict[str, Any]:
        """The entry that prices ``backend``.

        Raises:
            NotFound: there is none, so the backend is refused.
        """
        try:
            return self._item(backend, self._book.find(backend))
        except Unpriced as error:
            raise NotFound("unpriced", error.detail) from error

    def _item(self, name: str, priced: Priced) -> dict[str, Any]:
        return {
            "backend": name,
            "model": priced.model,
            "currency": priced.currency,
            "formula": priced.text,
            "source": priced.source,
            "as_of": priced.as_of,
            **self._aged(priced.day),
        }

    def _aged(self, day: int | None) -> dict[str, Any]:
        if day is None:
            return {"age_days": None, "is_stale": False}
        age = max(0, self._now_ms() // DAY_MS - day)
        return {"age_days": age, "is_stale": 0 < self._age.max_days < age}
