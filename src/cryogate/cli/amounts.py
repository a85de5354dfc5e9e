"""Money on the command line: ``12.50`` or ``1250c``, to integer cents, without floats."""

from __future__ import annotations

import re

import click

from cryogate.domain.money import Money

_UNITS = re.compile(r"([0-9]{1,13})\.([0-9]{2})", re.ASCII)
_CENTS = re.compile(r"([0-9]{1,15})c", re.ASCII)


def parse_cents(text: str) -> int:
    """Cents of ``12.50`` or ``1250c``.

    Raises:
        ValueError: any other spelling. ``12`` could mean either, so it is refused.
    """
    if found := _UNITS.fullmatch(text):
        return int(found[1]) * 100 + int(found[2])
    if found := _CENTS.fullmatch(text):
        return int(found[1])
    raise ValueError("write 12.50 for an amount, or 1250c for cents")


def show_cents(cents: object, currency: object) -> str:
    """``1.23 USD``; ``1.23`` where the currency goes without saying; a dash when not known."""
    if type(cents) is not int:
        return "-"
    try:
        return str(Money(cents, str(currency)))
    except ValueError:
        return str(Money(cents, "XXX")).removesuffix(" XXX")


class CentsParam(click.ParamType[int]):
    """A click parameter that is an amount of money."""

    name = "amount"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Cents, or a usage error."""
        if isinstance(value, int):
            return value
        try:
            return parse_cents(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is not an amount: {error}", param, ctx)


CENTS = CentsParam()
