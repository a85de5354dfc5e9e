"""Which language a program is written in, told from its first statement or first character."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryogate.domain.errors import Malformed

MAX_SOURCE_BYTES = 4 << 20
_SKIP = re.compile(r"(?:\s|//[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_HEADER = re.compile(r"OPENQASM\s+([0-9]{1,3})(?:\.[0-9]{1,3})?\s*;")
_HEADER_WINDOW = 64 << 10


def format_of(source: str) -> str:
    """``openqasm2``, ``openqasm3`` or ``ionq.circuit.v1``.

    Raises:
        Malformed: no ``OPENQASM 2.0;`` or ``OPENQASM 3;`` line and no JSON object.
    """
    head = source[:_HEADER_WINDOW].removeprefix("\ufeff")
    if head.lstrip().startswith("{"):
        return "ionq.circuit.v1"
    skipped = _SKIP.match(head)
    header = _HEADER.match(head, skipped.end() if skipped else 0)
    if header and header[1] in ("2", "3"):
        return f"openqasm{header[1]}"
    raise Malformed(
        "unknown_format",
        "the program must begin with OPENQASM 2.0; or OPENQASM 3.0; (or be IonQ circuit JSON); "
        "otherwise name its format",
    )


def read_source(program: str | os.PathLike[str]) -> str:
    """The program text: ``program`` itself when it is one, else the file it names.

    A string is text when it has a line break, a semicolon or an opening brace; a path has none.

    Raises:
        Malformed: no such file, not UTF-8, or longer than `MAX_SOURCE_BYTES`.
    """
    if isinstance(program, str) and any(mark in program for mark in "\n;{"):
        return program
    path = Path(program)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise Malformed(
            "unreadable_program", f"cannot read {path.name}: {error.strerror}"
        ) from error
    if len(data) > MAX_SOURCE_BYTES:
        raise Malformed("program_too_long", f"{path.name} is longer than {MAX_SOURCE_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("unreadable_program", f"{path.name} is not UTF-8 text") from None
