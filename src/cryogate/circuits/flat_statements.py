"""Statements of flat OpenQASM that are not a plain gate: declarations, measurements, conditions."""

from __future__ import annotations

import re
from typing import NamedTuple

from cryogate.circuits.assemble import CONDITIONAL, Op, make_op
from cryogate.circuits.conditions import both, equals
from cryogate.circuits.errors import CircuitError, NeedsRichParser, shown
from cryogate.circuits.gates import CANONICAL, GATE_NAMES, OPENQASM2, OPENQASM2_BUILTIN, Gate
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder, repeated_qubit, too_many, wrong_arity
from cryogate.circuits.program import Condition
from cryogate.circuits.source import FORBIDDEN, RESERVED, RICH

_OPERAND = re.compile(r"([A-Za-z_]\w{0,63}+)\s*+(?:\[\s*+(\d{1,7}+)\s*+\])?", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]\w{0,63}+", re.ASCII)
_CONDITION = re.compile(
    r"if\s*+\(\s*+([A-Za-z_]\w{0,63}+)(?:\[(\d{1,7}+)\])?\s*+==\s*+(\d{1,1300}+)\s*+\)\s*+"
)
_QUBIT_DECLARATION = re.compile(r"(?:\[\s*+(\d{1,9}+)\s*+\])?\s*+([A-Za-z_]\w{0,63}+)", re.ASCII)
_REGISTER_DECLARATION = re.compile(r"([A-Za-z_]\w{0,63}+)\s*+(?:\[\s*+(\d{1,9}+)\s*+\])?", re.ASCII)
_CACHED_BROADCASTS = 64
#: (quantum, start, size, whole register)
Item = tuple[bool, int, int, bool]


class Register(NamedTuple):
    """A declared register: qubits or bits from ``start`` on."""

    quantum: bool
    start: int
    size: int
    single: bool


