"""What every registered adapter must do, proven on the vendor behind it."""

from __future__ import annotations

import asyncio
import inspect
import re
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.live import ROOT
from tests.support.vendors import OTHERS, VENDORS, Bench, bench_of

from cryogate.config import load
from cryogate.domain.ids import is_backend
from cryogate.domain.money import Money
from cryogate.ports.provider import (
    Control,
    Provider,
    ProviderError,
    VendorState,
    VendorStatus,
)
from cryogate.providers import PROVIDERS

REMOTE = sorted(set(PROVIDERS) - {"local"})
_FINAL = (VendorState.DONE, VendorState.FAILED, VendorState.CANCELLED)


@pytest.fixture(params=[*sorted(PROVIDERS), *OTHERS])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench_of(request.param) as made:
        yield made


@pytest.fixture(params=REMOTE)
async def remote(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench_of(request.param) as made:
        yield made


async def ended(bench: Bench, vendor_id: str) -> VendorStatus:
    async with asyncio.timeout(60):
        while True:
            status = await bench.provider.wait(vendor_id, bench.lease)
            if status is None:
                status = await bench.provider.status(vendor_id, bench.lease)
            if status.state in _FINAL:
                return status
            await asyncio.sleep(0.01)


def test_the_port_has_ten_verbs_and_every_adapter_is_on_the_bench() -> None:
    verbs = [n for n, f in vars(Provider).items() if inspect.iscoroutinefunction(f)]
    assert len(verbs) <= 10, verbs
    assert set(VENDORS) == set(PROVIDERS)


def test_every_adapter_has_a_page() -> None:
    for scheme in PROVIDERS:
        page = Path(ROOT / "docs" / "providers" / f"{scheme}.md")
        assert page.exists(), f"say how {scheme} is set up"


@pytest.mark.parametrize("scheme", sorted(PROVIDERS))
def test_the_settings_on_a_page_are_settings(scheme: str, tmp_path: Path) -> None:
    page = Path(ROOT / "docs" / "providers" / f"{scheme}.md").read_text("utf-8")
    for number, block in enumerate(
        re.findall(r"^ *```toml\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    ):
        file = tmp_path / f"{number}.toml"
        file.write_text(textwrap.dedent(block))
        found = load(file, environ={})
        assert set(found.providers.enabled) <= {scheme}


async def test_devices_declare_themselves_whole(bench: Bench) -> None:
    lease = bench.lease if bench.provider.lists_with_lease else None
    for device in await bench.provider.backends(lease):
        assert is_backend(device.name)
        assert device.scheme == bench.provider.scheme
        assert device.qubits > 0
        assert device.max_shots > 0
        assert device.gate_set
        assert device.simulator or device.dialect is not None


async def test_a_job_runs_once_however_often_it_is_sent(bench: Bench) -> None:
    submission = bench.submission("job_once")
    assert await bench.provider.find("job_once", bench.lease) is None
    vendor_id = await bench.provider.submit(submission, bench.lease)
    over = bench.provider.ended(vendor_id)
    assert over is None or over.status.state in _FINAL
    assert over is None or over.status == await bench.provider.status(vendor_id, bench.lease)
    assert await bench.provider.submit(submission, bench.lease) == vendor_id
    assert await bench.provider.find("job_once", bench.lease) == vendor_id
    assert await bench.provider.find("job_other", bench.lease) is None
    status = await ended(bench, vendor_id)
    assert status.state is VendorState.DONE
    assert status.job_id in ("", "job_once")
    assert status.fingerprint in ("", bench.bell.fingerprint)
    if bench.ran is not None:
        assert bench.ran("job_once") == 1


async def test_a_result_is_over_classical_bits(bench: Bench) -> None:
    for job_id, program, allowed in (
        ("job_bell", bench.bell, {"00", "11"}),
        ("job_order", bench.order, {"001"}),
    ):
        vendor_id = await bench.provider.submit(bench.submission(job_id, program), bench.lease)
        assert (await ended(bench, vendor_id)).state is VendorState.DONE
        given = program if bench.provider.reads_program else None
        result = await bench.provider.result(vendor_id, bench.lease, given)
        assert result.shots == 100
        assert sum(result.counts.values()) == 100
        assert set(result.counts) == allowed


async def test_a_job_can_be_cancelled_and_stays_over(bench: Bench) -> None:
    vendor_id = await bench.provider.submit(bench.submission("job_stop"), bench.lease)
    await bench.provider.cancel(vendor_id, bench.lease)
    status = await ended(bench, vendor_id)
    assert status.state in (VendorState.CANCELLED, VendorState.DONE)
    assert not status.cost_cents or status.state is VendorState.DONE


async def test_estimates_and_checks_run_nothing(bench: Bench) -> None:
    provider = bench.provider
    assert (Control.ESTIMATE in provider.controls) == provider.estimates
    assert list(await provider.validate(bench.submission("job_check"), bench.lease)) == []
    if provider.estimates:
        found = await provider.estimate(bench.backend, bench.bell, 100, bench.lease)
        assert isinstance(found, Money)
    assert await provider.find("job_check", bench.lease) is None


async def test_a_job_that_the_vendor_does_not_know_is_told_apart(bench: Bench) -> None:
    with pytest.raises(ProviderError) as told:
        await bench.provider.status("00000000-0000-0000-0000-000000000000", bench.lease)
    assert not told.value.retryable


@pytest.mark.parametrize(
    ("kind", "value", "sent", "retryable"),
    [
        ("status", 429, False, True),
        ("status", 400, False, False),
        ("status", 403, False, False),
        ("after", 503, True, True),
        ("after", 500, True, True),
        ("lost", 0, True, True),
        ("malformed", 0, True, True),
        ("huge", 2 << 20, True, True),
        ("redirect", 0, True, True),
    ],
)
async def test_a_fault_says_whether_the_job_may_have_been_accepted(
    remote: Bench, kind: str, value: int, sent: bool, retryable: bool
) -> None:
    remote.provider._http._max_bytes = 1 << 20  # type: ignore[attr-defined]
    remote.faults.add(kind, value, path=remote.settings["submit_path"])
    with pytest.raises(ProviderError) as told:
        await remote.provider.submit(remote.submission("job_fault"), remote.lease)
    assert (told.value.sent, told.value.retryable) == (sent, retryable)
    secret = remote.settings["secret"].decode()
    assert secret not in str(told.value)
    # what the vendor accepted is found, and is not sent again
    found = await remote.provider.find("job_fault", remote.lease)
    assert (found is not None) == (kind in ("after", "lost"))
    again = await remote.provider.submit(remote.submission("job_fault"), remote.lease)
    assert found in (None, again)
    assert remote.ran is not None
    assert remote.ran("job_fault") == 1


async def test_nothing_is_sent_where_nobody_listens(remote: Bench) -> None:
    http = remote.provider._http  # type: ignore[attr-defined]
    http.base_url = "http://127.0.0.1:9"
    with pytest.raises(ProviderError) as told:
        await remote.provider.submit(remote.submission("job_nowhere"), remote.lease)
    assert (told.value.sent, told.value.retryable) == (False, True)


async def test_a_slow_vendor_is_still_one_job(remote: Bench) -> None:
    remote.faults.add("latency", 300, path=remote.settings["submit_path"])
    await remote.provider.submit(remote.submission("job_slow"), remote.lease)
    assert remote.ran is not None
    assert remote.ran("job_slow") == 1


@pytest.mark.attack("S1", "T4")
async def test_a_vendor_hears_of_our_tag_and_its_own_key_only(remote: Bench) -> None:
    await remote.provider.submit(remote.submission("job_tag"), remote.lease)
    told = [f"{m} {p} {h} {b!r}" for m, p, h, b in remote.faults.seen]
    assert any("job_tag" in text for text in told)
    for word in ("a1", "s1", "agent", "dpop", "DPoP"):
        assert not any(f'"{word}"' in text for text in told)
