"""The commands of the pages about prices and budgets, run as they stand there."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator

import pytest
from tests.support.live import ROOT, Live, live

from cryogate.governance.chargeback import FOCUS

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    room = tmp_path_factory.mktemp("money")
    shutil.copy(ROOT / "examples" / "ghz.qasm", room)
    with live(room) as running:
        yield running


def test_the_page_about_prices_does_what_it_says(server: Live) -> None:
    told = dict(server.page(DOCS / "pricing.md"))
    estimate = next(text for command, text in told.items() if "job estimate" in command)
    for part in ("cost at most", "0.03 USD", "formula", "price from", "price age"):
        assert part in estimate
    assert "braket:garnet" in told["cryogate prices list"]
    shown = told["cryogate prices show braket:garnet"]
    assert "0.30 + 0.00145 x shots USD" in shown
    assert "2026-05-25" in shown
    assert "older than 1 days" in told["cryogate prices check prices.json --max-age-days 1"]


@pytest.mark.attack("A7")
def test_the_page_about_budgets_does_what_it_says(server: Live) -> None:
    told = dict(server.page(DOCS / "budgets.md"))
    refusal = next(text for command, text in told.items() if "--shots 3500" in command)
    assert "budget.agent.day.shots" in refusal
    assert "money-bot may run 4000 shots" in refusal
    assert "lab-7" in told["cryogate budget limits"]
    assert "operator:admin" in told["cryogate budget history agent:money-bot"]
    assert "everything adds up" in told["cryogate budget check"]
    with (server.room / "focus.csv").open(newline="") as file:
        [line] = csv.DictReader(file)
    assert tuple(line) == FOCUS
    assert (line["BillingAccountId"], line["SubAccountId"]) == ("kim@example.org", "lab-7")
    assert line["ConsumedQuantity"] == "1000"
    with (server.room / "usage.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["experiment_id"], row["jobs"], row["shots"]) == ("money", "1", "1000")
    [job] = server.json("job", "list")["items"]
    back = ("--back", "0.01", "--reason", "credit note 4711")
    assert "correct" in server.run("budget", "correct", job["job_id"], *back)
    assert "-0.01 USD" in server.run("budget", "entries", job["job_id"])
    server.run("budget", "correct", job["job_id"], *back, "--add", "0.01", expect=2)
    server.run("budget", "unblock", "money", "--reason", "looked at", expect=1)
    server.run(
        "budget", "unblock", "cost-center:lab-7", "--per", "month", "--reason", "r", expect=1
    )
    server.run("budget", "limit", "planet:mars", "--per", "day", "--shots", "1", expect=2)
    assert "lab-7" in server.run("budget", "report", "--month", job["created_at"][:7])
    assert server.json("budget", "check")["balanced"] is True
    actions = server.run("audit", "events", "--json")
    for action in ("budget.changed", "budget.limit_set", "budget.limit_removed", "ledger.closed"):
        assert action in actions
