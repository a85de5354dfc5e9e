"""Money from outside: old prices, other currencies, limits, and who may touch them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.running import PROGRAM, Agent, Running, running

from cryogate.client import Refused

pytestmark = pytest.mark.slow
TODAY = datetime.now(UTC).date().isoformat()
PRICES = {
    "version": "test",
    "entries": [
        {"backend": "local:null", "model": "per_task_and_shot", "currency": "USD", "task": "0.30",
         "shot": "0.001", "source": "an old contract", "as_of": "2020-01-01"},
        {"backend": "local:aer", "model": "per_task_and_shot", "currency": "EUR", "task": "0.30",
         "shot": "0.001", "source": "a contract", "as_of": TODAY},
    ],
    "conversions": [
        {"from": "EUR", "to": "USD", "rate": "1.1", "source": "a bank", "as_of": TODAY},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("money"), "max_age_days = 30\n", whole=PRICES) as made:
        yield made


def estimate(agent: Agent, backend: str, shots: int = 100) -> dict[str, Any]:
    body = {"backend": backend, "shots": shots, "program": PROGRAM}
    answer = agent.call("POST", "/v1/estimates", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def submit(agent: Agent, backend: str, shots: int = 100) -> Any:
    body = {"backend": backend, "shots": shots, "program": PROGRAM}
    return agent.call("POST", "/v1/jobs", body)


def test_an_old_price_waits_for_a_person(server: Running) -> None:
    agent = server.agent()
    old, new = estimate(agent, "local:null"), estimate(agent, "local:aer")
    assert (old["decision"], old["price_stale"]) == ("needs_approval", True)
    assert old["price_age_days"] > 2000
    assert (new["decision"], new["price_stale"]) == ("allow", False)
    assert new["formula"].startswith("0.30 + 0.001 x shots EUR")
    parked = submit(agent, "local:null")
    assert (parked.status_code, parked.json()["state"]) == (202, "parked")
    [request] = server.admin("GET", "approvals")["items"]
    assert "days old" in request["reason"]


def test_another_currency_is_held_and_settled_in_the_budget_s(server: Running) -> None:
    agent = server.agent()
    found = estimate(agent, "local:aer", shots=101)  # 0.401, so 0.41 EUR; 0.451, so 0.46 USD
    assert (found["cost_bound_cents"], found["currency"]) == (46, "USD")
    assert (found["price_cents"], found["price_currency"]) == (41, "EUR")
    assert found["conversion"] == f"1.1 USD/EUR, a bank, as of {TODAY}"
    made = submit(agent, "local:aer", shots=101)
    assert made.status_code == 202, made.text
    job = made.json()
    until = time.monotonic() + 60
    while job["state"] != "done":
        assert time.monotonic() < until, job
        time.sleep(0.1)  # who asks all the time is told to come back later
        job = agent.call("GET", f"/v1/jobs/{job['job_id']}").json()
    assert job["currency"] == "USD"
    assert job["cost_actual_cents"] <= 46
    entries = server.admin("GET", "ledger", "entries", job["job_id"])["items"]
    assert [entry["kind"] for entry in entries] == ["reserve", "settle"]
    assert server.admin("GET", "ledger", "check")["balanced"] is True
    # no rate back, and none that nobody entered
    yen = server.agent(currency="JPY")
    assert "price.no_rate" in estimate(yen, "local:aer")["reasons"]


@pytest.mark.attack("A7")
def test_an_estimate_names_every_limit_in_the_way(server: Running) -> None:
    agent = server.agent()
    body = {"scope": "owner", "subject": "*", "span": "day", "currency": "USD",
            "limit_cents": 10, "limit_shots": 50}  # fmt: skip
    server.admin("PUT", "budget-limits", body=body)
    try:
        found = estimate(agent, "local:aer", shots=100)
        limits = {v["limit"] for v in found["violations"]}
        assert {"budget.owner.day.cents", "budget.owner.day.shots"} <= limits
        refused = submit(agent, "local:aer")
        assert refused.status_code == 403
        assert "ada@example.org may spend 0.10 USD" in refused.text
    finally:
        lifted = {**{k: body[k] for k in ("scope", "subject", "span")}, "reason": "done"}
        server.operator.raw("POST", "admin", "v1", "budget-limits", "remove", body=lifted)
    assert estimate(agent, "local:aer")["decision"] == "allow"


@pytest.mark.attack("B5", "A8")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/admin/v1/budgets/exp-0"), ("POST", "/admin/v1/budgets/exp-0/unblock"),
        ("PUT", "/admin/v1/budget-limits"), ("POST", "/admin/v1/budget-limits/remove"),
        ("POST", "/admin/v1/budget-limits/unblock"), ("POST", "/admin/v1/ledger/close"),
        ("POST", "/admin/v1/ledger/corrections"), ("GET", "/admin/v1/usage"),
        ("GET", "/admin/v1/prices"),
    ],
)  # fmt: skip
def test_an_agent_reaches_nothing_about_money(server: Running, method: str, path: str) -> None:
    agent = server.agent()
    assert agent.call(method, path, {}).status_code in (401, 403)


@pytest.mark.parametrize(
    "body",
    [
        {"limit_cents": -1}, {"limit_cents": 1.5}, {"limit_cents": "5"}, {"limit_cents": 10**30},
        {"limit_cents": True}, {"limit": 5}, {"soft_percent": 101},
    ],
    ids=str,
)  # fmt: skip
def test_money_that_is_none_is_refused(server: Running, body: dict[str, object]) -> None:
    server.agent()
    with pytest.raises(Refused):
        server.admin("PUT", "budgets", "exp-0", body=body)
    limit = {"scope": "agent", "subject": "bot-0", "span": "day", "currency": "USD", **body}
    with pytest.raises(Refused):
        server.admin("PUT", "budget-limits", body=limit)
    for currency in ("usd", "US", "DOLLAR", ""):
        wrong = {**limit, "currency": currency, "limit_cents": 5}
        with pytest.raises(Refused):
            server.admin("PUT", "budget-limits", body=wrong)
