"""Counts as bars for a terminal. What is left out is always said."""

from __future__ import annotations

from collections.abc import Mapping

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def histogram(
    counts: Mapping[str, int],
    shots: int,
    *,
    top: int = 16,
    width: int = 40,
    ascii_only: bool = False,
) -> list[str]:
    """Lines of text: the ``top`` outcomes, then the total, and what is not shown.

    Most frequent first; equals in order of their bit string, so that the same counts always
    give the same picture.
    """
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked[: max(1, top)]
    most = max((count for _, count in shown), default=0)
    label = max((len(bits) for bits, _ in shown), default=0)
    digits = len(str(most))
    lines = [
        f"{bits:>{label}}  {_bar(count, most, width, ascii_only)}  "
        f"{count:>{digits}}  {_percent(count, shots):>6}"
        for bits, count in shown
    ]
    released = sum(counts.values())
    outcomes = f"{len(ranked)} outcome{'' if len(ranked) == 1 else 's'}"
    lines.append(f"total {released} of {shots} shots in {outcomes}")
    if hidden := len(ranked) - len(shown):
        rest = released - sum(count for _, count in shown)
        lines.append(f"not shown: {hidden} more outcomes with {rest} shots (--top to see more)")
    if released < shots:
        lines.append(f"not released: {shots - released} shots")
    return lines


def _bar(count: int, most: int, width: int, ascii_only: bool) -> str:
    if most <= 0:
        return " " * width
    if ascii_only:
        return ("#" * max(1 if count else 0, count * width // most)).ljust(width)
    eighths = max(1 if count else 0, count * width * 8 // most)
    bar = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return bar.ljust(width)


def _percent(count: int, shots: int) -> str:
    if shots <= 0:
        return "-"
    tenths = (count * 1000 + shots // 2) // shots
    return f"{tenths // 10}.{tenths % 10}%"
