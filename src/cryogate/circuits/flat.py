"""The flat parser: OpenQASM 2 and the flat part of OpenQASM 3, in the request's own process.

Why hostile input may be parsed here, when no library may do so:

1. the input is bounded, ASCII, and free of control characters before a statement is looked at;
2. statements are cut at ``;`` and never nest: there is no recursion and no regular expression
   that backtracks, so time is linear in the input and in the operations it may expand to;
3. every size is checked against its limit before anything of that size is built;
4. no file is opened: the two standard includes are names in a table;
5. what is not understood is refused, or handed to the guarded worker (`NeedsRichParser`).

OpenQASM 2: arXiv:1707.03429. OpenQASM 3: arXiv:2104.14722.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cryogate.circuits.angles import angle
from cryogate.circuits.assemble import Op
from cryogate.circuits.definitions import without_known
from cryogate.circuits.errors import CircuitError, NeedsRichParser, shown
from cryogate.circuits.gates import (
    CANONICAL,
    OPENQASM2,
    OPENQASM2_BUILTIN,
    OPENQASM3,
    Gate,
)
from cryogate.circuits.model import Format, ParseLimits
from cryogate.circuits.operations import (
    Builder,
    finish,
    repeated_qubit,
    too_many,
    wrong_arity,
)
from cryogate.circuits.program import Condition, Program
from cryogate.circuits.source import FORBIDDEN, RESERVED, RICH, line_of, read_source

_OPERAND = re.compile(r"([A-Za-z_]\w{0,63}+)\s*+(?:\[\s*+(\d{1,7}+)\s*+\])?")
_WORD = re.compile(r"[A-Za-z_]\w{0,63}+")
_CONDITION = re.compile(
    r"if\s*+\(\s*+([A-Za-z_]\w{0,63}+)(?:\[(\d{1,7}+)\])?\s*+==\s*+(\d{1,40}+)\s*+\)\s*+"
)
_QUBIT_DECLARATION = re.compile(r"(?:\[\s*+(\d{1,9}+)\s*+\])?\s*+([A-Za-z_]\w{0,63}+)")
_REGISTER_DECLARATION = re.compile(r"([A-Za-z_]\w{0,63}+)\s*+(?:\[\s*+(\d{1,9}+)\s*+\])?")
_CHUNK = 1 << 16
_CACHE_STATEMENT = 24  # longer statements carry long angles, which seldom repeat
_CACHE_SIZE = 1 << 16
_STORED = ParseLimits(max_bytes=1 << 28, max_qubits=1 << 16, max_clbits=1 << 18)


class _Register(NamedTuple):
    quantum: bool
    start: int
    size: int


class _Operands(NamedTuple):
    """A parsed operand list: registers or single elements, and the ready text if all single."""

    items: tuple[tuple[bool, int, int, bool], ...]  # (quantum, start, size, whole register)
    text: str | None
    wires: tuple[int, ...]
    first: int
    second: int | None
    more: tuple[int, ...] | None


def parse_flat(source: bytes, format: Format, limits: ParseLimits | None = None) -> Program:  # noqa: A002
    """The program of a flat OpenQASM source.

    Raises `CircuitError` for what is refused, and its subclass `NeedsRichParser` for what may be
    well-formed but only the guarded worker may parse. Raises nothing else, on any input.
    """
    if format is Format.OPENQASM2:
        parser = _Flat(limits or ParseLimits(), OPENQASM2, 2)
    elif format is Format.OPENQASM3:
        parser = _Flat(limits or ParseLimits(), OPENQASM3, 3)
    else:
        raise CircuitError("unsupported", "this format is not flat OpenQASM")
    return parser.parse(source)


def parse_canonical(data: bytes) -> Program:
    """Read canonical text back. Raises `CircuitError` (``not_canonical``) unless it is exactly so.

    Accepting only what re-canonicalises to the same bytes keeps one spelling per program.
    """
    program = _Flat(_STORED, CANONICAL, 2).parse(data)
    if program.text != data:
        raise CircuitError("not_canonical", "the stored text is not in canonical form")
    return program


class _Flat:
    """State of one parse."""

    def __init__(self, limits: ParseLimits, table: dict[str, Gate], version: int) -> None:
        self.limits = limits
        self.table = table
        self.canonical = table is CANONICAL
        self.version = version
        self.stage = 0  # 0: version line expected, 1: include allowed, 2: body
        self.gates: dict[str, Gate] = {}
        self.names: dict[str, _Register] = {}
        self.builder = Builder(limits)
        self.layout = self.builder.layout
        self.ops = self.builder.ops
        self.statements: dict[str, Op] = {}
        self.operand_lists: dict[str, _Operands] = {}
        self.angles: dict[str, str] = {}

    def parse(self, source: bytes) -> Program:
        text = read_source(source, self.limits.max_bytes, block_comments=self.version == 3)
        if "{" in text:
            text = without_known(text, self.version)
        if "{" in text:
            raise NeedsRichParser("a block in braces", line=line_of(text, text.index("{")))
        known = self.statements.get
        add = self.ops.append
        position, end = 0, len(text)
        while position < end:
            stop = text.rfind(";", position, position + _CHUNK)
            if stop < 0:
                self.unfinished(text, position)
                break
            parts = text[position:stop].split(";")
            part = ""
            try:
                for part in parts:
                    op = known(part)
                    if op is None:
                        op = self.statement(part)
                        if op is None:
                            continue
                    add(op)
            except CircuitError as error:
                before = next(i for i, x in enumerate(parts) if x is part)
                blank = len(part) - len(part.lstrip())
                offset = position + sum(map(len, parts[:before])) + before + blank
                raise error.at(line_of(text, offset)) from None
            if len(self.ops) > self.limits.max_operations:
                raise too_many(self.limits.max_operations)
            position = stop + 1
        if self.stage == 0:
            raise CircuitError("syntax", "the source is empty")
        return finish(self.ops, self.layout)

    def unfinished(self, text: str, position: int) -> None:
        rest = text[position:].strip()
        if not rest:
            return
        line = line_of(text, position)
        if ";" in rest:
            raise CircuitError("too_large", "a statement is over 65536 characters", line=line)
        raise CircuitError("syntax", f"missing ; after {shown(rest)}", line=line)

    def statement(self, part: str) -> Op | None:
        """One statement: an operation to add, or None when it was dealt with."""
        text = part.strip()
        if "(" in text:
            name, _, tail = text.partition("(")
            name = name.rstrip()
            angles, close, rest = tail.rpartition(")")
            gate = self.gates.get(name)
            if gate is None or not close:
                return self.other(text)
        else:
            words = text.split(None, 1)
            gate = self.gates.get(words[0]) if len(words) == 2 else None
            if gate is None:
                return self.other(text)
            angles, rest = "", words[1]
        operands = self.operand_lists.get(rest)
        if operands is None:
            operands = self.operands(rest)
        head = self.head(gate, angles)
        if len(operands.items) != gate.qubits:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        if operands.text is None:
            self.broadcast(gate, head, operands)
            return None
        op = (head + operands.text, operands.first, operands.second, operands.more, gate.name)
        if len(part) <= _CACHE_STATEMENT and len(self.statements) < _CACHE_SIZE:
            self.statements[part] = op
        return op

    def head(self, gate: Gate, angles: str) -> str:
        if not angles or angles.isspace():
            if gate.params:
                raise wrong_arity(gate.name, gate.params, gate.qubits)
            return gate.name + " "
        values = [self.angle(x) for x in angles.split(",")]
        if len(values) != gate.params:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        return f"{gate.name}({','.join(values)}) "

    def angle(self, text: str) -> str:
        spelled = self.angles.get(text)
        if spelled is None:
            spelled = repr(angle(text.strip(), integers=self.version == 3))
            if len(text) <= _CACHE_STATEMENT and len(self.angles) < _CACHE_SIZE:
                self.angles[text] = spelled
        return spelled

    def operands(self, rest: str) -> _Operands:
        items = tuple([self.operand(x) for x in rest.split(",")])
        text: str | None = None
        first, second, more = items[0][1], None, None
        wires = tuple([x[1] for x in items])
        if all(x[0] and not x[3] for x in items):
            if len(set(wires)) != len(wires):
                raise repeated_qubit()
            text = ",".join([f"q[{i}]" for i in wires]) + ";\n"
            ordered = sorted(wires)
            first = ordered[0]
            second = ordered[1] if len(ordered) > 1 else None
            more = tuple(ordered) if len(ordered) > 2 else None
        parsed = _Operands(items, text, wires, first, second, more)
        if len(self.operand_lists) < _CACHE_SIZE:
            self.operand_lists[rest] = parsed
        return parsed

    def operand(self, text: str) -> tuple[bool, int, int, bool]:
        match = _OPERAND.fullmatch(text.strip())
        if match is None:
            if self.version == 3 and ("[" in text or text.lstrip().startswith("$")):
                raise NeedsRichParser(f"operand {shown(text)}")
            raise CircuitError("syntax", f"not an operand: {shown(text)}")
        register = self.names.get(match[1])
        if register is None:
            raise CircuitError("undefined", f"register {shown(match[1])} is not declared")
        if match[2] is None:
            return (register.quantum, register.start, register.size, True)
        index = int(match[2])
        if index >= register.size:
            raise CircuitError("out_of_range", f"{shown(text)} is past the end of the register")
        return (register.quantum, register.start + index, 1, False)

    def broadcast(
        self, gate: Gate, head: str, operands: _Operands, condition: Condition | None = None
    ) -> None:
        """A gate over whole registers: element by element, single qubits repeated."""
        sizes = {size for _, _, size, whole in operands.items if whole}
        if not all(item[0] for item in operands.items):
            raise CircuitError("syntax", f"gate {gate.name} acts on qubits, not on bits")
        if len(sizes) > 1:
            raise CircuitError("syntax", "registers of different sizes in one operation")
        count = max(sizes, default=1)
        self.room(count)
        builder = self.builder
        params = [float(x) for x in head[len(gate.name) + 1 : -2].split(",")] if gate.params else []
        for i in range(count):
            qubits = [start + i if whole else start for _, start, _, whole in operands.items]
            builder.gate(gate.name, params, qubits, condition)

    def room(self, count: int) -> None:
        if len(self.ops) + count > self.limits.max_operations:
            raise too_many(self.limits.max_operations)

    def other(self, text: str) -> Op | None:
        """Everything that is not a known gate."""
        match = _WORD.match(text)
        if match is None:
            for mark, meaning in (("@", "an annotation"), ("#", "a directive"), ("$", "a qubit")):
                if text.startswith(mark):
                    raise CircuitError("forbidden", f"{meaning} is not accepted: {shown(text)}")
            raise CircuitError("syntax", f"not a statement: {shown(text) or 'empty statement'}")
        word, rest = match[0], text[match.end() :].lstrip()
        if word in FORBIDDEN:
            raise CircuitError("forbidden", f"{word} is not accepted", hint=FORBIDDEN[word])
        if self.stage == 0:
            self.header(text)
        elif word == "include":
            self.include(rest)
        else:
            if self.stage == 1:
                self.stage = 2
                self.gates = OPENQASM2_BUILTIN if self.version == 2 else self.table
                return self.statement(text)
            self.keyword(word, text, rest)
        return None

    def header(self, text: str) -> None:
        words = text.split()
        accepted = ("2.0", "2") if self.version == 2 else ("3", "3.0", "3.1")
        if len(words) != 2 or words[0] != "OPENQASM" or words[1] not in accepted:
            raise CircuitError(
                "syntax",
                f"expected OPENQASM {accepted[0]}; as the first statement",
                hint="the format field must name the language of the source",
            )
        self.stage = 1

    def include(self, rest: str) -> None:
        library = "qelib1.inc" if self.version == 2 else "stdgates.inc"
        if rest not in (f'"{library}"', f"'{library}'"):
            raise CircuitError(
                "forbidden",
                f"include of anything but {library}: {shown(rest)}",
                hint="no file is ever opened; inline the definitions",
            )
        if self.stage != 1:
            raise CircuitError("syntax", "include must follow the version line, once")
        self.stage = 2
        self.gates = self.table

    def keyword(self, word: str, text: str, rest: str) -> None:
        if word == "measure":
            source, arrow, target = rest.partition("->")
            if not arrow:
                raise CircuitError("syntax", "a measurement names no classical bit")
            self.measure(source, target, None)
        elif word == "barrier":
            self.barrier(rest)
        elif word == "reset":
            self.reset(rest, None)
        elif word in ("qreg", "creg"):
            self.declare(_REGISTER_DECLARATION.fullmatch(rest), word == "qreg", text)
        elif self.version == 3 and word in ("qubit", "bit"):
            match = _QUBIT_DECLARATION.fullmatch(rest)
            if match is None and "=" in rest:
                raise NeedsRichParser("an initialised declaration")
            self.declare(match, word == "qubit", text)
        elif word == "if":
            self.conditional(text)
        elif word in RICH[self.version]:
            raise NeedsRichParser(word)
        elif self.version == 3 and "=" in text:
            self.assignment(text)
        else:
            raise self.unknown(word, text)

    def unknown(self, word: str, text: str) -> CircuitError:
        if self.version == 3 and "@" in text:
            return NeedsRichParser("a gate modifier")
        if word in OPENQASM2 and self.gates is OPENQASM2_BUILTIN:
            hint = 'add include "qelib1.inc"; after the version line'
            return CircuitError("undefined", f"gate {word} is in a library", hint=hint)
        if word in self.gates:
            return CircuitError("syntax", f"not a gate application: {shown(text)}")
        return CircuitError("undefined", f"unknown gate or statement: {shown(word)}")

    def declare(self, match: re.Match[str] | None, quantum: bool, text: str) -> None:
        if match is None:
            raise CircuitError("syntax", f"not a declaration: {shown(text)}")
        name, size = (
            (match[1], match[2]) if match.re is _REGISTER_DECLARATION else (match[2], match[1])
        )
        if name in self.names or name in self.gates or name in RESERVED:
            raise CircuitError("redefined", f"the name {shown(name)} is taken")
        if size is None and self.version == 2:
            raise CircuitError("syntax", f"a register needs a size: {shown(text)}")
        count = int(size or 1)
        add = self.layout.add_qubits if quantum else self.layout.add_register
        self.names[name] = _Register(quantum, add(count), count)

    def assignment(self, text: str) -> None:
        target, _, source = text.partition("=")
        source = source.strip()
        if not source.startswith("measure") or not _OPERAND.fullmatch(target.strip()):
            raise NeedsRichParser("an assignment")
        self.measure(source[len("measure") :], target, None)

    def measure(self, source: str, target: str, condition: Condition | None) -> None:
        quantum, qubit, size, whole = self.operand(source)
        classical, bit, bits, all_bits = self.operand(target)
        if not quantum or classical or size != bits or (self.version == 2 and whole != all_bits):
            raise CircuitError("syntax", "a measurement needs qubits and as many bits")
        if condition and size > 1 and not set(condition.bits).isdisjoint(range(bit, bit + size)):
            raise CircuitError("ambiguous", "a measurement would change its own condition")
        self.room(size)
        for i in range(size):
            self.builder.measure(qubit + i, bit + i, condition)

    def barrier(self, rest: str) -> None:
        qubits: list[int] = []
        if not rest and self.version == 3:
            qubits = list(range(self.layout.qubits))
        for text in rest.split(",") if rest else ():
            quantum, start, size, _ = self.operand(text)
            if not quantum:
                raise CircuitError("syntax", "a barrier orders qubits, not bits")
            qubits.extend(range(start, start + size))
            if len(qubits) > self.layout.qubits:
                raise repeated_qubit()
        self.room(1)
        self.builder.barrier(qubits)

    def reset(self, rest: str, condition: Condition | None) -> None:
        quantum, start, size, _ = self.operand(rest)
        if not quantum:
            raise CircuitError("syntax", "a reset acts on qubits, not on bits")
        self.room(size)
        for qubit in range(start, start + size):
            self.builder.reset(qubit, condition)

    def conditional(self, text: str) -> None:
        match = _CONDITION.match(text)
        if match is None or (match[2] and not self.canonical and self.version == 2):
            if self.version == 3:
                raise NeedsRichParser("if")
            raise CircuitError("syntax", f"not a condition: {shown(text)}")
        name = match[1] if match[2] is None else f"{match[1]}[{match[2]}]"
        quantum, start, size, _ = self.operand(name)
        if quantum:
            raise CircuitError("syntax", "a condition reads bits, not qubits")
        condition = Condition(tuple(range(start, start + size)), int(match[3]))
        body = text[match.end() :]
        word = body.split(None, 1)[0] if body.strip() else ""
        rest = body[len(word) :]
        if word == "measure":
            source, _, target = rest.partition("->")
            self.measure(source, target, condition)
        elif word == "reset":
            self.reset(rest, condition)
        else:
            self.conditional_gate(body, condition)

    def conditional_gate(self, body: str, condition: Condition) -> None:
        name, paren, tail = body.partition("(")
        angles, rest = "", ""
        if paren:
            angles, _, rest = tail.rpartition(")")
        else:
            name, _, rest = body.partition(" ")
        gate = self.gates.get(name.strip())
        if gate is None:
            raise self.unknown(shown(name), body)
        operands = self.operands(rest)
        if len(operands.items) != gate.qubits:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        self.broadcast(gate, self.head(gate, angles), operands, condition)
