"""An API key is traded for an hour's token, or there is none."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.governance import World, world

from cryogate.credentials import EnvelopeSealer, StoredSecrets
from cryogate.credentials.bearer_tokens import Entra, IbmIam
from cryogate.credentials.master_key import master_key
from cryogate.dev.azure import CLIENT, TENANT, AzureFake
from cryogate.dev.ibm import CRN, IbmFake
from cryogate.dev.serving import served
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import LeaseTerms, LeaseUnavailable

TERMS = LeaseTerms("ibm", "ibm:ibm_torino", "e1", "a1")


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as found:
        yield found


@pytest.fixture
def fake() -> Iterator[tuple[IbmFake, str]]:
    found = IbmFake()
    with served(found.app) as url:
        yield found, url


async def source(made: World, url: str, value: dict[str, str]) -> IbmIam:
    secrets = StoredSecrets(made.store, EnvelopeSealer(master_key(Secret(b"k" * 32))), made.clock)
    await secrets.add("ibm", "", Secret(json.dumps(value).encode()), "operator:admin")
    return IbmIam(secrets=secrets, clock=made.clock, url=url)


async def test_a_lease_is_a_token_for_an_hour(made: World, fake: tuple[IbmFake, str]) -> None:
    iam = await source(made, fake[1], {"api_key": fake[0].key, "crn": CRN})
    minted = await iam.mint("lea_a", TERMS, 300)
    held = json.loads(minted.secret.reveal())
    assert held["token"] in fake[0].tokens
    assert held["crn"] == CRN
    assert minted.expires_ms == made.clock.now_ms() + 3_600_000
    assert fake[0].key not in minted.handle + minted.secret.text()
    await iam.end(minted.handle)
    await iam.close()


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "breaks",
    [
        lambda fake: setattr(fake, "key", "another-key-0123456789"),
        lambda fake: fake.faults.add("status", 500, path="/identity"),
        lambda fake: fake.faults.add("redirect", path="/identity"),
        lambda fake: fake.faults.add("malformed", path="/identity"),
        lambda fake: fake.faults.add("huge", 1 << 20, path="/identity"),
    ],
)
async def test_whatever_goes_wrong_there_is_no_token_and_nothing_is_told(
    made: World, fake: tuple[IbmFake, str], breaks: Callable[[IbmFake], None],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    key = fake[0].key
    iam = await source(made, fake[1], {"api_key": key, "crn": CRN})
    breaks(fake[0])
    with caplog.at_level(logging.DEBUG), pytest.raises(LeaseUnavailable) as told:
        await iam.mint("lea_a", TERMS, 300)
    assert key not in caplog.text + str(told.value)
    await iam.close()


@pytest.mark.attack("S1")
async def test_a_secret_of_another_shape_is_refused_without_telling_it(made: World) -> None:
    iam = await source(made, "http://127.0.0.1:9", {"api_key": "canary"})
    with pytest.raises(LeaseUnavailable, match="api_key, crn") as told:
        await iam.mint("lea_a", TERMS, 300)
    assert "canary" not in str(told.value)
    assert told.value.__cause__ is None
    await iam.close()


ENTRA = {"tenant": TENANT, "client_id": CLIENT, "client_secret": "azure-test-secret"}


async def entra(made: World, url: str, value: dict[str, str], *, managed: bool = False) -> Entra:
    secrets = StoredSecrets(made.store, EnvelopeSealer(master_key(Secret(b"k" * 32))), made.clock)
    await secrets.add("azure", "", Secret(json.dumps(value).encode()), "operator:admin")
    return Entra(
        secrets=secrets, clock=made.clock, url=url, managed_identity=managed,
        metadata_url=url + "/metadata/identity/oauth2/token",
    )  # fmt: skip


@pytest.mark.parametrize("managed", [False, True])
async def test_entra_gives_a_token_for_an_application_or_a_machine(
    made: World, managed: bool
) -> None:
    fake = AzureFake()
    with served(fake.app) as url:
        source = await entra(made, url, ENTRA, managed=managed)
        minted = await source.mint("lea_a", LeaseTerms("azure"), 300)
        await source.close()
    assert minted.secret.text() in fake.tokens
    assert minted.expires_ms == made.clock.now_ms() + 3_599_000
    if managed:
        assert not any(b"secret" in body for *_, body in fake.faults.seen)


@pytest.mark.attack("S1")
async def test_entra_fails_closed_without_telling_the_secret(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    fake = AzureFake("another")
    with served(fake.app) as url:
        source = await entra(made, url, ENTRA)
        with caplog.at_level(logging.DEBUG), pytest.raises(LeaseUnavailable) as told:
            await source.mint("lea_a", LeaseTerms("azure"), 300)
        await source.close()
    assert "azure-test-secret" not in caplog.text + str(told.value)
