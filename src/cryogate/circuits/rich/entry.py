"""The worker's entry point: a request in, canonical text or a described refusal out."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping

from cryogate.circuits.definitions import without_known
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.model import Facts, Format, ParseLimits
from cryogate.circuits.program import Program
from cryogate.circuits.refusals import write_refusal
from cryogate.circuits.rich.grammar import Grammar
from cryogate.circuits.rich.interpreter import Interpreter, Oversized, shown_count
from cryogate.circuits.rich.summary import facts_of
from cryogate.circuits.source import read_source

# The limits on blocks, expressions and calls bound the stack long before this one is met.
sys.setrecursionlimit(5000)


def entrypoint(payload: bytes) -> bytes:
    """``b"p"`` and canonical text, or ``b"e"`` and the refusal as JSON."""
    head, _, source = payload.partition(b"\n")
    request = json.loads(head)
    limits = ParseLimits(**{k: v for k, v in request.items() if k.startswith("max_")})
    # Trees have no cycles: the collector would only look at every node again and again.
    gc.disable()
    try:
        program = parse_rich(source, Format(request["format"]), limits, request["parameters"])
    except CircuitError as error:
        return b"e" + write_refusal(error)
    finally:
        gc.enable()
    return b"p" + program.text


def parse_rich(
    source: bytes,
    format: Format,  # noqa: A002
    limits: ParseLimits,
    parameters: Mapping[str, float],
) -> Program:
    """Parse what the flat parser does not. Only called inside a guarded worker."""
    if format is Format.QPY:
        from cryogate.circuits.qpy_reader import read_qpy

        return read_qpy(source, limits, parameters)
    if format not in (Format.OPENQASM2, Format.OPENQASM3):
        raise CircuitError("unsupported", "this format has no parameters")
    version = 2 if format is Format.OPENQASM2 else 3
    text = read_source(source, limits.max_bytes, block_comments=version == 3)
    if "#" in text or "$" in text:
        mark = "#" if "#" in text else "$"
        line = text.count("\n", 0, text.index(mark)) + 1
        detail = "a directive is not accepted" if mark == "#" else "physical qubits"
        raise CircuitError("forbidden", detail, line=line)
    grammar = Grammar(without_known(text, version), version)
    statements = grammar.program()
    run = (version, grammar.included, limits, parameters)
    try:
        return Interpreter(*run).run(statements)
    except Oversized as error:
        error.facts = facts = facts_of(statements, *run)
        if facts is not None:
            error.detail = _described(facts)
        raise


def _described(facts: Facts) -> str:
    total = facts.gates + facts.measurements + facts.resets
    shown = [
        f"the program has {shown_count(total)} operations: {shown_count(facts.gates)} gates",
        f"{shown_count(facts.measurements)} measurements",
        f"depth {shown_count(facts.depth)}",
        f"two-qubit depth {shown_count(facts.two_qubit_depth)}",
    ]
    return ", ".join(shown)
