"""What bounds a job at its vendor: checked against the price book, and told at start.

A price by the second bounds nothing unless the vendor stops the job after the same time. So a book
that reserves for another time than the adapter asks for is refused, before anything is served.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryogate.config import Config, ConfigError
from cryogate.governance.price_models import PerSecondBound
from cryogate.governance.pricing import DataPriceBook, default_price_book, load_price_book
from cryogate.ports.provider import Backend
from cryogate.server.limit_views import described

log = logging.getLogger("cryogate.limits")
#: Adapters that send a longest time with each job, and the setting that it comes from.
_TIMED: Final = {"ibm": "ibm.max_seconds"}

#: Adapters that send a limit of cost with each job, in a unit of the vendor's own.
_CREDITS: Final = {"quantinuum": "HQC"}


def open_book(config: Config) -> DataPriceBook:
    """The price book in force.

    Raises:
        ConfigError: there is no such file.
        PriceBookInvalid: it is none.
    """
    book = config.prices.book
    if not book:
        return default_price_book()
    try:
        return load_price_book(Path(book).read_bytes(), book)
    except OSError as error:
        raise ConfigError(f"prices.book: cannot read {book}: {error.strerror}") from error


def check_times(config: Config, book: DataPriceBook) -> None:
    """Return if the book reserves for the very time that adapters let a job run.

    Raises:
        ConfigError: it does not; says what to change.
    """
    for scheme, setting in _TIMED.items():
        if scheme not in config.providers.enabled:
            continue
        seconds = getattr(getattr(config, scheme), setting.partition(".")[2])
        for name, entry in sorted(book.entries.items()):
            if not name.startswith(f"{scheme}:"):
                continue
            if not isinstance(entry, PerSecondBound):
                raise ConfigError(
                    f"the price book prices {name} by another model than per_second_bound, but "
                    f"{scheme} bills by time: a reservation would bound nothing"
                )
            if entry.max_seconds != seconds:
                raise ConfigError(
                    f"{setting} is {seconds}, but the price book ({book.version}) reserves for "
                    f"{entry.max_seconds} s on {name}: set both to the same number"
                )


def check_currencies(config: Config, book: DataPriceBook) -> None:
    """Return if adapters whose limit of cost is in one unit get their reservations in that unit.

    Raises:
        ConfigError: a limit in dollars would be sent as one in credits; says what to change.
    """
    wanted = {**_CREDITS, **({"ionq": "USD"} if config.ionq.sessions else {})}
    for scheme, currency in wanted.items():
        if scheme not in config.providers.enabled:
            continue
        for name, entry in sorted(book.entries.items()):
            if name.startswith(f"{scheme}:") and entry.currency != currency:
                raise ConfigError(
                    f"the price book ({book.version}) prices {name} in {entry.currency}, but "
                    f"{scheme} limits cost in {currency}: price it in {currency}, and enter what "
                    f"one {currency} is in {entry.currency} as a conversion"
                )


def tell(devices: Iterable[Backend]) -> None:
    """Log what bounds hardware at its vendor, and which hardware nothing bounds there."""
    for device in devices:
        if device.simulator:
            continue
        if not device.vendor_limits:
            log.warning("%s: the vendor enforces no limit of cost or time", device.name)
        for limit in device.vendor_limits:
            log.info("%s: %s", device.name, described(limit))
