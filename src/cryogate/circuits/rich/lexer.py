"""Tokens of OpenQASM 2 and 3, in one linear pass without backtracking."""

from __future__ import annotations

import re
from bisect import bisect_right

from cryogate.circuits.errors import CircuitError, shown

_TOKEN = re.compile(
    r"\s*+(?:"
    r"(?P<name>[A-Za-z_]\w{0,63}+)"
    r"|(?P<real>(?:\d{1,40}+\.\d{0,40}+|\.\d{1,40}+)(?:[eE][-+]?\d{1,3}+)?+"
    r"|\d{1,40}+[eE][-+]?\d{1,3}+)"
    r"|(?P<int>\d{1,40}+)"
    r'|(?P<text>"[^"\n]{0,100}+")'
    r"|(?P<symbol>->|==|!=|<<=|>>=|<=|>=|<<|>>|&&|\|\||\*\*|\+\+|[-+*/%&|^]="
    r"|[-+*/%&|^~()\[\]{}<>=,;:@!])"
    r"|(?P<end>\Z)"
    r"|(?P<other>.))"
)


class Tokens:
    """Parallel lists: kind, text and offset of every token, with an ``end`` token last."""

    __slots__ = ("_newlines", "kinds", "offsets", "texts")

    def __init__(self, text: str) -> None:
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.offsets: list[int] = []
        kinds, texts, offsets = self.kinds.append, self.texts.append, self.offsets.append
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "end"
            start = match.start(kind)
            if kind == "other":
                raise CircuitError("syntax", f"unexpected {shown(text[start : start + 8])}").at(
                    text.count("\n", 0, start) + 1
                )
            kinds(kind)
            texts(match[kind])
            offsets(start)
            if kind == "end":
                break

    def line(self, position: int) -> int:
        """1-based line of a token."""
        return bisect_right(self._newlines, self.offsets[position]) + 1
