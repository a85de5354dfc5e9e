"""Times on the command line: RFC 3339 in, or ``+30d`` from now; UTC only."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

from cryogate.ports.audit import rfc3339

_AHEAD = re.compile(r"\+([0-9]{1,6})([mhd])", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_time(text: str, now_ms: int) -> str:
    """RFC 3339 UTC of ``2026-12-31``, ``2026-12-31T12:00:00Z`` or ``+30d`` / ``+12h`` / ``+45m``.

    Raises:
        ValueError: any other spelling, or a time without a zone.
    """
    if found := _AHEAD.fullmatch(text):
        return rfc3339(now_ms + int(found[1]) * _UNIT_MS[found[2]])
    if _DATE.fullmatch(text):
        text += "T00:00:00Z"
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone: end it in Z")
    return rfc3339(int(moment.astimezone(UTC).timestamp() * 1000))


class TimeParam(click.ParamType[str]):
    """A click parameter that is a moment."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """RFC 3339 UTC, or a usage error."""
        try:
            return parse_time(str(value), time.time_ns() // 1_000_000)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time: write 2026-12-31, 2026-12-31T12:00:00Z or +30d",
                param,
                ctx,
            )


TIME = TimeParam()
