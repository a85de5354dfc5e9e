"""``cryogate job``: submit, watch, read results; as an agent, or looking on as an operator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from cryogate.cli.amounts import show_cents
from cryogate.cli.job_views import counts_text, cut_text, estimate_text, expectations_text, job_text
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, note, say, table
from cryogate.cli.records import BASE, pairs, parameters, show_page

_FORMATS = click.Choice(["openqasm2", "openqasm3", "ionq.circuit.v1"])
_PARAMETERS = click.option(
    "--param", "values", multiple=True, metavar="NAME=NUMBER", help="Bind an input of the circuit."
)
_LIST = ("job_id", "state", "agent_id", "experiment_id", "backend", "shots", "cost", "created_at")


@click.group()
def group() -> None:
    """Jobs: submit, watch, read results."""


@click.argument("file", type=click.Path(path_type=Path))
@click.option("--backend", default="local:aer", show_default=True)
@click.option("--shots", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--wait", is_flag=True, help="Wait until it is over, then show the counts.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="Wait at most so long [s].")
@click.option("--session", "session_id", help="Inside this session.")
@click.option("--format", "notation", type=_FORMATS, help="Default: told from the first line.")
@click.option("--idempotency-key", help="One key, one job, however often it is sent.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE")
@_PARAMETERS
@click.option("--webhook", help="An address that is told when the job is over.")
@click.option("--top", type=click.IntRange(1), default=16, show_default=True, help="Bars to show.")
def submit(
    settings: Settings,
    file: Path,
    backend: str,
    shots: int,
    wait: bool,
    timeout_s: float | None,
    session_id: str | None,
    notation: str | None,
    idempotency_key: str | None,
    metadata: tuple[str, ...],
    values: tuple[str, ...],
    webhook: str | None,
    top: int,
) -> None:
    """Submit the circuit in FILE (- reads standard input)."""
    from cryogate.cli import session_tokens
    from cryogate.cli.connect import agent
    from cryogate.cli.progress import watching

    source = read_program(file)
    with agent(settings) as client:
        if session_id is not None:
            session_tokens.adopt(client, session_id)
        job = client.submit(
            source,
            backend,
            shots,
            notation=notation or "",
            session_id=session_id,
            idempotency_key=idempotency_key,
            metadata={name: str(value) for name, value in pairs(metadata).items()},
            parameters=parameters(values),
            webhook=webhook,
        )
        if not wait:
            document = msgspec.to_builtins(job)
            emit(settings, document, lambda: job_text(document))
            return
        try:
            with watching(job, quiet=settings.as_json) as progress:
                client.wait(job.job_id, timeout_s=timeout_s, progress=progress)
        except KeyboardInterrupt:
            note(f"no longer waiting; the job goes on: cryogate job show {job.job_id}")
            raise
        result = client.result(job.job_id)
    document = {
        "job": msgspec.to_builtins(result.job),
        "counts": dict(result.counts),
        "shots": result.shots,
        "released": result.released,
    }
    if result.cut is not None:
        document["cut"] = msgspec.to_builtins(result.cut)

    def human() -> None:
        cost = show_cents(result.job.cost_actual_cents, result.job.currency)
        say(f"{job.job_id} done on {backend}, cost {cost}")
        counts_text(result.counts, result.shots, top)
        cut_text(result.cut)

    emit(settings, document, human)


@click.argument("file", type=click.Path(path_type=Path))
@click.option("--backend", default="local:aer", show_default=True)
@click.option("--shots", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--format", "notation", type=_FORMATS, help="Default: told from the first line.")
@click.option("--check", "check_vendor", is_flag=True, help="Ask the vendor too, if it can be.")
@_PARAMETERS
def estimate(
    settings: Settings,
    file: Path,
    backend: str,
    shots: int,
    notation: str | None,
    values: tuple[str, ...],
    check_vendor: bool,
) -> None:
    """Say what FILE would cost at most and whether it may run. Spends nothing.

    A job that would be denied, or refused by its vendor, exits 1.
    """
    from cryogate.cli.connect import agent
    from cryogate.cli.failure import REFUSED

    with agent(settings) as client:
        found = client.estimate(
            read_program(file),
            backend,
            shots,
            notation=notation or "",
            parameters=parameters(values),
            check_vendor=check_vendor,
        )
    document = msgspec.to_builtins(found)
    emit(settings, document, lambda: estimate_text(document))
    refused = (found.vendor or {}).get("state") == "refused"
    if refused or found.decision not in ("allow", "needs_approval"):
        click.get_current_context().exit(REFUSED)


@click.argument("job_id")
def show_(settings: Settings, job_id: str) -> None:
    """Show one job: the agent's own, or any as an operator."""
    document = _read(settings, job_id)
    emit(settings, document, lambda: job_text(document))


