"""Azure Quantum's data plane, for targets of IonQ, Quantinuum and Rigetti.

(1) The client chooses the job's id: ours, hashed into a UUID. Putting the same id again is the same
    job, and `find` is a look at it. So a lost answer costs nothing.
(2) Input and output lie in a blob container of the workspace's storage, one for each job, reached
    by SAS URLs that the service gives. Only https URLs of `azure.storage_suffix` are used: one
    elsewhere is a lie (S3). Who can write to that account could change the input between upload
    and run: before a result is taken, the input that lies there must be what was sent (C5).
(3) The vendor behind the target gets the text that another parser has confirmed, in the target's
    own notation. Error mitigation is off.
(4) What a job cost is Azure's `costEstimate`; without one the price list's bound is charged.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import structs

from cryogate.circuits import Dialect, Program, emit
from cryogate.config import ConfigError
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import (
    Backend,
    Control,
    Provider,
    ProviderError,
    RawResult,
    Submission,
    VendorLied,
    VendorState,
    VendorStatus,
)
from cryogate.providers.azure_results import read_result
from cryogate.providers.azure_targets import TARGETS, Notation, target_of
from cryogate.providers.http import Answer, VendorHttp, before_the_job, unless_over
from cryogate.providers.readouts import needed
from cryogate.providers.setup import Setup

_SCHEME: Final = "azure"
_API: Final = "2026-01-15-preview"
_BLOB: Final = {"x-ms-version": "2024-11-04", "x-ms-blob-type": "BlockBlob"}
_NAMESPACE: Final = uuid.UUID("6a1c8f0e-7d35-5c0b-9d7e-0d8a3a3a6f21")
_STATES: Final = {
    "Waiting": VendorState.QUEUED, "Executing": VendorState.RUNNING,
    "Finishing": VendorState.RUNNING, "Succeeded": VendorState.DONE,
    "Completed": VendorState.DONE, "Failed": VendorState.FAILED,
    "CancellationRequested": VendorState.RUNNING, "Cancelled": VendorState.CANCELLED,
}  # fmt: skip
_FINAL: Final = frozenset({VendorState.DONE, VendorState.FAILED, VendorState.CANCELLED})


_MAX_SHOTS: Final = 10_000


class _Target(msgspec.Struct, rename="camel"):
    id: str
    current_availability: str
    average_queue_time: int = 0


class _Vendor(msgspec.Struct, rename="camel"):
    id: str
    targets: tuple[_Target, ...] = ()


class _Vendors(msgspec.Struct):
    value: tuple[_Vendor, ...]


class _Sas(msgspec.Struct, rename="camel"):
    sas_uri: str


class _Estimate(msgspec.Struct, rename="camel"):
    estimated_total: Decimal
    currency_code: str


class _Error(msgspec.Struct):
    code: str = ""


class _Job(msgspec.Struct, rename="camel"):
    id: str
    status: str
    target: str = ""
    metadata: dict[str, str] | None = None
    cost_estimate: _Estimate | None = None
    error_data: _Error | None = None


class AzureProvider(Provider):
    """Targets of one workspace."""

    scheme = _SCHEME
    controls = frozenset({Control.IDEMPOTENCY, Control.TAGS})
    reads_program = True
    lists_with_lease = True

    def __init__(self, http: VendorHttp, workspace: str, storage_suffix: str) -> None:
        self._http, self._workspace, self._suffix = http, workspace, storage_suffix

    @classmethod
    def of(cls, setup: Setup) -> AzureProvider:
        """From the configuration."""
        config = setup.config.azure
        if not (config.subscription and config.resource_group and config.workspace):
            raise ConfigError("azure needs subscription, resource_group and workspace")
        url = config.url or f"https://{config.location}.quantum.azure.com"
        http = VendorHttp(url, setting="azure.url", ca_file=setup.config.providers.ca_file)
        path = (
            f"/subscriptions/{config.subscription}/resourceGroups/{config.resource_group}"
            f"/providers/Microsoft.Quantum/workspaces/{config.workspace}"
        )
        return cls(http, path, config.storage_suffix)

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """The workspace's targets that we know how to speak to."""
        if lease is None:
            raise ProviderError("Azure lists targets for a lease", sent=False, retryable=True)
        page = (await self._call("GET", "/providerStatus", lease)).read(_Vendors)
        return [
            self._backend(target)
            for vendor in page.value
            for target in vendor.targets
            if target.id in TARGETS
        ]

    def _backend(self, target: _Target) -> Backend:
        found = TARGETS[target.id]
        return Backend(
            f"{_SCHEME}:{target.id}",
            _SCHEME,
            found.simulator,
            found.qubits,
            _MAX_SHOTS,
            found.notation.gates,
            found.notation.features,
            status="online" if target.current_availability == "Available" else "offline",
            dialect=found.notation.dialect,
            degraded=target.current_availability == "Degraded",
            wait_ms=target.average_queue_time * 1000,
        )

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """(1) to (3): input, then the job."""
        vendor_id = _uuid(submission.job_id)
        target = submission.backend.partition(":")[2]
        notation = target_of(target).notation
        container = await self._container(vendor_id, lease)
        await self._upload(container, _payload(submission.text, notation))
        document = {
            "id": vendor_id,
            "name": submission.job_id,
            "providerId": target.partition(".")[0],
            "target": target,
            "itemType": "Job",
            "containerUri": container,
            "inputDataUri": _inside(container, "inputData"),
            "inputDataFormat": notation.input_format,
            "outputDataFormat": notation.output_format,
            "inputParams": {"shots": submission.shots, **notation.params},
            "metadata": {
                "cryogate_job": submission.job_id,
                "cryogate_program": submission.program.fingerprint,
                "cryogate_experiment": submission.experiment_id,
                "cryogate_cost_center": lease.terms.cost_center,
                "cryogate_shots": str(submission.shots),
            },
        }
        try:
            answer = await self._call("PUT", f"/jobs/{vendor_id}", lease, document)
        except ProviderError as error:
            # it is there already: the same job, since nobody else makes ids like ours
            if error.status != 409:
                raise
            return vendor_id
        if answer.read(_Job).id != vendor_id:
            raise VendorLied("it speaks of another job")
        return vendor_id

    async def _container(self, vendor_id: str, lease: Lease) -> str:
        asked = {"containerName": f"job-{vendor_id}"}
        found = (await self._call("POST", "/storage/sasUri", lease, asked)).read(_Sas).sas_uri
        self._trusted(found)
        return found

    async def _upload(self, container: str, payload: bytes) -> None:
        try:
            await self._blob("PUT", _inside(container, "inputData"), payload)
        except ProviderError as error:
            raise before_the_job(error) from error

    def _trusted(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        ours = host == self._suffix.lstrip(".") or host.endswith(self._suffix)
        local = parts.scheme == "http" and host in ("127.0.0.1", "localhost")
        if not ours or not (parts.scheme == "https" or local):
            raise VendorLied("its storage lies in another place")

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """(1)."""
        vendor_id = _uuid(job_id)
        try:
            await self._job(vendor_id, lease)
        except ProviderError as error:
            if error.status == 404:
                return None
            raise
        return vendor_id

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """(4)."""
        job = await self._job(vendor_id, lease)
        state = _STATES.get(job.status)
        if state is None:
            raise VendorLied("its job is in a state that there is not")
        tags, cost = job.metadata or {}, job.cost_estimate
        status = VendorStatus(
            state,
            detail=job.error_data.code if job.error_data is not None else "",
            job_id=tags.get("cryogate_job", ""),
            fingerprint=tags.get("cryogate_program", ""),
            backend=f"{_SCHEME}:{job.target}" if job.target else "",
        )
        if state is VendorState.DONE and cost is None:
            return structs.replace(status, part_of_bound=(1, 1))
        if state not in _FINAL or cost is None:
            return status
        if not cost.estimated_total.is_finite():
            raise VendorLied("its price is no number")
        cents = int((cost.estimated_total * 100).to_integral_value(ROUND_CEILING))
        return structs.replace(status, cost_cents=cents, currency=cost.currency_code.upper())

    async def _job(self, vendor_id: str, lease: Lease) -> _Job:
        job = (await self._call("GET", f"/jobs/{vendor_id}", lease)).read(_Job)
        if job.id != vendor_id:
            raise VendorLied("it speaks of another job")
        return job

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """Counts over the program's classical bits."""
        program = needed(program)
        job = await self._job(vendor_id, lease)
        found = TARGETS.get(job.target)
        if found is None:
            raise VendorLied("its job ran on another target")
        notation = found.notation
        ran = await self._stored(vendor_id, "inputData", lease)
        sent = await asyncio.to_thread(emit, program, notation.dialect)
        if ran.body != _payload(sent, notation):
            raise VendorLied("it ran another circuit")
        answer = await self._stored(vendor_id, "outputData", lease)
        shots = (job.metadata or {}).get("cryogate_shots", "")
        return read_result(notation, answer, shots, program)

    async def _stored(self, vendor_id: str, name: str, lease: Lease) -> Answer:
        asked = {"containerName": f"job-{vendor_id}", "blobName": name}
        url = (await self._call("POST", "/storage/sasUri", lease, asked)).read(_Sas).sas_uri
        self._trusted(url)
        return await self._blob("GET", url, None)

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Asks; a job that is over stays over."""
        await unless_over(self._call("POST", f"/jobs/{vendor_id}:cancel", lease))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    async def _call(
        self, method: str, path: str, lease: Lease, document: Mapping[str, Any] | None = None
    ) -> Answer:
        return await self._http.ask(
            method,
            self._workspace + path,
            headers={"authorization": f"Bearer {lease.secret.text()}"},
            params={"api-version": _API},
            document=document,
        )

    async def _blob(self, method: str, url: str, body: bytes | None) -> Answer:
        return await self._http.send(method, url, headers=_BLOB, content=body)


def _uuid(job_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, job_id))


def _inside(container: str, name: str) -> str:
    parts = urlsplit(container)
    return urlunsplit(parts._replace(path=f"{parts.path}/{name}"))


def _payload(text: bytes, notation: Notation) -> bytes:
    if notation.dialect is not Dialect.IONQ_JSON:
        return text
    document = json.loads(text)
    document.pop("registers", None)  # ours to apply, as with IonQ itself
    return msgspec.json.encode(document)
