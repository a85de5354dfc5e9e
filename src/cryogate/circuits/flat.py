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

from cryogate.circuits.angles import angle
from cryogate.circuits.assemble import Op, make_op
from cryogate.circuits.definitions import without_known
from cryogate.circuits.errors import CircuitError, NeedsRichParser, shown
from cryogate.circuits.flat_statements import Statements
from cryogate.circuits.gates import CANONICAL, OPENQASM2, OPENQASM3, Gate
from cryogate.circuits.model import STORED, Format, ParseLimits
from cryogate.circuits.operations import finish, repeated_qubit, too_many, wrong_arity
from cryogate.circuits.program import Program
from cryogate.circuits.source import line_of, read_source

_ELEMENT = re.compile(r"\s*+([A-Za-z_]\w{0,63}+)\s*+\[\s*+(\d{1,7}+)\s*+\]\s*+", re.ASCII)
_CHUNK = 1 << 16
_CACHE_STATEMENT = 24  # longer statements carry long angles, which seldom repeat
_CACHE_SIZE = 1 << 16


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
    program = _Flat(STORED, CANONICAL, 2).parse(data)
    if program.text != data:
        raise CircuitError("not_canonical", "the stored text is not in canonical form")
    return program


class _Flat(Statements):
    """The hot path: plain gates, equal statements looked up by their text."""

    def __init__(self, limits: ParseLimits, table: dict[str, Gate], version: int) -> None:
        super().__init__(limits, table, version)
        self.statements: dict[str, Op] = {}
        self.elements: dict[str, tuple[int, str]] = {}
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
        line = line_of(text, position + text[position:].index(rest[0]))
        self.refuse_forbidden(rest, line)
        if ";" in rest:
            raise CircuitError("too_large", "a statement is over 65536 characters", line=line)
        raise CircuitError("syntax", f"missing ; after {shown(rest)}", line=line)

    def statement(self, part: str) -> Op | None:
        """One statement: an operation to add, or None when it was dealt with."""
        text = part.strip()
        name, paren, tail = text.partition("(")
        if paren:
            angles, close, rest = tail.rpartition(")")
            gate = self.gates.get(name) or self.gates.get(name.rstrip())
            if gate is None or not close:
                return self.other(text)
            rest = rest.lstrip()
        else:
            words = text.split(None, 1)
            gate = self.gates.get(words[0]) if len(words) == 2 else None
            if gate is None:
                return self.other(text)
            angles, rest = "", words[1]
        name, params, size = gate
        if not angles:
            if params:
                raise wrong_arity(name, params, size)
            head = name + " "
        elif params == 1:
            spelled = self.angles.get(angles)
            head = f"{name}({spelled if spelled is not None else self.angle(angles)}) "
        else:
            head = self.head(gate, angles)
        op = self.plain(head, rest, gate) if size < 3 else None
        if op is None:
            op = self.any_gate(head, rest, gate)
            if op is None:
                return None
        if len(part) <= _CACHE_STATEMENT and len(self.statements) < _CACHE_SIZE:
            self.statements[part] = op
        return op

    def plain(self, head: str, rest: str, gate: Gate) -> Op | None:
        """A gate on one or two elements, the common case; None leaves the rest to `any_gate`."""
        elements = self.elements
        if gate.qubits == 1:
            element = elements.get(rest) or self.element(rest)
            if element is None:
                return None
            return (f"{head}{element[1]};\n", element[0], None, None, gate.name)
        one, _, two = rest.partition(",")
        element = elements.get(one) or self.element(one)
        other = elements.get(two) or self.element(two)
        if element is None or other is None:
            return None
        a, b = element[0], other[0]
        line = f"{head}{element[1]},{other[1]};\n"
        if a < b:
            return (line, a, b, None, gate.name)
        if a == b:
            raise repeated_qubit()
        return (line, b, a, None, gate.name)

    def element(self, text: str) -> tuple[int, str] | None:
        """Index and canonical name of ``register[index]``, remembered; None for all else."""
        match = _ELEMENT.fullmatch(text)
        if match is None:
            return None
        register = self.names.get(match[1])
        index = int(match[2])
        if register is None or not register.quantum or register.single or index >= register.size:
            return None
        index += register.start
        found = (index, f"q[{index}]")
        if len(self.elements) < _CACHE_SIZE:
            self.elements[text] = found
        return found

    def any_gate(self, head: str, rest: str, gate: Gate) -> Op | None:
        """A gate on any operands; None if it was a broadcast. Raises `CircuitError`."""
        items = tuple([self.operand(x) for x in rest.split(",")])
        if len(items) != gate.qubits:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        if not all(quantum and not whole for quantum, _, _, whole in items):
            self.broadcast(gate, head, items)
            return None
        wires = [item[1] for item in items]
        if len(set(wires)) != len(wires):
            raise repeated_qubit()
        line = head + ",".join([f"q[{i}]" for i in wires]) + ";\n"
        return make_op(line, wires, gate.name)

    def head(self, gate: Gate, angles: str) -> str:
        """Canonical name and angles, ready to be followed by the operands."""
        if not angles or angles.isspace():
            if gate.params:
                raise wrong_arity(gate.name, gate.params, gate.qubits)
            return gate.name + " "
        values = [self.angle(x) for x in angles.split(",")]
        if len(values) != gate.params:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        return f"{gate.name}({','.join(values)}) "

    def angle(self, text: str) -> str:
        """Canonical spelling of one angle."""
        spelled = self.angles.get(text)
        if spelled is None:
            spelled = repr(angle(text.strip(), integers=self.version == 3))
            if len(text) <= _CACHE_STATEMENT and len(self.angles) < _CACHE_SIZE:
                self.angles[text] = spelled
        return spelled
