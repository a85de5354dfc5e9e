"""``cryogate circuit``: what the gateway would see in a circuit, without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, table
from cryogate.cli.records import pairs, parameters
from cryogate.domain.errors import Malformed
from cryogate.domain.safe_text import clean

if TYPE_CHECKING:
    from cryogate.circuits import Facts, Program

_FORMATS = click.Choice(["openqasm2", "openqasm3", "ionq.circuit.v1"])
_PATH = click.Path(path_type=Path)


@click.group()
def group() -> None:
    """Circuits: what the gateway would see."""


@click.argument("file", type=_PATH)
@click.option("--format", "notation", type=_FORMATS, help="Default: told from the first line.")
@click.option("--param", "values", multiple=True, metavar="NAME=NUMBER", help="Bind an input.")
@click.option("--limit", "limits", multiple=True, metavar="FACT=MOST", help="As depth=100.")
@click.option("--gate", "gates", multiple=True, help="Allow these gates only; repeat for several.")
@click.option("--token", "token", type=_PATH, help="What `token show --json` printed.")
@click.option("--backends", "backends", type=_PATH, help="What `backend list --json` printed.")
@click.option("--backend", help="Only this one of the backends.")
@click.option("--live", is_flag=True, help="Ask the server for both, as the agent.")
@click.option("--svg", "as_svg", is_flag=True, help="Print a drawing as SVG instead.")
@click.option("--draw", is_flag=True, help="Add a drawing in text.")
def inspect(
    settings: Settings,
    file: Path,
    notation: str | None,
    values: tuple[str, ...],
    limits: tuple[str, ...],
    gates: tuple[str, ...],
    token: Path | None,
    backends: Path | None,
    backend: str | None,
    live: bool,
    as_svg: bool,
    draw: bool,
) -> None:
    """Show FILE's facts and fingerprint, exactly as the gateway finds them.

    With a token or backends, also what these would refuse. Anything that is refused, and a limit
    that is not kept, exits 1.
    """
    from cryogate.circuits import drawing, inspection, svg
    from cryogate.circuits.inspection import facts_document, violations
    from cryogate.cli import circuit_limits
    from cryogate.cli.failure import REFUSED

    if as_svg and settings.as_json:
        raise click.UsageError("choose one of --json and --svg")
    if live and (token or backends):
        raise click.UsageError("--live asks the server; leave out --token and --backends")
    if backend is not None and not (live or backends):
        raise click.UsageError("--backend needs --backends FILE or --live")
    allowed = _limits(limits)
    program, facts, refusal = _read(file, notation, parameters(values))
    if as_svg:
        if program is None:
            raise Malformed("circuit_too_large", refusal)
        click.echo(svg(program))
        return
    try:
        if program is not None:
            found = inspection(program, allowed, set(gates) or None)
        else:
            # Too large to expand, and its facts are known all the same.
            broken = violations(facts, allowed, set(gates) or None)
            found = {"facts": facts_document(facts), "dialects": {}, "violations": broken}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    granted = circuit_limits.read_items(token, "granted") if token else []
    offered = circuit_limits.read_items(backends, "items") if backends else []
    if live:
        granted, offered = circuit_limits.ask(settings)
    refused = [{"by": "gateway", "limit": "circuit", "actual": refusal}] if refusal else []
    refused += circuit_limits.refused_by_token(facts, granted)
    refused += circuit_limits.refused_by_backend(facts, program, offered, backend)
    document = {"circuit_sha256": found.pop("fingerprint", None), **found, "refused": refused}

    def human() -> None:
        rows: list[tuple[str, object]] = [("circuit", document["circuit_sha256"] or "too large")]
        rows += [(name.replace("_", " "), value) for name, value in document["facts"].items()]
        rows += [(f"as {name}", value) for name, value in document["dialects"].items()]
        fields(rows)
        columns = ("limit", "allowed", "actual")
        table(columns, [[v[column] for column in columns] for v in document["violations"]])
        shown = ("by", "limit", "allowed", "actual")
        table(shown, [[v.get(column) for column in shown] for v in refused])
        if draw and program is not None:
            click.echo(clean(drawing(program), lines=True, limit=1 << 20))

    emit(settings, document, human)
    if document["violations"] or refused:
        click.get_current_context().exit(REFUSED)


@click.argument("file", type=_PATH)
@click.argument("others", nargs=-1, required=True, type=_PATH)
def similar(settings: Settings, file: Path, others: tuple[Path, ...]) -> None:
    """Say how alike FILE is to each of OTHERS in structure, from 0 to 1."""
    from cryogate.circuits import similarity

    program = load_program(file, None)
    found = []
    for other in others:
        candidate = load_program(other, None)
        found.append(
            {
                "file": str(other),
                "circuit_sha256": candidate.fingerprint,
                "same_circuit": candidate.fingerprint == program.fingerprint,
                "similarity": round(similarity(program, candidate), 4),
            }
        )
    found.sort(key=lambda item: (-float(str(item["similarity"])), str(item["file"])))
    document = {"circuit_sha256": program.fingerprint, "items": found}
    columns = ("similarity", "same_circuit", "file", "circuit_sha256")
    emit(
        settings,
        document,
        lambda: table(columns, [[item[column] for column in columns] for item in found]),
    )


def _limits(texts: tuple[str, ...]) -> dict[str, int]:
    found = pairs(texts)
    if not all(type(value) is int for value in found.values()):
        raise click.UsageError("a limit is FACT=MOST, as depth=100")
    return {name: int(value) for name, value in found.items()}


def load_program(file: Path, notation: str | None) -> Program:
    """The program in ``file``; what is not flat is parsed in a guarded worker, as a server does.

    Raises:
        Malformed: the circuit is refused; says where and why.
    """
    program, _, refusal = _read(file, notation, {})
    if program is None:
        raise Malformed("circuit_too_large", refusal)
    return program


def _read(
    file: Path, notation: str | None, bound: Mapping[str, float]
) -> tuple[Program | None, Facts, str]:
    """The program and its facts, or no program, the facts all the same, and the refusal."""
    from cryogate.circuits import CircuitError
    from cryogate.cli.job import read_program
    from cryogate.client.sources import format_of

    source = read_program(file)
    try:
        program = asyncio.run(_load(source.encode(), notation or format_of(source), bound))
    except CircuitError as error:
        if error.facts is None:
            raise Malformed(f"circuit_{error.code}", str(error)) from None
        return None, error.facts, str(error)
    return program, program.facts, ""


async def _load(source: bytes, notation: str, bound: Mapping[str, float]) -> Program:
    from cryogate.circuits import RICH_ENTRYPOINT, Format, GuardedPool, WorkerLimits, load

    # Workers start on first use, so a flat circuit never pays for one.
    pool = GuardedPool(
        RICH_ENTRYPOINT, size=1, limits=WorkerLimits(), max_jobs=1, request_timeout_s=10.0
    )
    try:
        return await load(source, Format(notation), None, pool, parameters=bound)
    finally:
        await pool.close()


command(group, "inspect", As.AGENT)(inspect)
command(group, "similar", As.NOBODY)(similar)
