"""Tokens of OpenQASM 2 and 3, in one linear pass without backtracking."""

from __future__ import annotations

import re

from cryogate.circuits.errors import CircuitError, shown

# Everything is one token: blanks are skipped, a line feed counts, any other character is an error.
_TOKEN = re.compile(
    r"[ \t\r]*+("
    r"\n"
    r"|[A-Za-z_]\w{0,63}+"
    r"|(?:\d{1,40}+\.\d{0,40}+|\.\d{1,40}+)(?:[eE][-+]?\d{1,3}+)?+"
    r"|\d{1,40}+[eE][-+]?\d{1,3}+"
    r"|\d{1,40}+"
    r'|"[^"\n]{0,100}+"'
    r"|->|==|!=|<<=|>>=|<=|>=|<<|>>|&&|\|\||\*\*|\+\+|[-+*/%&|^]="
    r"|[-+*/%&|^~()\[\]{}<>=,;:@!]"
    r"|."
    r"|\Z)",
    re.ASCII,
)
_SYMBOLS = frozenset("-+*/%&|^~()[]{}<>=,;:@!")


class _Kinds(dict[str, str]):
    """Kind of a token by its text; equal tokens are looked at once."""

    def __missing__(self, text: str) -> str:
        first = text[:1]
        if not text:
            kind = "end"
        elif first.isalpha() or first == "_":
            kind = "name"
        elif text.isdigit():
            kind = "int"
        elif first.isdigit() or (first == "." and len(text) > 1):
            kind = "real"
        elif first == '"' and len(text) > 1:
            kind = "text"
        else:
            kind = "symbol" if len(text) > 1 or text in _SYMBOLS else "other"
        self[text] = kind
        return kind


class Tokens:
    """Parallel lists: kind, text and line of every token, with an empty ``end`` token last."""

    __slots__ = ("_lines", "kinds", "texts")

    def __init__(self, text: str) -> None:
        self.texts: list[str] = []
        self._lines: list[int] = []
        texts, lines, line = self.texts.append, self._lines.append, 1
        for found in _TOKEN.findall(text):
            if found == "\n":
                line += 1
            else:
                texts(found)
                lines(line)
        kinds = _Kinds()
        self.kinds = [kinds[token] for token in self.texts]
        if "other" in kinds.values():
            at = self.kinds.index("other")
            raise CircuitError("syntax", f"unexpected {shown(self.texts[at])}", line=self.line(at))

    def line(self, position: int) -> int:
        """1-based line of a token."""
        return self._lines[position]
