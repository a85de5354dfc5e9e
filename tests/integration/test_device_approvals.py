"""Approvals over the back channel: who is asked, and whose yes is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ciba import START, TOKEN, FakeCiba, fake_ciba
from tests.support.governance import World, hold_of, terms_of, world

from cryogate.domain.approvals import ApprovalState
from cryogate.domain.secrets import Secret
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approvals import ApprovalRules, Demand, SqlApprovals
from cryogate.governance.device_asks import DeviceAsks, binding_message
from cryogate.governance.messages import code_of
from cryogate.notify.ciba import Ciba, CibaClient
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.channels import Message, NotSent
from cryogate.tokens.keys import generate

PEOPLE = {"bob": "sub-bob", "carol": "sub-carol", "alice": "sub-alice"}
pytestmark = pytest.mark.attack("H3")


class Devices:
    """A world whose approvers have devices."""

    def __init__(self, w: World, provider: FakeCiba, asks: DeviceAsks) -> None:
        self.w, self.provider, self.asks = w, provider, asks

    async def tell(self, approval_id: str) -> None:
        message = Message("msg-1", "approval.requested", approval_id, "", (), "", "", 0)
        await self.asks.send(message)

    async def poll(self, s: int = 6) -> None:
        self.w.clock.advance(s=s)
        await self.asks.look()

    async def state(self, approval_id: str) -> ApprovalState:
        return (await self.w.desk.get(approval_id)).approval.state

    async def asked(self, approval_id: str) -> dict[str, str]:
        rows = await self.w.store.fetch("device_asks_of", {"approval_id": approval_id})
        return {str(row["operator_id"]): str(row["state"]) for row in rows}


@asynccontextmanager
async def devices(tmp_path: Path, *, quorum: int = 1, key: bool = False) -> AsyncIterator[Devices]:
    async with fake_ciba(tmp_path) as provider, world(tmp_path) as w:
        w.clock.advance(time.time_ns() // 10**6 - w.clock.now_ms())
        rules = ApprovalRules(job=Demand(quorum))
        w.approvals = SqlApprovals(w.store, rules)
        w.desk = ApprovalDesk(w.store, w.ledger, w.clock, rules=rules)
        for name, subject in PEOPLE.items():
            await w.operator(name, person=f"{name}@example.com")
            await w.run(
                "federated_person_insert", issuer=provider.url, subject=subject,
                operator_id=name, now_ms=0,
            )  # fmt: skip
        await w.operator("guest", person="guest@example.com", roles=["auditor"])
        await w.run(
            "federated_person_insert", issuer=provider.url, subject="sub-guest",
            operator_id="guest", now_ms=0,
        )  # fmt: skip
        client = CibaClient(
            provider.url, provider.client_id,
            secret=None if key else Secret(b"s3cret:+ "), key=generate() if key else None,
        )  # fmt: skip
        async with Fetcher(
            allowed=networks(["127.0.0.0/8", "::1/128"]), ca_file=provider.ca_file
        ) as fetcher:
            issuers = IssuerKeys(fetcher, lambda: time.monotonic_ns() // 10**6)
            back = Ciba(client, fetcher, issuers, w.clock)
            yield Devices(w, provider, DeviceAsks(w.store, w.clock, back, w.desk))


async def test_a_yes_on_the_own_device_is_that_operators_vote(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        # not the owner, not who lacks the role
        assert set(await t.asked(approval_id)) == {"bob", "carol"}
        form = t.provider.asked[t.provider.request_of("bob@example.com")]
        assert form["binding_message"] == f"{code_of(terms_of(hold_of()))} job of a1 up to 1.00 USD"
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.PENDING
        t.provider.agree(t.provider.request_of("bob@example.com"), "sub-bob")
        await t.poll()
        found = await t.w.desk.get(approval_id)
        assert (found.approval.state, found.approval.decided_by) == (
            ApprovalState.USED, "operator:bob",
        )  # fmt: skip
        assert (await t.w.job_row())["state"] == "queued"
        assert (await t.asked(approval_id))["bob"] == "agreed"


async def test_two_are_needed_where_two_are_demanded(tmp_path: Path) -> None:
    async with devices(tmp_path, quorum=2) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        t.provider.agree(t.provider.request_of("bob@example.com"), "sub-bob")
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.PENDING
        t.provider.agree(t.provider.request_of("carol@example.com"), "sub-carol")
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.USED


async def test_somebody_elses_yes_is_none(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        for who in ("sub-carol", "sub-alice", "sub-guest", "nobody"):
            await t.tell(approval_id)
            t.provider.agree(t.provider.request_of("bob@example.com"), who)
            await t.poll()
            assert await t.state(approval_id) is ApprovalState.PENDING
            assert (await t.asked(approval_id))["bob"] == "moot"


BENT: tuple[dict[str, Any], ...] = (
    {"aud": "somebody-else"}, {"aud": ["cryogate", "x"]}, {"iss": "https://evil.example"},
    {"exp": 1}, {"iat": 1}, {"sub": ""}, {"sub": 7}, {"exp": ...}, {"azp": "other"},
    {"urn:openid:params:jwt:claim:auth_req_id": "another"},
)  # fmt: skip


async def test_a_token_that_is_not_the_answer_is_no_yes(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        request = t.provider.request_of("bob@example.com")
        for claims in BENT:
            t.provider.agree(request, **{"subject": "sub-bob", **claims})
            before = len(t.provider.seen)
            await t.poll()
            assert len(t.provider.seen) > before
            assert await t.state(approval_id) is ApprovalState.PENDING
        t.provider.agree(request, "sub-bob")
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.USED


async def test_a_forged_token_is_no_yes(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        request = t.provider.request_of("bob@example.com")
        t.provider.agree(request, "sub-bob")
        token = t.provider.answers[request][1]["id_token"]
        t.provider.answers[request] = (200, {"id_token": token[:-8] + "AAAAAAAA"})
        await t.poll()
        t.provider.answers[request] = (200, {"access_token": "x"})
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.PENDING


async def test_a_no_on_the_device_denies_nothing(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        t.provider.refuse(t.provider.request_of("bob@example.com"), "access_denied")
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.PENDING
        assert (await t.asked(approval_id))["bob"] == "declined"
        assert "approval.declined" in [e["action"] for e in await t.w.events()]


async def test_a_yes_after_the_decision_changes_nothing(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        await t.w.desk.deny(approval_id, "operator:carol", "no")
        t.provider.agree(t.provider.request_of("bob@example.com"), "sub-bob")
        await t.poll()
        assert await t.state(approval_id) is ApprovalState.DENIED
        assert (await t.w.job_row())["state"] == "cancelled"


async def test_polling_is_as_slow_as_the_provider_wants_and_ends(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        await t.tell(approval_id)
        await t.poll(1)
        assert t.provider.hits == [] or TOKEN not in [path for path, _, _ in t.provider.seen]
        for request in t.provider.asked:
            t.provider.refuse(request, "slow_down")
        await t.poll(6)
        polls = [path for path, _, _ in t.provider.seen].count(TOKEN)
        await t.poll(6)  # five seconds and five more: not yet
        assert [path for path, _, _ in t.provider.seen].count(TOKEN) == polls
        await t.poll(6)
        assert [path for path, _, _ in t.provider.seen].count(TOKEN) == 2 * polls
        await t.poll(400)
        assert set((await t.asked(approval_id)).values()) == {"over"}


async def test_a_provider_that_is_down_is_asked_again_and_nobody_twice(tmp_path: Path) -> None:
    async with devices(tmp_path) as t:
        approval_id = await t.w.park(hold_of())
        t.provider.down = True
        with pytest.raises(NotSent):
            await t.tell(approval_id)
        t.provider.down = False
        for _ in range(2):
            await t.tell(approval_id)
        assert len(t.provider.asked) == 2
        t.provider.down = True
        await t.poll()
        t.provider.down = False
        t.provider.agree(t.provider.request_of("bob@example.com"), "sub-bob")
        await asyncio.gather(t.poll(), t.asks.look(), t.asks.look())
        assert await t.state(approval_id) is ApprovalState.USED


@pytest.mark.parametrize("key", [False, True], ids=["secret", "key"])
async def test_we_prove_who_we_are(key: bool, tmp_path: Path) -> None:
    async with devices(tmp_path, key=key) as t:
        await t.tell(await t.w.park(hold_of()))
        path, headers, form = t.provider.seen[0]
        assert (path, form["scope"]) == (START, "openid")
        if key:
            assert form["client_assertion_type"].endswith(":jwt-bearer")
            assert "authorization" not in headers
        else:
            # form-encoded, then base64: "cryogate:s3cret%3A%2B%20"
            assert headers["authorization"] == "Basic Y3J5b2dhdGU6czNjcmV0JTNBJTJCJTIw"
            assert "client_assertion" not in form


def test_a_public_client_has_no_back_channel() -> None:
    with pytest.raises(ValueError, match="secret or a key"):
        CibaClient("https://i.example", "cryogate")


@pytest.mark.attack("H4")
async def test_what_the_device_shows_holds_no_word_of_the_agent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        found = await w.desk.get(await w.park(hold_of()))
        assert len(binding_message(found)) < 80
        assert "costly" not in binding_message(found)
