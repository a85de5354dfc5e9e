"""A status line while a job runs: on standard error, and only where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryogate.domain.safe_text import clean

if TYPE_CHECKING:
    from cryogate.client.models import Job


@contextmanager
def watching(job: Job, *, quiet: bool) -> Generator[Callable[[Job], None]]:
    """Give a callback that shows where the job is."""
    if quiet or not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with console.status(Text(status_line(job))) as status:
        yield lambda seen: status.update(Text(status_line(seen)))


@contextmanager
def counting() -> Generator[Callable[[int, int], None]]:
    """Give a callback that shows how much of something is done."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with console.status("") as status:
        yield lambda done, of: status.update(f"{done} of {of}")


def status_line(job: Job) -> str:
    """One line: the job, its state, and what it waits for."""
    line = f"{job.job_id} is {job.state.value} on {job.backend}"
    if job.approval is not None and job.approval.state == "pending":
        line += f"; a person must decide: cryogate approval show {job.approval.approval_id}"
    return clean(line)


def _nothing(job: Job) -> None:
    return
