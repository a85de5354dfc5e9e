"""``cryogate circuit``: what the gateway would see in a circuit, without a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import fields as fields_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, table
from cryogate.cli.safe_text import clean
from cryogate.domain.errors import Malformed

if TYPE_CHECKING:
    from cryogate.circuits import Facts, Program

_FORMATS = click.Choice(["openqasm2", "openqasm3", "ionq.circuit.v1"])
_PATH = click.Path(path_type=Path)
_DRAWABLE = 2_000


@click.group()
def group() -> None:
    """Circuits: what the gateway would see."""


@click.argument("file", type=_PATH)
@click.option("--format", "notation", type=_FORMATS, help="Default: told from the first line.")
@click.option("--svg", is_flag=True, help="Print a drawing as SVG instead.")
@click.option("--draw", is_flag=True, help="Add a drawing in text.")
def inspect(settings: Settings, file: Path, notation: str | None, svg: bool, draw: bool) -> None:
    """Show FILE's facts and fingerprint, exactly as the gateway finds them."""
    if svg and settings.as_json:
        raise click.UsageError("choose one of --json and --svg")
    program = load_program(file, notation)
    if svg:
        click.echo(_drawing("svg", program))
        return
    facts = _plain(program.facts)
    document: dict[str, Any] = {"circuit_sha256": program.fingerprint, "facts": facts}

    def human() -> None:
        rows: list[tuple[str, object]] = [("circuit", program.fingerprint)]
        fields(rows + [(name.replace("_", " "), value) for name, value in facts.items()])
        if draw:
            if program.facts.gates > _DRAWABLE:
                note(f"not drawn: more than {_DRAWABLE} gates")
            else:
                click.echo(clean(_drawing("drawing", program), lines=True, limit=1 << 20))

    emit(settings, document, human)


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


def _plain(facts: Facts) -> dict[str, Any]:
    found = {field.name: getattr(facts, field.name) for field in fields_of(facts)}
    return {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()
    }


def load_program(file: Path, notation: str | None) -> Program:
    """The program in ``file``; what is not flat is parsed in a guarded worker, as a server does.

    Raises:
        Malformed: the circuit is refused; says where and why.
    """
    from cryogate.circuits import CircuitError
    from cryogate.cli.job import read_program
    from cryogate.client.sources import format_of

    source = read_program(file)
    try:
        return asyncio.run(_load(source.encode(), notation or format_of(source)))
    except CircuitError as error:
        raise Malformed(f"circuit_{error.code}", str(error)) from None


async def _load(source: bytes, notation: str) -> Program:
    from cryogate.circuits import RICH_ENTRYPOINT, Format, GuardedPool, WorkerLimits, load

    # Workers start on first use, so a flat circuit never pays for one.
    pool = GuardedPool(
        RICH_ENTRYPOINT, size=1, limits=WorkerLimits(), max_jobs=1, request_timeout_s=10.0
    )
    try:
        return await load(source, Format(notation), None, pool)
    finally:
        await pool.close()


def _drawing(kind: str, program: Program) -> str:
    from importlib import import_module

    try:
        draw = getattr(import_module("cryogate.circuits.drawing"), kind)
    except (ImportError, AttributeError):
        raise Malformed("no_drawing", "drawings are not in this build") from None
    text: str = draw(program)
    return text


command(group, "inspect", As.NOBODY)(inspect)
command(group, "similar", As.NOBODY)(similar)
