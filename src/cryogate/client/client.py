"""`Client`: run circuits as an agent, in a few lines, without ever holding a vendor's key."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack
from urllib.parse import urlencode

import msgspec

from cryogate.client.approvals import ApprovalCalls
from cryogate.client.closing import Closing
from cryogate.client.enrolment import Enroller, SelfRenewing
from cryogate.client.errors import JobEnded, Unavailable, WaitExpired
from cryogate.client.identity import Identity
from cryogate.client.messages import Call, Reply, origin_of
from cryogate.client.models import Counts, Estimate, Job, Result, SessionView
from cryogate.client.protocol import Prover, Session, Token
from cryogate.client.provers import read_agent
from cryogate.client.sources import format_of, read_source
from cryogate.client.transport import ClientTls, Transport
from cryogate.domain.errors import Malformed
from cryogate.domain.ids import JOB, SESSION, is_minted
from cryogate.domain.jobs import JobState

T = TypeVar("T")
LONG_POLL_S = 20
SHORTEST_POLL_S = 0.25
Source = str | os.PathLike[str]


class Bounds(TypedDict, total=False):
    """Bounds to ask for; left out means "whatever policy gives". Never wider than policy."""

    allowed_backends: Sequence[str]
    allowed_gate_set: Sequence[str]
    max_shots: int
    max_total_shots: int
    max_jobs: int
    max_cost_cents: int
    results: str
    ttl_s: int


class Client(Closing):
    """An agent's connection to one gateway. Blocking; not for use by several threads at once.

    ``key`` is the agent's private key (see `Identity`) or another way to prove who it is
    (`cryogate.client.provers`), ``experiment`` what the work is for. ``ca_file`` (PEM) holds the
    authorities of the server's certificate, where the system does not know them.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        key: Prover | Mapping[str, Any],
        experiment: str,
        *,
        ca_file: str | None = None,
        insecure_http: bool = False,
        timeout_s: float = 30.0,
        **bounds: Unpack[Bounds],
    ) -> None:
        self.url = origin_of(url, insecure_http=insecure_http)
        self.client_id = client_id
        self.experiment = experiment
        prover = Identity(client_id, key) if isinstance(key, Mapping) else key
        tls: ClientTls = getattr(prover, "tls", None) or ClientTls()
        tls = tls if tls.ca_file else replace(tls, ca_file=ca_file)
        asked = {"type": "qpu_experiment", "experiment_id": experiment, **bounds}
        wanted = {"authorization_details": msgspec.json.encode([asked]).decode()}
        self._session = Session(self.url, prover, wanted, _now_ms, random.random)
        self._transport = Transport(self.url, timeout_s=timeout_s, tls=tls)
        self._renewing: SelfRenewing | None = None
        self.approvals = ApprovalCalls(self._get)

    @classmethod
    def from_file(
        cls,
        path: Source,
        experiment: str | None = None,
        *,
        url: str | None = None,
        insecure_http: bool = False,
        ca_file: str | None = None,
        **bounds: Unpack[Bounds],
    ) -> Client:
        """A client from a credential file, which only its owner may be able to read.

        Raises:
            Malformed: the file is missing, open to others, or not a credential; or neither it
                nor the caller names an experiment or a URL.
        """
        held = read_agent(path)
        purpose = experiment or held.experiment_id
        if purpose is None:
            raise Malformed("no_experiment", "say which experiment the work is for")
        where = url or held.url
        if where is None:
            raise Malformed("no_url", "say where the gateway is")
        made = cls(
            where,
            held.prover.client_id,
            held.prover,
            purpose,
            insecure_http=insecure_http,
            ca_file=ca_file or held.ca_file,
            **bounds,
        )
        if held.has_key:
            enroller = Enroller(where, insecure_http=insecure_http, ca_file=ca_file or held.ca_file)
            made._renewing = SelfRenewing(Path(path), enroller)
        return made

    def run(
        self,
        program: Source,
        backend: str = "local:aer",
        shots: int = 1000,
        *,
        timeout_s: float | None = None,
        progress: Callable[[Job], None] | None = None,
        **options: Any,
    ) -> Result:
        """Submit, wait, and give the result. Options as for `submit`.

        Raises:
            Refused: not allowed; ``violations`` say what would have to change.
            JobEnded: it ran into an end without a result.
            WaitExpired: ``timeout_s`` ran out; the job goes on.
            Unavailable: no usable answer.
        """
        job = self.submit(program, backend, shots, **options)
        done = self.wait(job.job_id, timeout_s=timeout_s, progress=progress)
        return self._result(done)

    def estimate(
        self,
        program: Source,
        backend: str = "local:aer",
        shots: int = 1000,
        *,
        notation: str = "",
        parameters: Mapping[str, float] | None = None,
        check_vendor: bool = False,
    ) -> Estimate:
        """What the job would cost at most and what would be decided. Spends nothing.

        ``check_vendor``: the vendor is asked too what it would refuse, where it can be.
        """
        source = _program(program, notation, parameters)
        body: dict[str, Any] = {"backend": backend, "program": source, "shots": shots}
        if check_vendor:
            body["check_vendor"] = True
        return self._get(Call("POST", "/v1/estimates", body), Estimate)

    def submit(
        self,
        program: Source,
        backend: str = "local:aer",
        shots: int = 1000,
        *,
        notation: str = "",
        session_id: str | None = None,
        idempotency_key: str | None = None,
        metadata: Mapping[str, str] | None = None,
        parameters: Mapping[str, float] | None = None,
        webhook: str | None = None,
    ) -> Job:
        """Hand a job over. Every submission has an idempotency key, so a lost answer can be asked
        for again and still gives one job. ``parameters`` bind the circuit's ``input`` declarations;
        ``webhook`` is told when the job is over.
        """
        body: dict[str, object] = {
            "backend": backend,
            "program": _program(program, notation, parameters),
            "shots": shots,
            "idempotency_key": idempotency_key or secrets.token_hex(16),
        }
        if session_id is not None:
            body["session_id"] = session_id
        if webhook is not None:
            body["webhook"] = webhook
        if metadata:
            body["metadata"] = dict(metadata)
        return self._get(Call("POST", "/v1/jobs", body), Job)

    def job(self, job_id: str, *, wait_s: int = 0) -> Job:
        """The job as it stands; with ``wait_s`` (seconds, up to 20) once its state changes."""
        query = f"?wait_s={wait_s}" if wait_s else ""
        return self._get(Call("GET", _job_path(job_id) + query, wait_s=wait_s), Job)

    def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Wait until the job is done. ``progress`` is called with the job whenever it was read.

        Raises:
            JobEnded: it reached another final state.
            WaitExpired: ``timeout_s`` seconds were not enough.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        job = self.job(job_id)
        while True:
            if progress is not None:
                progress(job)
            if job.state is JobState.DONE:
                return job
            if job.state.final:
                raise JobEnded(job)
            left = LONG_POLL_S if end is None else int(end - time.monotonic())
            if left < 0 or (end is not None and end <= time.monotonic()):
                raise WaitExpired(job)
            asked, before = time.monotonic(), job
            job = self.job(job_id, wait_s=max(1, min(LONG_POLL_S, left)))
            if job.state is before.state and time.monotonic() - asked < SHORTEST_POLL_S:
                time.sleep(SHORTEST_POLL_S)  # a server that does not hold the request

    def result(self, job_id: str, z: Sequence[str] = ()) -> Result:
        """The released result of a job that is done; ``z``: strings like ZZ to have values of."""
        return self._result(self.job(job_id), z)

    def cancel(self, job_id: str) -> Job:
        """Stop a job; one that is already over stays as it is."""
        return self._get(Call("POST", _job_path(job_id) + "/cancel"), Job)

    def jobs(
        self, limit: int = 50, before: str | None = None
    ) -> tuple[tuple[Job, ...], str | None]:
        """The agent's own jobs, newest first, and the cursor of the next page."""
        query = urlencode({"limit": limit, **({"before": before} if before else {})})
        page = self._get(Call("GET", f"/v1/jobs?{query}"), _JobPage)
        return page.items, page.next

    def backends(self) -> tuple[dict[str, Any], ...]:
        """The backends this token may use, with their limits."""
        return self._get(Call("GET", "/v1/backends"), _Anything).items

    def open_session(
        self,
        backends: Sequence[str] | None = None,
        *,
        ttl_s: int | None = None,
        max_jobs: int | None = None,
        results: str | None = None,
    ) -> SessionView:
        """Open a bounded session. Not repeated on a lost answer: that could open two."""
        asked = {"backends": backends, "ttl_s": ttl_s, "max_jobs": max_jobs, "results": results}
        body = {name: value for name, value in asked.items() if value is not None}
        return self._get(Call("POST", "/v1/sessions", body, repeatable=False), SessionView)

    def session(self, session_id: str) -> SessionView:
        """A session as it stands."""
        return self._get(Call("GET", _session_path(session_id)), SessionView)

    def close_session(self, session_id: str) -> None:
        """End a session. Jobs that it accepted go on."""
        self.request(Call("DELETE", _session_path(session_id)))

    def token(self) -> Token:
        """The token in hand, fetched or renewed when need be."""
        return self._transport.drive(self._session.authorize())

    def delegate(self, consent: str, **bounds: Unpack[Bounds]) -> Token:
        """A token for the sub-agent that gave ``consent`` (`Identity.consent`), for `adopt`.

        ``bounds`` must be within this client's own and less in at least one; what is left out is
        the lesser of this client's and what policy gives the sub-agent. What the sub-agent uses
        counts against this client's token as well, and ends with it.

        Raises:
            Refused: the sub-agent may not have that much, or not at all.
            Unavailable: no usable answer.
        """
        asked = {"type": "qpu_experiment", "experiment_id": self.experiment, **bounds}
        wanted = {"authorization_details": msgspec.json.encode([asked]).decode()}
        return self._transport.drive(self._session.delegate(consent, wanted))

    def adopt(self, token: Token) -> None:
        """Use a token that this client was given earlier, until it has to be renewed."""
        self._session.token = token

    def request(self, call: Call) -> Reply:
        """Any API call: token, proof, retries and errors as for all the others."""
        self._renew_key()
        return self._transport.drive(self._session.converse(call))

    def _renew_key(self) -> None:
        """A key from a file replaces itself before it is refused for its age.

        It does so before a request and not after, for what the request makes may live under the
        token that it was made with.
        """
        if self._renewing is None or self._renewing.tried:
            return
        token = self.token()
        fresh = self._renewing.renew(token.key_ends_ms)
        if fresh is not None:
            # the token in hand is bound to the old key: the next request gets one for the new
            self._session.prover, self._session.token = fresh, None

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r}, {self.client_id!r}, experiment={self.experiment!r})"

    def _result(self, job: Job, z: Sequence[str] = ()) -> Result:
        asked = "?" + urlencode({"z": ",".join(z)}) if z else ""
        found = self._get(Call("GET", _job_path(job.job_id) + "/result" + asked), Counts)
        return Result(
            found.counts, found.shots, job, found.released, found.memory, found.cut,
            found.expectations,
        )  # fmt: skip

    def _get(self, call: Call, kind: type[T]) -> T:
        return decode(self.request(call), kind)


class _JobPage(msgspec.Struct, frozen=True):
    items: tuple[Job, ...] = ()
    next: str | None = None


class _Anything(msgspec.Struct, frozen=True):
    items: tuple[dict[str, Any], ...] = ()


def decode(reply: Reply, kind: type[T]) -> T:
    """The reply's JSON as ``kind``.

    Raises:
        Unavailable: it is not. An answer that cannot be read is no answer.
    """
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unavailable("the server's answer cannot be read", reply.status) from error


def _program(
    program: Source, notation: str, parameters: Mapping[str, float] | None = None
) -> dict[str, object]:
    source = read_source(program)
    made: dict[str, object] = {"format": notation or format_of(source), "source": source}
    if parameters:
        made["parameters"] = dict(parameters)
    return made


def _job_path(job_id: str) -> str:
    # Only a minted id goes into a path, so no id can lead to another endpoint.
    if not is_minted(job_id, JOB):
        raise Malformed("malformed_id", "a job id is job_ and 26 letters and digits")
    return f"/v1/jobs/{job_id}"


def _session_path(session_id: str) -> str:
    if not is_minted(session_id, SESSION):
        raise Malformed("malformed_id", "a session id is ses_ and 26 letters and digits")
    return f"/v1/sessions/{session_id}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
