"""Amazon Braket's API, and S3 for results.

(1) Our job id is the client token, by which Braket recognizes a repetition, and a tag, by which
    `find` looks for it; experiment, cost center and the program's fingerprint are tags too.
(2) The lease is a session of one role, cut down to one device and one folder of the bucket.
(3) Braket bills by a price list, for tasks that ran: it names no amount, so the bound is the price.
(4) A result names its task and echoes the program: both must be ours.
(5) A QPU without a spending limit in force at AWS takes no job, unless that is configured.
(6) Results are read by a key that we made (bucket, prefix, experiment) and Braket's folder in it;
    a folder elsewhere is not followed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import msgspec

from cryogate.circuits import Dialect, Format, Program
from cryogate.circuits.gates import BRAKET_ALIASES, words
from cryogate.config import ConfigError
from cryogate.domain.money import Money
from cryogate.domain.secrets import Secret
from cryogate.outbound.sigv4 import AwsKeys, sign
from cryogate.ports.clock import Clock
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
from cryogate.providers import braket_wire as wire
from cryogate.providers.braket_limits import in_force
from cryogate.providers.echo import check_echo
from cryogate.providers.http import Answer, VendorHttp, checked_url, unless_over
from cryogate.providers.readouts import needed, of_memory, reported
from cryogate.providers.setup import Setup
from cryogate.providers.walks import Walks

log = logging.getLogger("cryogate.providers")
_SCHEME: Final = "braket"
_STATES: Final = {
    "CREATED": VendorState.QUEUED, "QUEUED": VendorState.QUEUED, "RUNNING": VendorState.RUNNING,
    "COMPLETED": VendorState.DONE, "FAILED": VendorState.FAILED,
    "CANCELLING": VendorState.RUNNING, "CANCELLED": VendorState.CANCELLED,
}  # fmt: skip
_SPOKEN: Final = frozenset(
    {*words("x y z h s t rx ry rz cy cz swap cswap iswap ecr"), *BRAKET_ALIASES.values()}
)
_OPENQASM: Final = "braket.ir.openqasm.program"
_JSON: Final = {"content-type": "application/json"}
_PAGES: Final = 100
_LOOK_BACK: Final = timedelta(days=30)


class BraketProvider(Provider):
    """Devices and on-demand simulators of one region."""

    scheme = _SCHEME
    controls = frozenset(
        {Control.IDEMPOTENCY, Control.TAGS, Control.SCOPED_LEASE, Control.MAX_COST}
    )
    reads_program = True
    finds_together = True
    lists_with_lease = True

    def __init__(
        self,
        http: VendorHttp,
        s3_url: str,
        clock: Clock,
        *,
        region: str,
        bucket: str,
        prefix: str,
        without_limit: bool = False,
    ) -> None:
        self._http, self._s3_url, self._clock = http, s3_url, clock
        self._region, self._bucket, self._prefix = region, bucket, prefix
        self._without_limit = without_limit
        self._walks = Walks()
        self._arns: dict[str, str] = {}
        self._left: dict[str, int] = {}

    @classmethod
    def of(cls, setup: Setup) -> BraketProvider:
        """From the configuration."""
        config = setup.config.braket
        region = config.region
        if not config.bucket:
            raise ConfigError("braket.bucket must name the bucket for results")
        url = config.url or f"https://braket.{region}.amazonaws.com"
        s3_url = config.s3_url or f"https://s3.{region}.amazonaws.com"
        http = VendorHttp(url, setting="braket.url", ca_file=setup.config.providers.ca_file)
        return cls(
            http, checked_url(s3_url, "braket.s3_url"), setup.clock,
            region=region, bucket=config.bucket, prefix=config.prefix,
            without_limit=config.insecure_without_limit,
        )  # fmt: skip

    def arn(self, backend: str) -> str:
        """The device's ARN, empty while it is not known."""
        return self._arns.get(backend, "")

    # -- devices -----------------------------------------------------------------------------

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """Gate-model devices of the region and the simulators, with their capabilities."""
        if lease is None:
            raise ProviderError("Braket lists devices for a lease", sent=False, retryable=True)
        limits = await self._limits(lease)
        found: list[Backend] = []
        arns: dict[str, str] = {}
        token: str | None = None
        for _ in range(_PAGES):
            asked: dict[str, Any] = {"filters": [], "maxResults": 100}
            if token is not None:
                asked["nextToken"] = token
            page = (await self._call("POST", "/devices", lease, asked)).read(wire.Summaries)
            for summary in page.devices:
                device = await self._backend(summary, lease, limits)
                if device is not None:
                    found.append(device)
                    arns[device.name] = summary.device_arn
            token = page.next_token
            if token is None:
                break
        self._arns = arns
        self._left = {
            device.name: min(limit.left or 0 for limit in device.vendor_limits)
            for device in found
            if device.vendor_limits
        }
        return found

    async def _limits(self, lease: Lease) -> Sequence[wire.SpendingLimit]:
        """Every spending limit of the region; none where the role may not look: (5) refuses."""
        found: list[wire.SpendingLimit] = []
        asked: dict[str, Any] = {"maxResults": 100}
        try:
            for _ in range(_PAGES):
                answer = await self._call("POST", "/spending-limits", lease, asked)
                page = answer.read(wire.SpendingLimits)
                found += page.spending_limits
                if page.next_token is None:
                    break
                asked["nextToken"] = page.next_token
        except ProviderError as error:
            log.warning("Braket does not tell its spending limits: %s", error.detail)
            return ()
        return found

    async def _backend(
        self, summary: wire.Summary, lease: Lease, limits: Sequence[wire.SpendingLimit]
    ) -> Backend | None:
        if summary.device_status == "RETIRED":
            return None
        answer = await self._call("GET", "/device/" + _quoted(summary.device_arn), lease)
        device = answer.read(wire.Device)
        try:
            said = msgspec.json.decode(device.device_capabilities, type=wire.Capabilities)
            action = msgspec.json.decode(said.action[_OPENQASM], type=wire.Action)
        except (msgspec.MsgspecError, KeyError):
            return None  # no gate-model device, or one that we cannot judge
        gates = {BRAKET_ALIASES.get(name, name) for name in action.supported_operations}
        name = _named(summary.device_arn)
        simulator = summary.device_type == "SIMULATOR"
        held = in_force(limits, summary.device_arn, self._clock.now_ms())
        status = "online" if summary.device_status == "ONLINE" else "offline"
        if not (simulator or held or self._without_limit):
            status = "no_spending_limit"  # (5)
        return Backend(
            name,
            _SCHEME,
            simulator,
            said.paradigm.qubit_count,
            said.service.shots_range[1],
            frozenset(gates & _SPOKEN),
            frozenset({"parameters"}),
            status=status,
            calibrated_ms=_epoch_ms(said.service.updated_at),
            dialect=Dialect.BRAKET,
            native_gates=frozenset(said.paradigm.native_gate_set),
            queue=_queue(device.device_queue_info),
            vendor_limits=held,
        )

    # -- jobs --------------------------------------------------------------------------------

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """(1)."""
        arn = self.arn(submission.backend)
        if not arn:
            raise ProviderError("no such device in this region", sent=False, retryable=True)
        action = {
            "braketSchemaHeader": {"name": _OPENQASM, "version": "1"},
            "source": submission.text.decode("ascii"),
        }
        document = {
            "clientToken": submission.job_id,
            "deviceArn": arn,
            "action": msgspec.json.encode(action).decode(),
            "shots": submission.shots,
            "outputS3Bucket": self._bucket,
            "outputS3KeyPrefix": f"{self._prefix}/{submission.experiment_id}",
            "tags": {
                "cryogate:job": submission.job_id,
                "cryogate:program": submission.program.fingerprint,
                "cryogate:experiment": submission.experiment_id,
                "cryogate:cost-center": lease.terms.cost_center,
            },
        }
        try:
            answer = await self._call("POST", "/quantum-task", lease, document)
        except ProviderError as error:
            left = self._left.get(submission.backend)
            if error.status != 400 or left is None or left >= submission.cost_ceiling_cents:
                raise
            raise ProviderError(
                f"{error.detail}: at most {Money(left, 'USD')} is left of the device's limit",
                sent=False, retryable=False, status=error.status,
            ) from error  # fmt: skip
        return answer.read(wire.Created).quantum_task_arn

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """By tag, among the tasks of thirty days."""
        return await self._walks.find(lease.lease_id, job_id, lambda: self._listed(lease))

    async def _listed(self, lease: Lease) -> AsyncIterator[tuple[str, str]]:
        since = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC) - _LOOK_BACK
        asked: dict[str, Any] = {
            "maxResults": 100,
            "filters": [{"name": "createdAt", "operator": "GTE", "values": [since.isoformat()]}],
        }
        for _ in range(_PAGES):
            page = (await self._call("POST", "/quantum-tasks", lease, asked)).read(wire.Tasks)
            for task in page.quantum_tasks:
                yield task.tags.get("cryogate:job", ""), task.quantum_task_arn
            if page.next_token is None:
                return
            asked["nextToken"] = page.next_token
        raise ProviderError("the vendor lists too many tasks", sent=True, retryable=True)

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """(3)."""
        task = await self._task(vendor_id, lease)
        state = _STATES.get(task.status)
        if state is None:
            raise VendorLied("its task is in a state that there is not")
        position = task.queue_info.position if task.queue_info is not None else ""
        return VendorStatus(
            state,
            detail=task.failure_reason if state is VendorState.FAILED else "",
            job_id=task.tags.get("cryogate:job", ""),
            fingerprint=task.tags.get("cryogate:program", ""),
            queue_position=int(position) if position.isascii() and position.isdigit() else None,
            part_of_bound=(1, 1) if state is VendorState.DONE else None,
            backend=_named(task.device_arn) if task.device_arn else "",
        )

    async def _task(self, vendor_id: str, lease: Lease) -> wire.Task:
        answer = await self._call("GET", "/quantum-task/" + _quoted(vendor_id), lease)
        task = answer.read(wire.Task)
        if task.quantum_task_arn != vendor_id:
            raise VendorLied("it speaks of another job")
        return task

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """(4), (6): counts over the program's classical bits, and memory."""
        program = needed(program)
        task = await self._task(vendor_id, lease)
        folder = task.output_s3_directory
        inside = folder.startswith(f"{self._prefix}/") and ".." not in folder.split("/")
        if task.output_s3_bucket != self._bucket or not inside:
            raise VendorLied("its result lies in another place")
        found = (await self._object(f"{folder}/results.json", lease)).read(wire.Result)
        if found.task_metadata.id != vendor_id:
            raise VendorLied("its result is of another task")
        source = found.additional_metadata.action.source.encode()
        await check_echo(source, Format.OPENQASM3, program, Dialect.BRAKET)
        return _counted(found, program)

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Asks; a task that is over stays over."""
        path = f"/quantum-task/{_quoted(vendor_id)}/cancel"
        token = re.sub(r"[^A-Za-z0-9-]", "-", vendor_id)[-64:]
        await unless_over(self._call("PUT", path, lease, {"clientToken": token}))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    # -- calls -------------------------------------------------------------------------------

    async def _call(
        self, method: str, path: str, lease: Lease, document: Mapping[str, Any] | None = None
    ) -> Answer:
        body = b"" if document is None else msgspec.json.encode(document)
        return await self._signed("braket", method, self._http.base_url + path, lease, body)

    async def _object(self, key: str, lease: Lease) -> Answer:
        url = f"{self._s3_url}/{self._bucket}/{quote(key, safe='/-_.~')}"
        return await self._signed("s3", "GET", url, lease, b"")

    async def _signed(
        self, service: str, method: str, url: str, lease: Lease, body: bytes
    ) -> Answer:
        headers = sign(
            _keys(lease),
            service=service,
            region=self._region,
            method=method,
            url=url,
            headers=_JSON if body else {},
            body=body,
            now_ms=self._clock.now_ms(),
        )
        return await self._http.send(method, url, headers=headers, content=body or None)


def _keys(lease: Lease) -> AwsKeys:
    try:
        held = msgspec.json.decode(lease.secret.reveal(), type=wire.Keys)
    except msgspec.MsgspecError:
        raise ProviderError("the lease holds no AWS keys", sent=False, retryable=False) from None
    token = Secret(held.session_token.encode()) if held.session_token else None
    return AwsKeys(held.access_key_id, Secret(held.secret_access_key.encode()), token)


def _quoted(arn: str) -> str:
    return quote(arn, safe="-_.~")


def _queue(said: Sequence[wire.Queue]) -> int | None:
    for queue in said:
        if queue.queue == "QUANTUM_TASKS_QUEUE" and queue.queue_priority in ("", "Normal"):
            size = queue.queue_size.removeprefix(">")
            return int(size) if size.isascii() and size.isdigit() else None
    return None


def _named(arn: str) -> str:
    return f"{_SCHEME}:{arn.rpartition('/')[2].lower()}"


def _counted(found: wire.Result, program: Program) -> RawResult:
    columns = {qubit: place for place, qubit in enumerate(found.measured_qubits)}
    qubits = reported(program)
    if not columns.keys() >= {qubit for qubit in qubits if qubit is not None}:
        raise VendorLied("its result lacks a qubit that was measured")
    bits = [None if qubit is None else columns[qubit] for qubit in qubits]
    memory: list[str] = []
    for row in found.measurements:
        if len(row) != len(columns) or not {0, 1}.issuperset(row):
            raise VendorLied("its result has a row that is none")
        memory.append("".join("0" if place is None else str(row[place]) for place in bits))
    return of_memory(memory)


def _epoch_ms(text: str | None) -> int | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
