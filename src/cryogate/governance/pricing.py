"""Price books: versioned data in, upper bounds out.

A backend without an entry has no price, and what has no price is refused. An exact name wins
over a pattern, a longer pattern over a shorter one; two entries that would win alike are an
error when the book is loaded, not a matter of their order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from itertools import combinations
from typing import Any, NoReturn

import msgspec

from cryogate.circuits import Facts
from cryogate.domain.ids import is_backend
from cryogate.domain.money import Money
from cryogate.governance.book import Rates
from cryogate.governance.conversions import (
    Conversion,
    PriceBookInvalid,
    days_since_epoch,
    load_conversions,
)
from cryogate.governance.price_models import (
    Entry,
    Formula,
    Nominal,
    PerSecondBound,
    UncountedGate,
    VendorEstimate,
    formula,
)
from cryogate.ports.pricing import PriceBook, Quote, Unpriced

__all__ = ["DataPriceBook", "PriceBookInvalid", "Priced", "default_price_book", "load_price_book"]

MAX_BOOK_BYTES = 1 << 20
_MAX_CENTS = 2**53 - 1
_MAX_CACHED = 1024
_ANY = "[a-z0-9._-]"


@dataclass(frozen=True, slots=True)
class Priced:
    """An entry, ready for use. No formula: its vendor is asked. No day: it does not age."""

    formula: Formula | None
    currency: str
    text: str
    source: str
    as_of: str
    day: int | None
    model: str
    headroom_percent: int = 0
    ceiling_cents: int = 0
    second: Fraction | None = None


class DataPriceBook(PriceBook):
    """A price book from checked entries. ``digest`` is the SHA-256 (hex) of its file."""

    def __init__(
        self,
        version: str,
        digest: str,
        entries: Mapping[str, Entry],
        conversions: Mapping[tuple[str, str], Conversion] | None = None,
    ) -> None:
        self.version = version
        self.digest = digest
        self.entries = entries
        self.conversions = dict(conversions or {})
        self.rates = Rates({pair: found.rate for pair, found in self.conversions.items()})
        self._exact = {name: _priced(e) for name, e in entries.items() if "*" not in name}
        patterns = sorted((name for name in entries if "*" in name), key=_breadth)
        self._patterns = [(_compiled(name), _priced(entries[name])) for name in patterns]
        self._found: dict[str, Priced] = dict(self._exact)

    def listed(self) -> list[tuple[str, Priced]]:
        """Every entry by its name or pattern."""
        return [(name, _priced(self.entries[name])) for name in sorted(self.entries)]

    def find(self, backend: str) -> Priced:
        """The entry that prices ``backend``.

        Raises:
            Unpriced: there is none.
        """
        return self._found.get(backend) or self._resolve(backend)

    def quote(self, backend: str, facts: Facts, shots: int) -> Quote:
        """The upper bound as the book has it: its own currency, whatever its age.

        Raises:
            Unpriced: no entry, no price for a gate, a bound beyond 2**53, or the vendor's to say.
            ValueError: ``shots`` is not at least 1.
        """
        priced = self.find(backend)
        cost = self.bound(priced, backend, facts, shots)
        return Quote(cost, priced.text, priced.source, priced.as_of)

    def per_second(self, backend: str) -> Fraction | None:
        """See `PriceBook.per_second`."""
        try:
            return self.find(backend).second
        except Unpriced:
            return None

    def bound(self, priced: Priced, backend: str, facts: Facts, shots: int) -> Money:
        """The upper bound for ``shots`` executions, rounded up to a cent.

        Raises:
            Unpriced: a gate without a price, or a bound beyond 2**53.
            ValueError: ``shots`` is not at least 1.
        """
        if type(shots) is not int or shots < 1:
            raise ValueError("shots are at least 1")
        if priced.formula is None:
            raise Unpriced("no_estimator", "this backend's price is its vendor's to say")
        try:
            cents = priced.formula.cents(facts, shots)
        except UncountedGate as error:
            raise Unpriced("unpriced", f"{error} on {backend}") from error
        if cents > _MAX_CENTS:
            raise Unpriced("unpriced", "the cost is beyond anything that can be held")
        return Money(cents, priced.currency)

    def _resolve(self, backend: str) -> Priced:
        # A name that is no backend name must not meet a pattern by accident.
        if is_backend(backend):
            for pattern, priced in self._patterns:
                if pattern.fullmatch(backend):
                    if len(self._found) < _MAX_CACHED:
                        self._found[backend] = priced
                    return priced
        raise Unpriced("unpriced", "no price is known for this backend, so nothing can be held")


def _priced(entry: Entry) -> Priced:
    as_of, day = entry.as_of.isoformat(), days_since_epoch(entry.as_of)
    model = str(type(entry).__struct_config__.tag)
    if isinstance(entry, VendorEstimate):
        text = f"the vendor's estimate + {entry.headroom_percent} %, at most {entry.ceiling}"
        ceiling = Fraction(entry.ceiling) * 100
        return Priced(
            None, entry.currency, f"{text} {entry.currency}", entry.source, as_of, day, model,
            entry.headroom_percent, ceiling.numerator // ceiling.denominator,
        )  # fmt: skip
    made = formula(entry)
    text = f"{made.text}, rounded up to 0.01"
    # What bills nobody has no date by which it could be wrong.
    aging = None if isinstance(entry, Nominal) else day
    second = Fraction(entry.second) * 100 if isinstance(entry, PerSecondBound) else None
    return Priced(made, entry.currency, text, entry.source, as_of, aging, model, second=second)


def _breadth(pattern: str) -> tuple[int, str]:
    return -len(pattern.replace("*", "")), pattern


def _compiled(pattern: str) -> re.Pattern[str]:
    head, *middle, tail = (re.escape(part) for part in pattern.split("*"))
    # The first place where a middle part fits is as good as any later one, so the group may be
    # atomic: a name from outside can cost no backtracking between the stars.
    inner = "".join(f"(?>{_ANY}*?{part})" for part in middle)
    return re.compile(f"{head}{inner}{_ANY}*{tail}")


def load_price_book(data: bytes, name: str = "price book") -> DataPriceBook:
    """A price book from the bytes of its JSON file; ``name`` is for messages.

    Raises:
        PriceBookInvalid: not strict JSON of the known form, or ambiguous.
    """
    if len(data) > MAX_BOOK_BYTES:
        raise PriceBookInvalid(f"{name}: longer than {MAX_BOOK_BYTES} bytes")
    try:
        raw = json.loads(
            data,
            object_pairs_hook=_no_repeats,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError) as error:
        raise PriceBookInvalid(f"{name}: {error}") from error
    if not isinstance(raw, dict) or set(raw) - {"conversions"} != {"version", "entries"}:
        raise PriceBookInvalid(f"{name}: needs the keys version and entries, may have conversions")
    version, listed = raw["version"], raw["entries"]
    if not isinstance(version, str) or not 1 <= len(version) <= 64:
        raise PriceBookInvalid(f"{name}: version must be a text of 1 to 64 characters")
    if not isinstance(listed, list) or not listed:
        raise PriceBookInvalid(f"{name}: entries must be a list that is not empty")
    entries: dict[str, Entry] = {}
    for place, item in enumerate(listed):
        entry = _entry(item, f"{name}: entry {place} ({_label(item)})")
        if entry.backend in entries:
            raise PriceBookInvalid(f"{name}: entry {place} ({entry.backend}) is there twice")
        entries[entry.backend] = entry
    _no_ties(entries, name)
    conversions = load_conversions(raw.get("conversions", []), name)
    return DataPriceBook(version, hashlib.sha256(data).hexdigest(), entries, conversions)


def default_price_book() -> DataPriceBook:
    """The shipped prices. They are public list prices of their dates, not an offer."""
    data = resources.files(__package__).joinpath("prices/default.json").read_bytes()
    return load_price_book(data, "default.json")


def _entry(item: object, where: str) -> Entry:
    try:
        entry: Entry = msgspec.convert(item, Entry)
    except msgspec.ValidationError as error:
        raise PriceBookInvalid(f"{where}: {error}") from error
    if "*" not in entry.backend and not is_backend(entry.backend):
        raise PriceBookInvalid(f"{where}: key backend is not scheme:device")
    return entry


def _label(item: object) -> str:
    backend = item.get("backend") if isinstance(item, dict) else None
    return repr(backend)[:80] if isinstance(backend, str) else "no backend"


def _no_ties(entries: Mapping[str, Entry], name: str) -> None:
    alike: dict[tuple[str, int], list[str]] = {}
    for pattern in entries:
        if "*" in pattern:
            alike.setdefault((pattern.partition(":")[0], _breadth(pattern)[0]), []).append(pattern)
    for patterns in alike.values():
        for one, other in combinations(patterns, 2):
            if _overlap(one, other):
                raise PriceBookInvalid(f"{name}: entries {one} and {other} could both win")


def _overlap(one: str, other: str) -> bool:
    """Whether two patterns might match one name: false only when their fixed ends differ."""
    heads = one.partition("*")[0], other.partition("*")[0]
    if not (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])):
        return False
    tails = one.rpartition("*")[2], other.rpartition("*")[2]
    return tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text[:32]} is a float; write figures as text")