class Statements:
    """State of one parse, and what each keyword does to it."""

    def __init__(self, limits: ParseLimits, table: dict[str, Gate], version: int) -> None:
        self.limits = limits
        self.table = table
        self.canonical = table is CANONICAL
        self.version = version
        self.stage = 0  # 0: version line expected, 1: include allowed, 2: body
        self.gates: dict[str, Gate] = {}
        self.names: dict[str, Register] = {}
        self.builder = Builder(limits)
        self.layout = self.builder.layout
        self.ops = self.builder.ops
        self.broadcasts: dict[tuple[str, tuple[Item, ...]], list[Op]] = {}

    def statement(self, part: str) -> Op | None:
        """One statement of any kind."""
        raise NotImplementedError

    def head(self, gate: Gate, angles: str) -> str:
        """Canonical name and angles of a gate application."""
        raise NotImplementedError

    def operand(self, text: str) -> Item:
        """A register or one element of it. Raises `CircuitError`."""
        match = _OPERAND.fullmatch(text.strip())
        if match is None:
            if self.version == 3 and ("[" in text or text.lstrip().startswith("$")):
                raise NeedsRichParser(f"operand {shown(text)}")
            raise CircuitError("syntax", f"not an operand: {shown(text)}")
        register = self.names.get(match[1])
        if register is None:
            raise CircuitError("undefined", f"register {shown(match[1])} is not declared")
        if match[2] is None:
            return (register.quantum, register.start, register.size, not register.single)
        index = int(match[2])
        if register.single:
            raise CircuitError("syntax", f"{shown(match[1])} is a single element")
        if index >= register.size:
            raise CircuitError("out_of_range", f"{shown(text)} is past the end of the register")
        return (register.quantum, register.start + index, 1, False)

    def broadcast(
        self,
        gate: Gate,
        head: str,
        items: tuple[Item, ...],
        condition: Condition | None = None,
    ) -> None:
        """A gate over whole registers: element by element, single qubits repeated."""
        sizes = {size for _, _, size, whole in items if whole}
        if not all(item[0] for item in items):
            raise CircuitError("syntax", f"gate {gate.name} acts on qubits, not on bits")
        if len(sizes) > 1:
            raise CircuitError("syntax", "registers of different sizes in one operation")
        count = max(sizes, default=1)
        self.room(count)
        kind, bits = gate.name, tuple[int, ...]()
        if condition is not None:
            self.builder.spend(count * len(condition.bits))
            head = self.layout.condition(condition) + head
            kind, bits = CONDITIONAL + gate.name, tuple([~bit for bit in condition.bits])
        # Repeated broadcasts share their operations: a flood of them costs pointers.
        made = self.broadcasts.get((head, items))
        if made is None:
            made = _elementwise(kind, bits, head, items, count)
            if len(self.broadcasts) < _CACHED_BROADCASTS:
                self.broadcasts[head, items] = made
        self.ops += made

    def room(self, count: int) -> None:
        """Refuse more operations than allowed before they are made."""
        if len(self.ops) + count > self.limits.max_operations:
            raise too_many(self.limits.max_operations)

    def other(self, text: str) -> Op | None:
        """Everything that is not a known gate."""
        self.refuse_forbidden(text, None)
        match = _WORD.match(text)
        if match is None:
            raise CircuitError("syntax", f"not a statement: {shown(text) or 'empty statement'}")
        word, rest = match[0], text[match.end() :].lstrip()
        if self.stage == 0 and (word == "OPENQASM" or self.version == 2):
            self.header(text)
        elif word == "include":
            self.include(rest)
        else:
            if self.stage < 2:  # OpenQASM 3 may leave the version line out
                self.stage = 2
                self.gates = OPENQASM2_BUILTIN if self.version == 2 else self.table
                return self.statement(text)
            self.keyword(word, text, rest)
        return None

    def refuse_forbidden(self, text: str, line: int | None) -> None:
        """Refuse by name what no dialect of ours has."""
        for mark, meaning in (("@", "an annotation"), ("#", "a directive"), ("$", "a qubit")):
            if text.startswith(mark):
                detail = f"{meaning} is not accepted: {shown(text)}"
                raise CircuitError("forbidden", detail, line=line)
        match = _WORD.match(text)
        if match is not None and match[0] in FORBIDDEN:
            hint = FORBIDDEN[match[0]]
            raise CircuitError("forbidden", f"{match[0]} is not accepted", line=line, hint=hint)

    def header(self, text: str) -> None:
        """The version line."""
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
        """The one standard library; no file is opened."""
        library = "qelib1.inc" if self.version == 2 else "stdgates.inc"
        if rest not in (f'"{library}"', f"'{library}'"):
            raise CircuitError(
                "forbidden",
                f"include of anything but {library}: {shown(rest)}",
                hint="no file is ever opened; inline the definitions",
            )
        if self.stage == 2:
            raise CircuitError("syntax", "include must follow the version line, once")
        self.stage = 2
        self.gates = self.table

    def keyword(self, word: str, text: str, rest: str) -> None:
        """A statement that begins with a known word."""
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
            self.assignment(text, None)
        else:
            raise self.unknown(word, text)

    def unknown(self, word: str, text: str) -> CircuitError:
        """The most helpful refusal for an unknown word."""
        if self.version == 3 and "@" in text:
            return NeedsRichParser("a gate modifier")
        if word in OPENQASM2 and self.gates is OPENQASM2_BUILTIN:
            hint = 'add include "qelib1.inc"; after the version line'
            return CircuitError("undefined", f"gate {word} is in a library", hint=hint)
        if word in self.gates:
            return CircuitError("syntax", f"not a gate application: {shown(text)}")
        return CircuitError("undefined", f"unknown gate or statement: {shown(word)}")

    def declare(self, match: re.Match[str] | None, quantum: bool, text: str) -> None:
        """Qubits or bits."""
        if match is None:
            raise CircuitError("syntax", f"not a declaration: {shown(text)}")
        name, size = (
            (match[1], match[2]) if match.re is _REGISTER_DECLARATION else (match[2], match[1])
        )
        if name in self.names or name in GATE_NAMES[self.version] or name in RESERVED[self.version]:
            raise CircuitError("redefined", f"the name {shown(name)} is taken")
        if size is None and self.version == 2:
            raise CircuitError("syntax", f"a register needs a size: {shown(text)}")
        count = int(size or 1)
        add = self.layout.add_qubits if quantum else self.layout.add_register
        self.names[name] = Register(quantum, add(count), count, size is None)

    def assignment(self, text: str, condition: Condition | None) -> None:
        """OpenQASM 3: ``bit = measure qubit``."""
        target, _, source = text.partition("=")
        source = source.strip()
        if not source.startswith("measure") or not _OPERAND.fullmatch(target.strip()):
            raise NeedsRichParser("an assignment")
        self.measure(source[len("measure") :], target, condition)

    def measure(self, source: str, target: str, condition: Condition | None) -> None:
        """Qubits into as many bits."""
        quantum, qubit, size, whole = self.operand(source)
        classical, bit, bits, all_bits = self.operand(target)
        if not quantum or classical or size != bits or (self.version == 2 and whole != all_bits):
            raise CircuitError("syntax", "a measurement needs qubits and as many bits")
        if condition and size > 1 and not set(condition.bits).isdisjoint(range(bit, bit + size)):
            raise CircuitError("ambiguous", "a measurement would change its own condition")
        self.room(size)
        if condition is not None:
            for i in range(size):
                self.builder.measure(qubit + i, bit + i, condition)
            return
        name = self.layout.bit
        self.ops += [
            (
                f"measure q[{qubit + i}] -> {name(bit + i)};\n",
                qubit + i,
                ~(bit + i),
                None,
                "measure",
            )
            for i in range(size)
        ]

    def barrier(self, rest: str) -> None:
        """A barrier over registers and elements."""
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
        """Reset of a register or an element."""
        quantum, start, size, _ = self.operand(rest)
        if not quantum:
            raise CircuitError("syntax", "a reset acts on qubits, not on bits")
        self.room(size)
        for qubit in range(start, start + size):
            self.builder.reset(qubit, condition)

    def conditional(self, text: str) -> None:
        """``if(register==n) operation``; in canonical text and in OpenQASM 3 also of one bit, and
        one ``if`` after another, which is their conjunction."""
        condition, body = None, text
        while body.startswith("if") and (condition is None or self.version == 3 or self.canonical):
            test, body = self.test(body)
            condition = both(condition, test)
        assert condition is not None  # noqa: S101 - the statement begins with if
        word = body.split(None, 1)[0] if body.strip() else ""
        rest = body[len(word) :]
        if word == "measure":
            source, _, target = rest.partition("->")
            self.measure(source, target, condition)
        elif word == "reset":
            self.reset(rest, condition)
        elif self.version == 3 and "=" in body:
            self.assignment(body, condition)
        else:
            self.conditional_gate(body, condition)

    def test(self, text: str) -> tuple[Condition, str]:
        """One ``if(...)``, and what follows it."""
        match = _CONDITION.match(text)
        if match is None or (match[2] and not self.canonical and self.version == 2):
            if self.version == 3:
                raise NeedsRichParser("if")
            raise CircuitError("syntax", f"not a condition: {shown(text)}")
        name = match[1] if match[2] is None else f"{match[1]}[{match[2]}]"
        quantum, start, size, _ = self.operand(name)
        if quantum:
            raise CircuitError("syntax", "a condition reads bits, not qubits")
        return equals(range(start, start + size), int(match[3])), text[match.end() :]

    def conditional_gate(self, body: str, condition: Condition) -> None:
        """The gate of a condition."""
        name, paren, tail = body.partition("(")
        angles, rest = "", ""
        if paren:
            angles, _, rest = tail.rpartition(")")
        else:
            name, _, rest = body.partition(" ")
        gate = self.gates.get(name.strip())
        if gate is None:
            raise self.unknown(shown(name), body)
        items = tuple([self.operand(x) for x in rest.split(",")])
        if len(items) != gate.qubits:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        self.broadcast(gate, self.head(gate, angles), items, condition)


def _elementwise(
    kind: str, bits: tuple[int, ...], head: str, items: tuple[Item, ...], count: int
) -> list[Op]:
    if len(items) == 1 and not bits:
        start = items[0][1]
        return [(f"{head}q[{q}];\n", q, None, None, kind) for q in range(start, start + count)]
    made = []
    for i in range(count):
        qubits = [start + i if whole else start for _, start, _, whole in items]
        if len(set(qubits)) != len(qubits):
            raise repeated_qubit()
        line = head + ",".join([f"q[{q}]" for q in qubits]) + ";\n"
        made.append(make_op(line, (*qubits, *bits), kind))
    return made
