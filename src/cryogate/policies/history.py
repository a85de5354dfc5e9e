"""What policy was asked in the past, rebuilt from the rows that the answers left.

The path of a job writes nothing for this. An accepted job's question follows from its row, its
token's and its experiment's; a token's from its own; only a refusal, which leaves no such row, is
kept in full (`cryogate.gateway.refusals`). What follows from that, and is told with every result:

- agent, experiment and budget are those of today, so an agent promoted since is asked about as
  promoted;
- what a token had used before a job is the sum of its earlier jobs' bounds;
- whether a circuit had run on a simulator is whether it has by now;
- recent denials and calibration ages were never written down, and are not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from cryogate.circuits.stored_facts import read_facts
from cryogate.domain.errors import NotFound
from cryogate.ports import policy as ask
from cryogate.ports.provider import Backend
from cryogate.ports.store import ReadStore, Row
from cryogate.tokens.claims import ExpParams

_TOKEN_LIFE_MS = 3_600_000  # no token lives longer, so no earlier job can be of a token asked about


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the past: the job or token (or refusal) that it was about, and its answer."""

    reference: str
    at_ms: int
    question: ask.Question
    allowed: bool


class QuestionHistory:
    """Reads questions back. ``devices`` are the backends that there are."""

    def __init__(self, store: ReadStore, devices: Callable[[], Mapping[str, Backend]]) -> None:
        self._store = store
        self._devices = devices

    async def since(
        self, since_ms: int, limit: int, agent_id: str | None = None, *, refused: bool = True
    ) -> list[Asked]:
        """Questions since then, oldest first; at most ``limit`` of each kind, the newest.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        params: dict[str, Any] = {"agent_id": agent_id, "limit": limit}
        tokens = await self._store.fetch("asked_tokens_since", {**params, "since_ms": since_ms})
        jobs = await self._store.fetch(
            "asked_jobs_since", {**params, "since_ms": since_ms - _TOKEN_LIFE_MS}
        )
        found = [_of_token(row) for row in tokens]
        asked = [a for a in self._of_jobs(jobs) if a.at_ms >= since_ms]
        found += [await self._with_simulated(a) for a in asked]
        if refused:
            rows = await self._store.fetch(
                "refused_questions_since", {**params, "since_ms": since_ms}
            )
            found += [_of_refusal(row) for row in rows]
        return sorted(found, key=lambda asked: (asked.at_ms, asked.reference))

    async def of_job(self, job_id: str) -> Asked:
        """The question of one accepted job.

        Raises:
            NotFound: there is no such job.
        """
        row = await self._store.fetch_one("asked_job", {"job_id": job_id})
        if row is None:
            raise NotFound("job_not_found", "no such job")
        return await self._with_simulated(self._of_jobs([row])[0])

    async def newest_refusal(self, agent_id: str) -> Asked:
        """The last question about the agent that was refused.

        Raises:
            NotFound: none is kept.
        """
        row = await self._store.fetch_one("refused_question_newest", {"agent_id": agent_id})
        if row is None:
            raise NotFound("no_refusal", "no refused question of this agent is kept")
        return _of_refusal(row)

    async def _with_simulated(self, asked: Asked) -> Asked:
        """For a job on hardware: whether its circuit ever finished on a simulator."""
        question = asked.question
        circuit, backend, experiment = question.circuit, question.backend, question.experiment
        if circuit is None or experiment is None or backend is None or backend.simulator:
            return asked
        rows = await self._store.fetch(
            "backends_that_ran",
            {"experiment_id": experiment.id, "circuit_sha256": circuit.sha256},
        )
        devices = (self._devices().get(str(row["backend"])) for row in rows)
        simulated = any(device is not None and device.simulator for device in devices)
        told = msgspec.structs.replace(circuit, simulated=simulated)
        return replace(asked, question=msgspec.structs.replace(question, circuit=told))

    def _of_jobs(self, newest_first: Sequence[Row]) -> list[Asked]:
        used: dict[str, tuple[int, int, int]] = {}
        found = []
        for row in reversed(newest_first):
            token_id = str(row["token_id"])
            jobs, shots, cents = used.get(token_id, (0, 0, 0))
            found.append(self._of_job(row, ask.HistoryFacts(
                token_jobs=jobs, token_shots=shots, token_cents=cents
            )))  # fmt: skip
            used[token_id] = (
                jobs + 1,
                shots + _int(row, "shots"),
                cents + _int(row, "cost_bound_cents"),
            )
        return found

    def _of_job(self, row: Row, history: ask.HistoryFacts) -> Asked:
        facts = read_facts(str(row["facts"]))
        name = str(row["backend"])
        device = self._devices().get(name)
        question = ask.Question(
            action="job:submit",
            now_ms=_int(row, "created_ms"),
            agent=_agent(row),
            experiment=_experiment(row),
            grant=_grant(row),
            shots=_int(row, "shots"),
            circuit=ask.CircuitFacts(
                sha256=str(row["circuit_sha256"]),
                qubits=facts.qubits,
                depth=facts.depth,
                gates=facts.gates,
                two_qubit_gates=facts.two_qubit_gates,
                measurements=facts.measurements,
                gate_set=facts.gate_set,
                features=facts.features,
            ),
            backend=ask.BackendFacts(
                name=name,
                scheme=name.partition(":")[0],
                # A backend that is gone is taken for hardware: the stricter reading.
                simulator=device is not None and device.simulator,
                qubits=device.qubits if device is not None else facts.qubits,
            ),
            price=ask.PriceFacts(
                cents=_int(row, "cost_bound_cents"), currency=str(row["currency"])
            ),
            history=history,
        )
        return Asked(str(row["job_id"]), question.now_ms, question, True)


def _of_token(row: Row) -> Asked:
    question = ask.Question(
        action="token:issue",
        now_ms=_int(row, "issued_ms"),
        agent=_agent(row),
        experiment=_experiment(row),
        grant=_grant(row),
    )
    return Asked(str(row["token_id"]), question.now_ms, question, True)


def _of_refusal(row: Row) -> Asked:
    question = msgspec.json.decode(str(row["question"]), type=ask.Question)
    return Asked(f"refusal {row['question_id']}", _int(row, "created_ms"), question, False)


def _agent(row: Row) -> ask.AgentFacts:
    return ask.AgentFacts(
        id=str(row["agent_id"]),
        owner=str(row["owner"]),
        tier=str(row["tier"]),
        stage="hardware" if row["stage"] == "hardware" else "simulator",
        roles=_names(row, "roles"),
        attributes=msgspec.json.decode(str(row["attributes"])),
    )


def _experiment(row: Row) -> ask.ExperimentFacts:
    return msgspec.convert(
        {
            "id": row["experiment_id"],
            "purpose": row["purpose"],
            "classification": row["classification"],
            "owner": row["experiment_owner"],
            "cost_center": row["cost_center"],
            "allowed_agents": _names(row, "allowed_agents"),
            "allowed_backends": _names(row, "allowed_backends"),
            "release": row["release"],
            "closes_ms": row["closes_ms"],
            "budget_left_cents": max(0, _int(row, "left_cents")),
            "budget_left_shots": max(0, _int(row, "left_shots")),
        },
        ask.ExperimentFacts,
    )


def _grant(row: Row) -> ask.GrantFacts:
    grant = msgspec.json.decode(str(row["exp_params"]), type=ExpParams)
    return ask.GrantFacts(
        allowed_backends=grant.allowed_backends,
        allowed_gate_set=grant.allowed_gate_set,
        max_shots=grant.max_shots,
        max_total_shots=grant.max_total_shots,
        max_jobs=grant.max_jobs,
        max_cost_cents=grant.max_cost_cents,
        results=grant.results.value,
        ttl_s=max(0, _int(row, "expires_ms") - _int(row, "issued_ms")) // 1000,
    )


def _names(row: Row, column: str) -> tuple[str, ...]:
    return tuple(sorted(msgspec.json.decode(str(row[column]), type=list[str])))


def _int(row: Row, column: str) -> int:
    value = row[column]
    if not isinstance(value, int):
        raise TypeError(f"{column} is no number")
    return value
