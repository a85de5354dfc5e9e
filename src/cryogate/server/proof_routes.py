"""``/v1/jobs/{id}/receipt`` and ``/provenance``: what an agent can show to others of its job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.audit import dsse
from cryogate.audit.provenance import Provenances
from cryogate.audit.receipts import Receipts
from cryogate.gateway.caller import Caller
from cryogate.gateway.release import ResultView
from cryogate.gateway.views import JobView
from cryogate.server.endpoints import Endpoint, ForAgents, Public
from cryogate.server.replies import query, reply, whole_number

_LONGEST_WAIT_S = 10


class ProofRoutes:
    """Receipts and statements. Who may see the job may see them (A1)."""

    def __init__(
        self,
        receipts: Receipts,
        provenances: Provenances,
        job: Callable[[Caller, str], Awaitable[JobView]],
    ) -> None:
        self._receipts = receipts
        self._provenances = provenances
        self._job = job

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Both for a job's own agent; the key for everybody."""
        return (
            ForAgents("GET", "/v1/jobs/{job_id}/receipt", self.receipt),
            ForAgents("GET", "/v1/jobs/{job_id}/provenance", self.provenance),
            Public("GET", "/audit/provenance-key", self.key),
        )

    async def receipt(self, request: Request, caller: Caller) -> Response:
        """What the log holds of the job, with proofs; ``?wait_s=N`` waits for what is pending.

        With ``?cosigned=1`` only proofs that lead to a head with the witnesses' quorum.
        """
        params = query(request, "wait_s", "cosigned")
        wait_s = whole_number(params, "wait_s", 0, _LONGEST_WAIT_S)
        only = whole_number(params, "cosigned", 0, 1) == 1
        job = await self._job(caller, request.path_params["job_id"])
        return reply(await self._receipts.of_job(job.job_id, wait_s, cosigned_only=only))

    async def provenance(self, request: Request, caller: Caller) -> Response:
        """The signed statement about the job's result, with the receipts that go with it."""
        params = query(request, "wait_s")
        wait_s = whole_number(params, "wait_s", 0, _LONGEST_WAIT_S)
        job = await self._job(caller, request.path_params["job_id"])
        signed = await self._provenances.of_job(job.job_id)
        receipt = await self._receipts.of_job(job.job_id, wait_s)
        answer: dict[str, Any] = {"provenance": signed.envelope, "receipt": receipt}
        return reply(answer)

    async def key(self, request: Request) -> Response:
        """The public key of the statements in PEM: to compare with the one from elsewhere."""
        text = dsse.pem(self._provenances.public_key)
        return Response(text, media_type="text/plain", headers={"cache-control": "no-store"})

    async def attach(self, view: ResultView) -> ResultView:
        """A result with its statement and the receipts that are there already."""
        signed = await self._provenances.of_job(view.job_id)
        receipt = await self._receipts.of_job(view.job_id)
        return msgspec.structs.replace(
            view,
            provenance=msgspec.Raw(msgspec.json.encode(signed.envelope)),
            receipt=msgspec.Raw(msgspec.json.encode(receipt)),
            counts_salt=signed.salt if view.counts is not None and view.cut is None else None,
        )
