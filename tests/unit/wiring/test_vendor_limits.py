"""What bounds a job at its vendor: against the price book at start, and told to operators."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from cryogate.config import Config, ConfigError
from cryogate.config.sections import Ibm, Ionq, Providers
from cryogate.governance.pricing import DataPriceBook, default_price_book, load_price_book
from cryogate.ports.clock import SystemClock
from cryogate.ports.provider import Backend, Control, VendorLimit
from cryogate.providers import PROVIDERS, Setup
from cryogate.server.limit_views import described, limits_view
from cryogate.wiring.vendor_limits import check_currencies, check_times, tell

TIME = {"model": "per_second_bound", "second": "1.60", "max_seconds": 60}


def book(*entries: dict[str, Any]) -> DataPriceBook:
    about = {"currency": "USD", "source": "test", "as_of": "2026-11-01"}
    listed = [{**about, **entry} for entry in entries]
    return load_price_book(json.dumps({"version": "v7", "entries": listed}).encode())


def config(seconds: int = 60, *enabled: str) -> Config:
    return Config(ibm=Ibm(max_seconds=seconds), providers=Providers(enabled=enabled or ("ibm",)))


def device(*limits: VendorLimit, simulator: bool = True) -> Backend:
    gates = frozenset({"x"})
    found = Backend("x:y", "x", True, 1, 1, gates, frozenset(), vendor_limits=limits)
    object.__setattr__(found, "simulator", simulator)
    return found


def test_the_shipped_book_and_settings_agree() -> None:
    check_times(config(), default_price_book())


def test_another_time_than_the_book_reserves_for_is_refused_with_both_numbers() -> None:
    entries = ({"backend": "ibm:*", **TIME}, {"backend": "ibm:ibm_fez", **TIME, "max_seconds": 90})
    with pytest.raises(
        ConfigError, match=r"ibm\.max_seconds is 60, .* \(v7\) .*90 s on ibm:ibm_fez"
    ):
        check_times(config(60), book(*entries))
    with pytest.raises(ConfigError, match="60 s on ibm:"):
        check_times(config(61), default_price_book())
    # who does not use IBM need not care
    check_times(config(61, "ionq"), default_price_book())


def test_a_price_that_is_not_by_time_bounds_nothing_and_is_refused() -> None:
    flat = {"backend": "ibm:*", "model": "per_task_and_shot", "task": "1", "shot": "0"}
    with pytest.raises(ConfigError, match="another model than per_second_bound"):
        check_times(config(), book(flat))
    with pytest.raises(ConfigError, match="price book"):
        PROVIDERS["ibm"](Setup(config(), SystemClock()))


def test_a_limit_in_credits_needs_a_price_in_credits() -> None:
    check_currencies(config(60, "quantinuum"), default_price_book())
    dollars = {"backend": "quantinuum:h2-1", "model": "per_task_and_shot", "task": "1", "shot": "0"}
    with pytest.raises(ConfigError, match=r"quantinuum:h2-1 in USD.* conversion"):
        check_currencies(config(60, "quantinuum"), book(dollars))
    check_currencies(config(60, "ibm"), book(dollars))


def test_operators_are_told_what_holds_and_who_set_it(caplog: pytest.LogCaptureFixture) -> None:
    ours = VendorLimit(Control.MAX_TIME, "job", "seconds", 60, by_gateway=True)
    theirs = VendorLimit(Control.MAX_COST, "device", "USD", 10_000, 830, 1_796_083_200_000)
    held = VendorLimit(Control.MAX_COST, "job", "USD", by_gateway=True)
    assert described(ours) == "60 s per job, set on every job"
    assert described(theirs) == (
        "100.00 USD per device, set by an operator, 8.30 USD used, until 2026-12-01T00:00:00.000Z"
    )
    assert described(held) == "the job's reservation per job, set on every job"
    [view] = limits_view(device(theirs))
    assert (view["most"], view["used"], view["set_by"]) == (10_000, 830, "operator")
    assert theirs.left == 9170
    assert ours.left is None
    with caplog.at_level(logging.INFO, "cryogate.limits"):
        tell([device(ours, simulator=False), device(simulator=False), device()])
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "x:y: 60 s per job, set on every job"),
        ("WARNING", "x:y: the vendor enforces no limit of cost or time"),
    ]


def test_a_session_at_ionq_is_limited_in_dollars() -> None:
    euros = {"backend": "ionq:*", "model": "per_task_and_shot", "currency": "EUR",
             "task": "1", "shot": "0"}  # fmt: skip
    with_sessions = Config(ionq=Ionq(sessions=True), providers=Providers(enabled=("ionq",)))
    with pytest.raises(ConfigError, match="USD"):
        check_currencies(with_sessions, book(euros))
    check_currencies(with_sessions, default_price_book())
    check_currencies(config(60, "ionq"), book(euros))
