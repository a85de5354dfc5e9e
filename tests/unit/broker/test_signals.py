"""Signs of misuse become alerts; honest clients make none."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.types import Message, Receive, Scope, Send
from tests.support.broker import ISSUER, TOKEN_URL, World

from cryogate.broker.oauth import OAuthError
from cryogate.broker.signals import ADDRESS, FAILURES, HELD_BACK, Signals, network_of
from cryogate.broker.watched_clients import WatchedClients
from cryogate.domain.decisions import Scalar
from cryogate.governance.rates import RateLimiter
from cryogate.ports.alerts import Alerts, Severity
from cryogate.server.rate_gate import RateGate
from cryogate.tokens.keys import generate


class Told(Alerts):
    def __init__(self) -> None:
        self.all: list[tuple[str, str, dict[str, Scalar]]] = []

    def tell(self, kind: str, subject: str, severity: Severity, evidence: object) -> None:
        assert isinstance(evidence, dict)
        self.all.append((kind, subject, evidence))


def watched(world: World, told: Told, limiter: RateLimiter | None = None) -> WatchedClients:
    signals = Signals(told, world.store, world.clock)
    take = None if limiter is None else limiter.take
    return WatchedClients(world.store, world.clock, ISSUER, signals=signals, take=take)


async def test_a_new_network_is_told_once_others_are_known(world: World) -> None:
    told = Told()
    signals = Signals(told, world.store, world.clock)
    for address in ("10.1.2.3", "10.1.2.200", "10.9.9.9", "10.9.9.10", "2001:db8:1:2::1"):
        ADDRESS.set(address)
        signals.proven("a1")
        await signals.settle()
    assert told.all == [
        ("new_address", "a1", {"network": "10.9.9.0/24", "networks_known": 1}),
        ("new_address", "a1", {"network": "2001:db8:1::/48", "networks_known": 2}),
    ]
    # Another process, or this one after a restart, knows them from the table.
    again = Signals(told, world.store, world.clock)
    again.proven("a1")
    await again.settle()
    assert len(told.all) == 2


async def test_many_failed_proofs_in_a_clients_name(world: World) -> None:
    told = Told()
    clients = watched(world, told)
    ADDRESS.set("192.0.2.7")
    for _ in range(FAILURES + 1):
        with pytest.raises(OAuthError):
            await clients.authenticate(
                world.form(client_assertion=world.assertion(key=generate())), TOKEN_URL
            )
    assert told.all[0] == (
        "proof_failures", "a1", {"within_a_minute": FAILURES, "network": "192.0.2.0/24"},
    )  # fmt: skip
    assert len(told.all) == 2
    # A name that nobody has is nobody's alert.
    for _ in range(FAILURES):
        with pytest.raises(OAuthError):
            await clients.authenticate(
                world.form(client_assertion=world.assertion(client_id="nobody")), TOKEN_URL
            )
    assert len(told.all) == 2


async def test_failures_over_many_minutes_are_no_sign(world: World) -> None:
    told = Told()
    signals = Signals(told, world.store, world.clock)
    for _ in range(5 * FAILURES):
        world.clock.advance(s=10)
        signals.failed("a1")
    assert told.all == []


async def test_a_client_that_asks_too_fast_is_held_back_and_told(world: World) -> None:
    told = Told()
    clients = watched(world, told, RateLimiter(0.001, 2))
    for n in range(HELD_BACK + 2):
        if n < 2:
            await clients.authenticate(world.form(), TOKEN_URL)
            continue
        with pytest.raises(OAuthError) as refused:
            await clients.authenticate(world.form(), TOKEN_URL)
        assert refused.value.status == 429
        assert 990 < int(refused.value.headers()["retry-after"]) <= 1000
    assert [kind for kind, _, _ in told.all] == ["impossible_rate"]


async def test_strangers_do_not_use_up_a_clients_rate(world: World) -> None:
    clients = watched(world, Told(), RateLimiter(0.001, 1))
    for _ in range(50):
        with pytest.raises(OAuthError) as refused:
            await clients.authenticate(
                world.form(client_assertion=world.assertion(key=generate())), TOKEN_URL
            )
        assert refused.value.status == 401
    await clients.authenticate(world.form(), TOKEN_URL)


def test_networks() -> None:
    assert network_of("192.0.2.7") == "192.0.2.0/24"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.0/24"
    assert network_of("fe80::1%eth0") == "fe80::/48"
    assert network_of("testclient") == network_of("") == ""


async def _through(
    gate: RateGate, client: str, forwarded: str | None = None
) -> tuple[int, dict[bytes, bytes]]:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    scope: Scope = {"type": "http", "client": (client, 1), "headers": headers}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    await gate(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def _ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_an_address_that_asks_too_fast_is_told_when_to_come_back() -> None:
    gate = RateGate(_ok, RateLimiter(0.5, 2))
    assert [(await _through(gate, "192.0.2.1"))[0] for _ in range(3)] == [200, 200, 429]
    status, headers = await _through(gate, "192.0.2.1")
    assert (status, headers[b"retry-after"]) == (429, b"2")
    assert (await _through(gate, "192.0.2.2"))[0] == 200
    # One IPv6 customer has a whole /64 of addresses.
    for n in range(2):
        assert (await _through(gate, f"2001:db8::{n}"))[0] == 200
    assert (await _through(gate, "2001:db8::9"))[0] == 429
    assert (await _through(gate, "2001:db8:0:1::9"))[0] == 200


async def test_a_forwarded_address_counts_only_from_a_proxy() -> None:
    gate = RateGate(_ok, RateLimiter(0.001, 1), (ip_network("10.0.0.0/8"),))
    assert (await _through(gate, "10.0.0.1", "1.1.1.1, 192.0.2.1"))[0] == 200
    assert (await _through(gate, "10.0.0.2", "8.8.8.8, 192.0.2.1, 10.0.0.7"))[0] == 429
    assert (await _through(gate, "10.0.0.1", "192.0.2.2"))[0] == 200
    # Whoever is no proxy names no other address.
    assert (await _through(gate, "198.51.100.1", "192.0.2.3"))[0] == 200
    assert (await _through(gate, "198.51.100.1", "192.0.2.4"))[0] == 429
    assert (await _through(gate, "192.0.2.3"))[0] == 200
