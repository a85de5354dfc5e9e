"""Every adapter with a vendor behind it, as the contract suite wants them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryogate.circuits import Dialect, Format, Program, emit, parse_flat
from cryogate.config import Config
from cryogate.config.google import Google
from cryogate.config.sections import Azure, Braket, Ibm, Ionq, Quantinuum
from cryogate.dev.aws import ACCOUNT
from cryogate.dev.azure import PLACE, AzureFake
from cryogate.dev.braket import BUCKET, BraketFake
from cryogate.dev.google import PROJECT as GOOGLE_PROJECT
from cryogate.dev.google import GoogleFake
from cryogate.dev.ibm import CRN, IbmFake
from cryogate.dev.ionq import IonqFake
from cryogate.dev.nexus_door import PROJECT
from cryogate.dev.quantinuum import QuantinuumFake
from cryogate.dev.serving import served
from cryogate.domain.secrets import Secret
from cryogate.governance.pricing import default_price_book
from cryogate.ports.clock import SystemClock
from cryogate.ports.credentials import Lease, LeaseTerms
from cryogate.ports.provider import Backend, Provider, Submission
from cryogate.providers import PROVIDERS, Setup
from cryogate.providers.braket_policy import session_policy

BELL = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nh q[0];\ncx q[0],q[1];\n'
    b"measure q[0] -> c[0];\nmeasure q[1] -> c[1];\n",
    Format.OPENQASM2,
)
#: Not symmetric in anything: qubit 1 is one, and read by classical bit 0 of three.
ORDER = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[3];\nx q[1];\n'
    b"measure q[1] -> c[0];\nmeasure q[0] -> c[1];\n",
    Format.OPENQASM2,
)
#: The same state as `BELL`, in IBM's gates.
NATIVE_BELL = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\n'
    b"rz(pi/2) q[0];\nsx q[0];\nrz(pi/2) q[0];\nrz(pi/2) q[1];\nsx q[1];\nrz(pi/2) q[1];\n"
    b"cz q[0],q[1];\nrz(pi/2) q[1];\nsx q[1];\nrz(pi/2) q[1];\n"
    b"measure q[0] -> c[0];\nmeasure q[1] -> c[1];\n",
    Format.OPENQASM2,
)
#: `BELL` and `ORDER` in the gates of Quantinuum's machines.
TRAPPED_BELL = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\n'
    b"r(pi/2,-pi/2) q[0];\nrz(pi) q[0];\nr(pi/2,-pi/2) q[1];\nrz(pi) q[1];\n"
    b"rzz(pi/2) q[0],q[1];\nrz(-pi/2) q[0];\nrz(-pi/2) q[1];\n"
    b"r(pi/2,-pi/2) q[1];\nrz(pi) q[1];\n"
    b"measure q[0] -> c[0];\nmeasure q[1] -> c[1];\n",
    Format.OPENQASM2,
)
TRAPPED_ORDER = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[3];\nr(pi,0) q[1];\n'
    b"measure q[1] -> c[0];\nmeasure q[0] -> c[1];\n",
    Format.OPENQASM2,
)
#: The same state, in Google's gates: an H is a turn about y after a flip of z.
GOOGLE_BELL = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\n'
    b"rz(pi) q[0];\nry(pi/2) q[0];\nry(pi/2) q[1];\ncz q[0],q[1];\nry(-pi/2) q[1];\n"
    b"measure q[0] -> c[0];\nmeasure q[1] -> c[1];\n",
    Format.OPENQASM2,
)
CANARY = "agent-token-canary"
BOOK = default_price_book()


@dataclass
class Bench:
    """An adapter, a lease, and what the vendor behind it can be asked."""

    provider: Provider
    lease: Lease
    backend: str
    ran: Callable[[str], int] | None = None
    faults: Any = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def bell(self) -> Program:
        """A Bell state in the gates of the backend."""
        found: Program = self.settings.get("bell", BELL)
        return found

    @property
    def order(self) -> Program:
        """`ORDER` in the gates of the backend."""
        found: Program = self.settings.get("order", ORDER)
        return found

    def submission(
        self, job_id: str, program: Program | None = None, shots: int = 100
    ) -> Submission:
        device, program = self.device, program or self.bell
        text = b"" if device.dialect is None else emit(program, device.dialect)
        return Submission(job_id, self.backend, program, shots, "e1", 5000, text)

    device: Backend = field(init=False)


def lease_of(scheme: str, secret: bytes) -> Lease:
    terms = LeaseTerms(scheme, f"{scheme}:x", "e1", "a1", "s1", "cc")
    return Lease("lea_1", scheme, 2**52, Secret(secret), terms)


@contextmanager
def _local() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    yield Config(), None, {"secret": b"x", "backend": "local:aer"}


@contextmanager
def _ionq() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    fake = IonqFake(polls=1)
    with served(fake.app) as url:
        config = Config(ionq=Ionq(url=f"{url}/v0.4"))
        yield config, None, {
            "secret": fake.key.encode(), "backend": "ionq:simulator", "faults": fake.faults,
            "ran": lambda job_id: len(fake.ran(job_id)), "fake": fake,
            "submit_path": "/v0.4/jobs",
        }  # fmt: skip


@contextmanager
def _braket() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    fake = BraketFake(polls=1)
    forte = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1"
    terms = LeaseTerms("braket", "braket:forte-1", "e1", "a1")
    policy = session_policy(terms, ACCOUNT, bucket=BUCKET, prefix="cryogate", device_arn=forte)
    look = session_policy(LeaseTerms("braket"), ACCOUNT, bucket="", prefix="", device_arn="")
    both = {**policy, "Statement": [*policy["Statement"], *look["Statement"]]}
    made = fake.accounts.assume("lea-1", both, {})
    secret = {"access_key_id": made.key_id, "secret_access_key": made.secret,
              "session_token": made.token}  # fmt: skip
    with served(fake.app) as url:
        config = Config(braket=Braket(bucket=BUCKET, url=url, s3_url=url, sts_url=url))
        yield config, None, {
            "secret": json.dumps(secret).encode(), "backend": "braket:forte-1",
            "faults": fake.faults, "ran": lambda job_id: len(fake.ran(job_id)), "fake": fake,
            "submit_path": "/quantum-task",
        }  # fmt: skip


@contextmanager
def _ibm() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    fake = IbmFake(polls=1)
    secret = json.dumps({"token": fake.mint(), "crn": CRN}).encode()
    with served(fake.app) as url:
        config = Config(ibm=Ibm(url=f"{url}/api/v1", iam_url=url))
        yield config, None, {
            "secret": secret, "backend": "ibm:ibm_torino", "faults": fake.faults,
            "ran": lambda job_id: len(fake.ran(job_id)), "fake": fake, "bell": NATIVE_BELL,
            "submit_path": "/api/v1/jobs",
        }  # fmt: skip


@contextmanager
def _azure() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    fake = AzureFake(polls=1)
    words = PLACE.split("/")
    with served(fake.app) as url:
        config = Config(
            azure=Azure(
                url=url, login_url=url, storage_suffix="127.0.0.1", subscription=words[2],
                resource_group=words[4], workspace=words[8],
            )
        )  # fmt: skip
        yield config, None, {
            "secret": fake.mint().encode(), "backend": "azure:ionq.simulator",
            "faults": fake.faults, "ran": lambda job_id: len(fake.ran(job_id)), "fake": fake,
            "submit_path": f"{PLACE}/jobs/",
        }  # fmt: skip


@contextmanager
def _quantinuum() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    fake = QuantinuumFake(polls=1)
    secret = json.dumps({"token": fake.door.mint(), "project": PROJECT}).encode()
    with served(fake.app) as url:
        config = Config(quantinuum=Quantinuum(url=url))
        yield config, None, {
            "secret": secret, "backend": "quantinuum:h2-1", "faults": fake.faults,
            "ran": lambda job_id: len(fake.ran(job_id)), "fake": fake, "bell": TRAPPED_BELL,
            "order": TRAPPED_ORDER, "submit_path": "/api/jobs/v1beta3",
        }  # fmt: skip


@contextmanager
def _google() -> Iterator[tuple[Config, Bench | None, dict[str, Any]]]:
    fake = GoogleFake(polls=1)
    with served(fake.app) as url:
        config = Config(google=Google(project=GOOGLE_PROJECT, url=url, token_url=f"{url}/token"))
        yield config, None, {
            "secret": fake.mint().encode(), "backend": "google:willow_pink",
            "faults": fake.faults, "ran": lambda job_id: len(fake.ran(job_id)), "fake": fake,
            "bell": GOOGLE_BELL,
            "submit_path": f"/v1alpha1/projects/{GOOGLE_PROJECT}/programs/job-fault/jobs",
        }  # fmt: skip


VENDORS: dict[str, Callable[[], Any]] = {
    "local": _local,
    "ionq": _ionq,
    "braket": _braket,
    "ibm": _ibm,
    "azure": _azure,
    "google": _google,
    "quantinuum": _quantinuum,
}


#: Other backends of adapters that speak several notations.
OTHERS = ("azure/rigetti.qpu.cepheus-1-108q", "azure/quantinuum.qpu.h2-1")


@asynccontextmanager
async def bench_of(scheme: str) -> AsyncIterator[Bench]:
    """The adapter of ``scheme``, made as the server makes it, with its vendor running.

    ``scheme/device`` is one of `OTHERS`.
    """
    scheme, _, other = scheme.partition("/")
    with VENDORS[scheme]() as (config, _, about):
        provider = PROVIDERS[scheme](Setup(config, SystemClock(), BOOK))
        lease = lease_of(scheme, about["secret"])
        backend = f"{scheme}:{other}" if other else about["backend"]
        bench = Bench(provider, lease, backend, about.get("ran"), about.get("faults"),
                      about)  # fmt: skip
        devices = await provider.backends(lease if provider.lists_with_lease else None)
        bench.device = {device.name: device for device in devices}[bench.backend]
        try:
            yield bench
        finally:
            await provider.close()


__all__ = ["BELL", "CANARY", "ORDER", "VENDORS", "Bench", "Dialect", "bench_of", "lease_of"]