@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--before", help="Continue a longer list.")
@click.option("--agent", "agent_id", help="Only this agent's (operators).")
@click.option("--state", help="Only those in this state (operators).")
def list_(
    settings: Settings,
    limit: int,
    before: str | None,
    agent_id: str | None,
    state: str | None,
) -> None:
    """List jobs, newest first: the agent's own, or all as an operator."""
    from cryogate.cli.connect import agent, operator

    if settings.agent_file is not None:
        if agent_id or state:
            raise click.UsageError("--agent and --state are for operators: leave out --as")
        with agent(settings) as client:
            jobs, more = client.jobs(limit, before)
        page: dict[str, Any] = {"items": msgspec.to_builtins(jobs), "next": more}
    else:
        query: dict[str, str | int | None] = {
            "agent_id": agent_id,
            "experiment_id": settings.experiment,
            "state": state,
            "limit": limit,
            "before": before,
        }
        with operator(settings) as server:
            page = server.call("GET", *BASE, "jobs", query=query)
    if not settings.as_json:
        for item in (found for found in page.get("items", ()) if isinstance(found, dict)):
            cents = item.get("cost_actual_cents")
            cents = item.get("cost_estimate_cents") if cents is None else cents
            item["cost"] = show_cents(cents, item.get("currency"))
    show_page(settings, page, _LIST, none="no jobs", cursor="--before")


@click.argument("job_id")
@click.option("--top", type=click.IntRange(1), default=16, show_default=True, help="Bars to show.")
@click.option("--z", "strings", multiple=True, help="Expectation value of a string like ZZ or IZ.")
def result(settings: Settings, job_id: str, top: int, strings: tuple[str, ...]) -> None:
    """Show the counts of a job that is done, as far as they are released."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        found = client.result(job_id, strings)
    document: dict[str, Any] = {
        "job_id": job_id,
        "counts": dict(found.counts),
        "shots": found.shots,
        "released": found.released,
        "backend": found.job.backend,
        "circuit_sha256": found.job.circuit_sha256,
    }
    if found.memory is not None:
        document["memory"] = list(found.memory)
    if found.cut is not None:
        document["cut"] = msgspec.to_builtins(found.cut)
    if found.expectations:
        document["expectations"] = msgspec.to_builtins(found.expectations)

    def human() -> None:
        counts_text(found.counts, found.shots, top)
        expectations_text(found.expectations)
        cut_text(found.cut)

    emit(settings, document, human)


@click.argument("job_id")
def cancel(settings: Settings, job_id: str) -> None:
    """Cancel a job: the agent's own, or any as an operator."""
    from cryogate.cli.connect import agent, operator

    if settings.agent_file is not None:
        with agent(settings) as client:
            document = msgspec.to_builtins(client.cancel(job_id))
    else:
        with operator(settings) as server:
            document = server.call("POST", *BASE, "jobs", job_id, "cancel", body={})
    emit(settings, document, lambda: job_text(document))


@click.argument("what", metavar="JOB_ID|FILE")
@click.option("--limit", type=click.IntRange(1, 50), default=10, show_default=True)
@click.option("--format", "notation", type=_FORMATS, help="Of FILE; default: told from its text.")
def similar(settings: Settings, what: str, limit: int, notation: str | None) -> None:
    """Say which experiments ran circuits most like a job's, or like the one in FILE.

    For a person who asks where a circuit comes from; it decides nothing.
    """
    from cryogate.cli.connect import operator
    from cryogate.client.sources import format_of
    from cryogate.domain.ids import JOB, is_minted

    query: dict[str, str | int | None] = {"limit": limit}
    with operator(settings) as server:
        if is_minted(what, JOB):
            found = server.call("GET", *BASE, "jobs", what, "similar", query=query)
        else:
            source = read_program(Path(what))
            program = {"format": notation or format_of(source), "source": source}
            found = server.call("POST", *BASE, "circuits", "similar", query=query, body=program)
    columns = ("similarity", "same_circuit", "experiment_id", "purpose", "owner", "job_id")

    def human() -> None:
        items = [item for item in found.get("items", ()) if isinstance(item, dict)]
        none = "no experiment has run a circuit yet"
        table(columns, [[item.get(column) for column in columns] for item in items], none=none)
        if found.get("left_out"):
            note(f"{found['left_out']} circuits were left out: there were too many")

    emit(settings, found, human)


def read_program(file: Path) -> str:
    """The text of FILE, or of standard input for ``-``."""
    from cryogate.client.sources import MAX_SOURCE_BYTES, read_source

    if str(file) != "-":
        return read_source(file)
    data = sys.stdin.buffer.read(MAX_SOURCE_BYTES + 1)
    if len(data) > MAX_SOURCE_BYTES:
        raise click.UsageError("standard input is too long for a program")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8 text") from None


def _read(settings: Settings, job_id: str) -> dict[str, Any]:
    from cryogate.cli.connect import agent, operator

    if settings.agent_file is not None:
        with agent(settings) as client:
            found: dict[str, Any] = msgspec.to_builtins(client.job(job_id))
            return found
    with operator(settings) as server:
        return server.call("GET", *BASE, "jobs", job_id)


command(group, "submit", As.AGENT)(submit)
command(group, "estimate", As.AGENT)(estimate)
command(group, "show", As.EITHER)(show_)
command(group, "list", As.EITHER)(list_)
command(group, "result", As.AGENT)(result)
command(group, "cancel", As.EITHER)(cancel)
command(group, "similar", As.OPERATOR)(similar)
