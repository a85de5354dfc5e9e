"""Programs as text and as SVG, for a human who is asked to approve one.

Labels are made of canonical names and numbers only, never of the source, so nothing an agent
writes can end up as markup. Drawings stop after 400 operations and say so.
"""

from __future__ import annotations

from itertools import islice

from cryogate.circuits.program import Operation, Program

_MAX_OPERATIONS = 400
_MAX_QUBITS = 64
_WIDE, _HIGH = 74, 34
_CONTROLS = {"cx": 1, "cy": 1, "cz": 1, "ch": 1, "cp": 1, "crx": 1, "cry": 1, "crz": 1, "ccx": 2,
             "cu": 1, "cu3": 1, "csx": 1, "cs": 1, "csdg": 1, "ccz": 2, "cswap": 1, "c3x": 3,
             "c4x": 4, "c3sqrtx": 3}  # fmt: skip


def drawing(program: Program) -> str:
    """ASCII art: one line for each qubit, time from left to right."""
    columns, qubits, rest = _columns(program)
    lines = [f"q{i}: ".rjust(6) for i in range(qubits)]
    for column in columns:
        cells = _cells(column, qubits)
        width = max(len(cell) for cell in cells) + 2
        for i, cell in enumerate(cells):
            lines[i] += cell.center(width, "-" if cell != "|" else " ").replace(" ", "-")
    return "\n".join([line.rstrip() for line in lines] + rest) + "\n"


def svg(program: Program) -> str:
    """A self-contained SVG drawing without scripts, styles or links."""
    columns, qubits, rest = _columns(program)
    width, height = 60 + _WIDE * max(1, len(columns)), 20 + _HIGH * qubits + 20 * len(rest)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    font = 'font-family="monospace" font-size="11"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>']
    for i in range(qubits):
        y = _y(i)
        out.append(f'<text x="4" y="{y + 4}">q{i}</text>')
        out.append(f'<line x1="40" y1="{y}" x2="{width - 10}" y2="{y}" stroke="#888"/>')
    for number, column in enumerate(columns):
        x = 50 + _WIDE * number + _WIDE // 2
        for op in column:
            out.extend(_svg_operation(op, x))
    for number, line in enumerate(rest):
        out.append(f'<text x="4" y="{_HIGH * qubits + 24 + 20 * number}">{line}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _columns(program: Program) -> tuple[list[list[Operation]], int, list[str]]:
    """Operations in columns where no two overlap, qubits shown, and remarks."""
    qubits = min(program.qubits, _MAX_QUBITS)
    rest = []
    if program.qubits > qubits:
        rest.append(f"... and {program.qubits - qubits} more qubits")
    columns: list[list[Operation]] = []
    free = [0] * qubits
    for op in islice(program.operations(), _MAX_OPERATIONS):
        low, high = min(op.qubits), max(op.qubits)
        if high >= qubits:
            continue
        at = max(free[low : high + 1])
        free[low : high + 1] = [at + 1] * (high + 1 - low)
        if at == len(columns):
            columns.append([])
        columns[at].append(op)
    facts = program.facts
    total = facts.gates + facts.measurements + facts.resets
    if total > _MAX_OPERATIONS:
        rest.append(f"... {total} operations in all, the first {_MAX_OPERATIONS} are shown")
    return columns, qubits, rest


def _label(op: Operation) -> str:
    if op.name == "measure":
        label = f"M>{op.clbits[0]}"
    elif op.params:
        label = f"{op.name}({','.join([f'{x:.4g}' for x in op.params])})"
    else:
        label = op.name
    if op.condition is not None:
        first, last = op.condition.bits[0], op.condition.bits[-1]
        together = last - first == len(op.condition.bits) - 1
        bits = f"{first}..{last}" if together else ",".join(map(str, op.condition.bits))
        bits = str(first) if first == last else bits
        label = f"{label} if {bits}={op.condition.value}"
    return label


def _cells(column: list[Operation], qubits: int) -> list[str]:
    cells = [""] * qubits
    for op in column:
        for i in range(min(op.qubits), max(op.qubits) + 1):
            cells[i] = "|"
        controls = _CONTROLS.get(op.name, 0)
        for position, qubit in enumerate(op.qubits):
            if op.name == "barrier":
                cells[qubit] = ":"
            elif position < controls:
                cells[qubit] = "o"
            else:
                cells[qubit] = f"[{_target(op).replace(' ', '_')}]"
    return cells


def _target(op: Operation) -> str:
    """Under controls only what happens to the target is written."""
    return _label(op._replace(name=op.name.lstrip("c34") or op.name) if _controlled(op) else op)


def _controlled(op: Operation) -> bool:
    return op.name in _CONTROLS


def _y(qubit: int) -> int:
    return 20 + _HIGH * qubit


def _svg_operation(op: Operation, x: int) -> list[str]:
    low, high = _y(min(op.qubits)), _y(max(op.qubits))
    if op.name == "barrier":
        ends = f'x1="{x}" y1="{low - 12}" x2="{x}" y2="{high + 12}"'
        return [f'<line {ends} stroke="#888" stroke-dasharray="3 3"/>']
    out = [f'<line x1="{x}" y1="{low}" x2="{x}" y2="{high}" stroke="#000"/>']
    controls = _CONTROLS.get(op.name, 0)
    text = _target(op)
    text = text if len(text) <= 11 else text[:9] + ".."
    for position, qubit in enumerate(op.qubits):
        y = _y(qubit)
        if position < controls:
            out.append(f'<circle cx="{x}" cy="{y}" r="4"/>')
            continue
        box = f'x="{x - 34}" y="{y - 12}" width="68" height="24"'
        out.append(f'<rect {box} fill="#fff" stroke="#000"/>')
        out.append(f'<text x="{x}" y="{y + 4}" text-anchor="middle">{text}</text>')
    return out
