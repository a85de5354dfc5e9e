"""Files that a command is pointed at."""

from __future__ import annotations

from pathlib import Path

import click


def read_at_most(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a file; what cannot be read is the user's to mend."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise click.UsageError(f"cannot read {path.name}: {error.strerror}") from None
