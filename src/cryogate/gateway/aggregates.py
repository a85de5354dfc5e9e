"""What of a result goes out as aggregates, and every form in which it may be asked for.

Why asking again, or otherwise, cannot rebuild what was withheld (D1):

 (1) `kept` alone decides which outcomes go out. It sees the whole result, and no request.
 (2) Every form (counts, probabilities, expectation values, fewer outcomes) is computed from what
     `kept` let through, the number of shots, and how many of them were withheld. Two results that
     `kept` makes equal are equal in every answer.
 (3) What is withheld never adds up to less than ``min_count`` shots: where it would, the rarest
     outcomes that would have gone out stay in as well. So no rare outcome follows by subtraction.
 (4) A cut only ever meets another one: the stricter half of each counts.

That something was withheld, by which rule, and how many shots, is always said (D3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from cryogate.domain.errors import Malformed

MAX_Z = 64
MAX_TOP = 1_000_000
_Z = re.compile(r"[IZ]{0,1024}", re.ASCII)


class Form(StrEnum):
    """What a result is told in."""

    COUNTS = "counts"
    PROBABILITIES = "probabilities"


@dataclass(frozen=True, slots=True)
class Cut:
    """Outcomes seen at least ``min_count`` times, the ``top_k`` most frequent of them (0: all)."""

    min_count: int = 1
    top_k: int = 0

    def met(self, other: Cut) -> Cut:
        """(4) The stricter half of each."""
        tops = [cut.top_k for cut in (self, other) if cut.top_k]
        return Cut(max(self.min_count, other.min_count), min(tops, default=0))


@dataclass(frozen=True, slots=True)
class Ask:
    """How a reader wants a result; ``top`` 0: all that may go out. ``z``: expectation values."""

    form: Form = Form.COUNTS
    top: int = 0
    z: tuple[str, ...] = ()


class CutView(msgspec.Struct, frozen=True):
    """(D3) What was applied, and how many shots it withheld."""

    min_count: int
    top_k: int | None
    withheld_shots: int


class Expectation(msgspec.Struct, frozen=True):
    """Of a string of Z over the released shots; over all shots it lies from ``low`` to ``high``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What may go out: outcomes, most frequent first, and how many shots they leave out."""

    counts: Mapping[str, int]
    shots: int
    withheld_shots: int


def kept(counts: Mapping[str, int], cut: Cut) -> Kept:
    """(1) and (3)."""
    shots = sum(counts.values())
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    out = [item for item in order if item[1] >= cut.min_count]
    if cut.top_k:
        out = out[: cut.top_k]
    withheld = shots - sum(count for _, count in out)
    while out and 0 < withheld < cut.min_count:
        withheld += out.pop()[1]
    return Kept(dict(out), shots, withheld)


def fewer(found: Kept, top: int) -> Kept:
    """(2) The ``top`` most frequent of what goes out (0: all of it)."""
    if not top or top >= len(found.counts):
        return found
    out = dict(list(found.counts.items())[:top])
    return Kept(out, found.shots, found.shots - sum(out.values()))


def probabilities(found: Kept) -> dict[str, float]:
    """(2) Shares of all shots; those of withheld outcomes are missing from the sum."""
    return {outcome: count / found.shots for outcome, count in found.counts.items()}


def expectations(found: Kept, width: int, strings: tuple[str, ...]) -> dict[str, Expectation]:
    """(2) of each string of ``I`` and ``Z``, leftmost for the leftmost classical bit.

    Raises:
        Malformed: not a string for this many classical bits.
    """
    wanted = {}
    released = found.shots - found.withheld_shots
    for string in strings:
        if len(string) != width:
            raise Malformed("malformed_query", f"z: each string has {width} letters, I or Z")
        at = [n for n, letter in enumerate(string) if letter == "Z"]
        total = 0
        for outcome, count in found.counts.items():
            total += -count if sum(outcome[n] == "1" for n in at) % 2 else count
        wanted[string] = Expectation(
            total / released if released else 0.0,
            (total - found.withheld_shots) / found.shots,
            (total + found.withheld_shots) / found.shots,
        )
    return wanted


def z_strings(text: str) -> tuple[str, ...]:
    """The strings of ``ZZ,IZ``.

    Raises:
        Malformed: others, too many, or one twice.
    """
    found = tuple(text.split(","))
    if len(found) > MAX_Z or len(set(found)) != len(found):
        raise Malformed("malformed_query", f"z: at most {MAX_Z} different strings")
    if not all(string and _Z.fullmatch(string) for string in found):
        raise Malformed("malformed_query", "z: strings of I and Z, separated by commas")
    return found
