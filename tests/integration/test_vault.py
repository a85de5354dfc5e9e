"""Vault as the keeper of vendors' secrets: in its documented shapes, failing closed."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.vault import VaultFake
from tests.support.governance import World, world

from cryogate.credentials import EmbeddedLeases, LeaseDesk, StaticKeys
from cryogate.credentials.vault import VaultClient, VaultDynamic, VaultLogin, VaultSecrets
from cryogate.dev.serving import served
from cryogate.governance.alerts import AlertBook
from cryogate.governance.holds import FollowedHolds
from cryogate.ports.credentials import LeaseNotRevoked, LeaseTerms, LeaseUnavailable
from cryogate.testing.clock import FakeClock

TERMS = LeaseTerms("braket", "braket:forte-1", "e1", "a1")


@pytest.fixture
def vault() -> Iterator[tuple[VaultFake, str]]:
    fake = VaultFake()
    with served(fake.app) as url:
        yield fake, url


def login(
    fake: VaultFake, url: str, folder: Path, auth: Any = "approle", **more: Any
) -> VaultLogin:
    file = folder / "credential"
    file.write_text(fake.secret_id if auth == "approle" else fake.jwt)
    return VaultLogin(url=url, auth=auth, role=fake.role_id, **{"credential": str(file), **more})


@pytest.mark.parametrize("auth", ["approle", "jwt", "kubernetes"])
async def test_machines_log_in_and_read_what_is_theirs(
    vault: tuple[VaultFake, str], tmp_path: Path, auth: str
) -> None:
    fake, url = vault
    clock = FakeClock()
    client = VaultClient(login(fake, url, tmp_path, auth), clock)
    fake.kv = {
        "cryogate/ionq": {"value": "the-key"},
        "cryogate/ibm/e1": {"api_key": "k", "crn": "c"},
    }
    secrets = VaultSecrets(client, "kv", "cryogate")
    assert (await secrets.value("ionq", "e1")).reveal() == b"the-key"
    assert json.loads((await secrets.value("ibm", "e1")).reveal()) == {"api_key": "k", "crn": "c"}
    with pytest.raises(LeaseUnavailable):
        await secrets.value("ibm", "e2")
    assert fake.logins == [auth], "one login serves until it is about to end"
    clock.advance(s=241)
    await secrets.value("ionq", "")
    assert len(fake.logins) == 2
    fake.tokens.clear()  # revoked behind our back: one more login, and no more
    await secrets.value("ionq", "")
    assert len(fake.logins) == 3
    await client.close()


async def test_a_wrapped_secret_id_opens_once(vault: tuple[VaultFake, str], tmp_path: Path) -> None:
    fake, url = vault
    file = tmp_path / "wrapped"
    file.write_text("wrapping-token\n")
    fake.wrapping.add("wrapping-token")
    fake.kv["cryogate/ionq"] = {"value": "the-key"}
    options = {"credential": str(file), "wrapped": True}
    client = VaultClient(login(fake, url, tmp_path, **options), FakeClock())
    secrets = VaultSecrets(client, "kv", "cryogate")
    assert (await secrets.value("ionq", "")).reveal() == b"the-key"
    fake.tokens.clear()
    await secrets.value("ionq", "")  # logs in again with what was unwrapped
    await client.close()
    second = VaultClient(login(fake, url, tmp_path, **options), FakeClock())
    with pytest.raises(LeaseUnavailable, match="somebody may have opened it"):
        await VaultSecrets(second, "kv", "cryogate").value("ionq", "")
    await second.close()


@pytest.mark.attack("R6")
async def test_dynamic_credentials_are_renewed_and_revoked_or_hold_their_agent(
    vault: tuple[VaultFake, str], tmp_path: Path
) -> None:
    fake, url = vault
    async with world(tmp_path) as made:
        client = VaultClient(login(fake, url, tmp_path), made.clock)
        holds = FollowedHolds(made.store)
        desk = LeaseDesk(
            store=made.store, clock=made.clock, local=EmbeddedLeases(made.clock),
            sources={"braket": VaultDynamic(client, made.clock, "aws/creds/cryogate")},
            alerts=AlertBook(made.store, made.clock), holder="single", held_changed=holds.refresh,
        )  # fmt: skip
        lease = await desk.lease(TERMS, 300)
        assert json.loads(lease.secret.reveal()) == {
            "access_key_id": "ASIATESTTESTTEST", "secret_access_key": "made-secret-canary",
            "session_token": "made-token-canary",
        }  # fmt: skip
        made.clock.advance(s=280)
        assert (await desk.renew(lease, 300)).lease_id == lease.lease_id
        fake.stuck = True
        with pytest.raises(LeaseNotRevoked):
            await desk.revoke(lease.lease_id)
        assert holds.of("a1") is not None
        fake.stuck = False
        made.clock.advance(s=10)
        await desk.sweep()
        assert holds.of("a1") is None
        assert fake.leases == {}
        await client.close()


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as found:
        yield found


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "breaks",
    [
        lambda fake: setattr(fake, "secret_id", "another"),
        lambda fake: fake.faults.add("status", 503, path="/v1/auth"),
        lambda fake: fake.faults.add("status", 500, path="/v1/kv"),
        lambda fake: fake.faults.add("malformed", path="/v1/kv"),
        lambda fake: fake.faults.add("huge", 1 << 20, path="/v1/kv"),
        lambda fake: fake.faults.add("redirect", path="/v1/kv"),
        lambda fake: fake.kv.clear(),
    ],
)
async def test_whatever_goes_wrong_there_is_no_credential_and_nothing_is_told(
    vault: tuple[VaultFake, str], made: World, tmp_path: Path,
    breaks: Callable[[VaultFake], None], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    fake, url = vault
    fake.kv["cryogate/ionq"] = {"value": "key-canary"}
    client = VaultClient(login(fake, url, tmp_path), made.clock)
    static = StaticKeys(VaultSecrets(client, "kv", "cryogate"), made.clock)
    alerts = AlertBook(made.store, made.clock)
    desk = LeaseDesk(
        store=made.store, clock=made.clock, sources={"ionq": static},
        local=EmbeddedLeases(made.clock), alerts=alerts, holder="single",
    )  # fmt: skip
    breaks(fake)
    with caplog.at_level(logging.DEBUG), pytest.raises(LeaseUnavailable) as told:
        await desk.lease(LeaseTerms("ionq"), 300)
    await alerts.flush()
    rows = await made.store.fetch(
        "alerts_page", {"state": None, "before_ms": 2**53, "before_id": "~", "limit": 9}
    )
    assert [(row["kind"], row["subject"]) for row in rows] == [("no_credential", "ionq")]
    shown = caplog.text + str(told.value) + json.dumps(await made.events()) + str(rows)
    assert not any(word in shown for word in ("canary", *fake.tokens))
    await client.close()
