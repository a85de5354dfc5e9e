"""The local backends: a real simulator in its own process, and one that runs nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from cryogate.circuits import Program, parse_flat
from cryogate.circuits.model import Format, ParseLimits
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import Ended, ProviderError, Submission, VendorState
from cryogate.providers.local import LocalProvider

LEASE = Lease("l", "local", 2**53, Secret(b""))
HEAD = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'


def program(body: str) -> Program:
    return parse_flat((HEAD + body).encode(), Format.OPENQASM2, ParseLimits())


GHZ = program(
    "qreg q[3]; creg a[2]; creg b[1]; h q[0]; cx q[0],q[1]; cx q[1],q[2];"
    "measure q[0] -> a[0]; measure q[1] -> a[1]; measure q[2] -> b[0];"
)
ONE = program("qreg q[2]; creg c[2]; x q[0]; measure q[0] -> c[0]; measure q[1] -> c[1];")


def job(backend: str, what: Program, job_id: str = "j1", shots: int = 200) -> Submission:
    return Submission(job_id, backend, what, shots, "e1", 0)


@pytest.fixture
async def local() -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(kept=2)
    yield provider
    await provider.close()


async def test_a_real_simulation_gives_ghz_counts(local: LocalProvider) -> None:
    vendor_id = await local.submit(job("local:aer", GHZ), LEASE)
    status = await local.wait(vendor_id, LEASE)
    assert status is not None
    assert (status.state, status.cost_cents) == (VendorState.DONE, 0), status.detail
    result = await local.result(vendor_id, LEASE)
    assert set(result.counts) == {"000", "111"}
    assert sum(result.counts.values()) == result.shots == 200

    vendor_id = await local.submit(job("local:aer", ONE, "j2"), LEASE)
    await local.wait(vendor_id, LEASE)
    assert (await local.result(vendor_id, LEASE)).counts == {"01": 200}


async def test_null_ends_at_once_and_the_same_job_is_accepted_once(local: LocalProvider) -> None:
    vendor_id = await local.submit(job("local:null", GHZ), LEASE)
    assert local.ended(vendor_id) == Ended(
        await local.status(vendor_id, LEASE), await local.result(vendor_id, LEASE)
    )
    assert (await local.status(vendor_id, LEASE)).state is VendorState.DONE
    assert (await local.result(vendor_id, LEASE)).counts == {"000": 200}
    assert await local.submit(job("local:null", GHZ), LEASE) == vendor_id
    assert await local.find("j1", LEASE) == vendor_id
    assert await local.find("j2", LEASE) is None


async def test_only_so_many_ended_jobs_are_kept(local: LocalProvider) -> None:
    ids = [await local.submit(job("local:null", ONE, f"j{n}"), LEASE) for n in range(3)]
    assert await local.find("j0", LEASE) is None
    assert await local.find("j2", LEASE) == ids[2]
    with pytest.raises(ProviderError) as error:
        await local.status(ids[0], LEASE)
    assert not error.value.retryable


async def test_a_cancelled_simulation_ends(local: LocalProvider) -> None:
    vendor_id = await local.submit(job("local:aer", GHZ), LEASE)
    await local.cancel(vendor_id, LEASE)
    status = await local.wait(vendor_id, LEASE)
    assert status is not None
    assert status.state is VendorState.CANCELLED


async def test_an_unknown_backend_is_refused_unsent(local: LocalProvider) -> None:
    with pytest.raises(ProviderError) as error:
        await local.submit(job("local:other", ONE), LEASE)
    assert not error.value.sent


def test_the_server_process_imports_no_simulator() -> None:
    code = "import sys, cryogate.providers; print([m for m in sys.modules if 'qiskit' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
