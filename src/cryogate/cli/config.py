"""``cryogate config``: what is set, and whether it can be used."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, note, table


@click.group()
def group() -> None:
    """Configuration: check and explain."""


@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(settings: Settings, file: Path | None) -> None:
    """Check configuration (FILE, then CRYOGATE_* variables) and show every setting in force."""
    from cryogate.config import explain, load, variable
    from cryogate.wiring.vendor_limits import check_currencies, check_times, open_book

    overrides = {"state_dir": str(settings.state_dir)} if settings.state_dir else {}
    config = load(file, environ=os.environ, overrides=overrides)
    book = open_book(config)
    check_times(config, book)
    check_currencies(config, book)
    rows = explain(config)
    warnings = config.warnings()
    document = {
        "ok": True,
        "settings": {name: {"value": value, "from": origin} for name, value, origin in rows},
        "warnings": list(warnings),
    }

    def human() -> None:
        table(
            ("setting", "value", "from", "variable"),
            [(name, value, origin, variable(name)) for name, value, origin in rows],
        )
        for warning in warnings:
            note(f"warning: {warning}")

    emit(settings, document, human)


command(group, "check", As.NOBODY)(check)
