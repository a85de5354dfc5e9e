"""``cryogate approval`` as an agent: ask, look, wait, take back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryogate.cli.job import read_program
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, table

if TYPE_CHECKING:
    from cryogate.client import ApprovalRequest

_WHY = click.option("--reason", required=True, help="Why a person should say yes.")


@click.argument("file", type=click.Path(path_type=Path))
@click.option("--backend", default="local:aer", show_default=True)
@click.option("--shots", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--format", "notation", help="Default: told from the first line.")
@_WHY
def ask(
    settings: Settings, file: Path, backend: str, shots: int, notation: str | None, reason: str
) -> None:
    """Ask for a yes to the circuit in FILE, on this backend with these shots, ahead of time."""
    from cryogate.cli.connect import agent

    source = read_program(file)
    with agent(settings) as client:
        found = client.approvals.ask(source, backend, shots, reason, notation=notation or "")
    _show(settings, found)


@click.argument("job_id")
@_WHY
def ask_raw(settings: Settings, job_id: str, reason: str) -> None:
    """Ask for one reading of a job's raw result."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        found = client.approvals.ask_raw(job_id, reason)
    _show(settings, found)


@click.option("--after", help="Continue a longer list.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
def mine(settings: Settings, after: str | None, limit: int) -> None:
    """List the agent's own requests, newest first, with what to do next."""
    import msgspec

    from cryogate.cli.connect import agent

    with agent(settings) as client:
        items, more = client.approvals.list(limit, after)

    def human() -> None:
        rows = [(r.approval_id, r.kind, r.state, r.next.action, r.next.until) for r in items]
        table(("approval", "kind", "state", "next", "until"), rows, none="you asked for nothing")
        if more:
            note(f"there are more; continue with --after {more}")

    emit(settings, msgspec.to_builtins({"items": items, "next": more}), human)


@click.argument("approval_id")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="Wait at most so long [s].")
def wait(settings: Settings, approval_id: str, timeout_s: float | None) -> None:
    """Wait until somebody has decided, and say what to do next."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        found = client.approvals.wait(approval_id, timeout_s=timeout_s)
    _show(settings, found)


@click.argument("approval_id")
def retract(settings: Settings, approval_id: str) -> None:
    """Take a request back; a parked job ends with it."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        found = client.approvals.retract(approval_id)
    _show(settings, found)


def _show(settings: Settings, found: ApprovalRequest) -> None:
    import msgspec

    def human() -> None:
        fields(
            [
                ("approval", found.approval_id),
                ("kind", found.kind),
                ("state", found.state),
                ("job", found.job_id),
                ("open until", found.expires_at),
                ("note", found.note),
                ("next", f"{found.next.action}: {found.next.why}"),
            ]
        )

    emit(settings, msgspec.to_builtins(found), human)


def register(group: click.Group) -> None:
    """Add the agent's commands to ``cryogate approval``."""
    for name, body in (
        ("ask", ask),
        ("ask-raw", ask_raw),
        ("mine", mine),
        ("wait", wait),
        ("retract", retract),
    ):
        command(group, name, As.AGENT)(body)
