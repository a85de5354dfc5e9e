"""Facts found without expanding are those of the expanded program, and exact beyond its size."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryogate.circuits import CircuitError, Facts, Format, ParseLimits, Program
from cryogate.circuits.errors import CircuitError as Refusal
from cryogate.circuits.refusals import LARGEST, read_refusal, write_refusal
from cryogate.circuits.rich.entry import parse_rich
from cryogate.circuits.rich.grammar import Grammar
from cryogate.circuits.rich.summary import Summary

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
LIMITS = ParseLimits()
QUBITS = 4


def expanded(body: str) -> Program:
    return parse_rich((HEAD + body).encode(), Format.OPENQASM3, LIMITS, {})


def summarised(body: str) -> Facts:
    grammar = Grammar(HEAD + body, 3)
    statements = grammar.program()
    return Summary(3, grammar.included, LIMITS, {}).facts(statements)


def refused(body: str) -> Refusal:
    with pytest.raises(CircuitError) as caught:
        expanded(body)
    return caught.value


class Writer:
    """Random programs of everything that makes a program larger than its text."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.gates: list[tuple[str, int]] = [("x", 1), ("h", 1), ("cx", 2), ("s", 1), ("swap", 2)]

    def program(self) -> str:
        out = [self.definition(n) for n in range(self.rng.randint(1, 3))]
        out += [self.subroutine(n) for n in range(2)]
        out.append(f"qubit[{QUBITS}] q; bit[3] c; bit d;")
        out += [self.statement("q", 3) for _ in range(self.rng.randint(1, 7))]
        return " ".join(out)

    def definition(self, number: int) -> str:
        names = ["a", "b", "e"][: self.rng.randint(1, 3)]
        body = [self.applied(names) for _ in range(self.rng.randint(0, 4))]
        if body and self.rng.random() < 0.3:
            body[0] = f"for int i in [1:{self.rng.randint(0, 3)}] {{ {body[0]} }}"
        if self.rng.random() < 0.2:
            body.append(f"for int i in [0:2] {{ pow(i) @ x {names[0]}; }}")
        self.gates.append((f"g{number}", len(names)))
        return f"gate g{number} {', '.join(names)} {{ {' '.join(body)} }}"

    def subroutine(self, number: int) -> str:
        calls = f"f{number - 1}(r, k);" if number else ""
        body = [self.statement("r", 1, bits=False) for _ in range(self.rng.randint(0, 3))]
        return (
            f"def f{number}(qubit[{QUBITS}] r, int k) -> bit {{ {' '.join(body)} {calls}"
            f"bit b = measure r[{self.rng.randrange(QUBITS)}];"
            f"{self.rng.choice(['', 'if (b) x r[0];'])}"
            " for int i in [0:k] { x r[i]; } return b; }"
        )

    def applied(self, wires: list[str]) -> str:
        modifiers, extra = self.modifiers(len(wires))
        fits = [gate for gate in self.gates if gate[1] + extra <= len(wires)]
        if extra:  # what a control cannot name is refused either way, and says nothing here
            fits = [gate for gate in fits if gate[0] in ("x", "swap", "g0")] or fits
        if not fits:
            return ""
        name, size = self.rng.choice(fits)
        return f"{modifiers}{name} {', '.join(self.rng.sample(wires, size + extra))};"

    def modifiers(self, wires: int) -> tuple[str, int]:
        text, extra = "", 0
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            kind = self.rng.choice(["inv @ ", "pow(3) @ ", "pow(-2) @ ", "ctrl @ ", "negctrl @ "])
            if "ctrl" in kind:
                if extra + 1 >= wires or extra:
                    continue
                extra += 1
            text += kind
        return text, extra

    def statement(self, register: str, depth: int, *, bits: bool = True) -> str:
        rng = self.rng
        wires = [f"{register}[{i}]" for i in range(QUBITS)]
        roll = rng.random()
        if depth and roll < 0.25:
            inner = self.statement(register, depth - 1, bits=bits)
            varying = f"x {register}[i % {QUBITS}];" if rng.random() < 0.4 else ""
            return f"for int i in [0:{rng.randint(0, 5)}] {{ {inner} {varying} }}"
        if depth and bits and roll < 0.4:
            inner = self.applied(wires)
            test = rng.choice(["c[0]", "!d", "c == 5", "c[1] && d"])
            return f"if ({test}) {{ {inner} {self.applied(wires)} }}"
        if bits and roll < 0.55:
            call = f"f{rng.randrange(2)}({register}, {rng.randrange(QUBITS)});"
            return rng.choice([f"d = {call}", f"c[1] = {call}", call])
        if bits and roll < 0.65:
            return f"c[{rng.randrange(3)}] = measure {rng.choice(wires)};"
        if roll < 0.7:
            return rng.choice([f"barrier {register}[0:2];", f"reset {register};", f"h {register};"])
        return self.applied(wires)


@given(st.integers(0, 2**32))
@settings(max_examples=250, deadline=None)
def test_facts_agree_with_those_of_the_expanded_program(seed: int) -> None:
    body = Writer(seed).program()
    try:
        facts = expanded(body).facts
    except CircuitError:
        return
    assert summarised(body) == facts


def test_most_random_programs_are_compared() -> None:
    accepted = 0
    for seed in range(100):
        try:
            expanded(Writer(seed).program())
            accepted += 1
        except CircuitError:
            continue
    assert accepted > 50


_BOMB = "gate g0 a, b { h a; cx a, b; } " + " ".join(
    f"gate g{i} a, b {{ g{i - 1} a, b; g{i - 1} b, a; }}" for i in range(1, 41)
)


_TIED = (
    "qubit[1024] q; bit[2] c; for int i in [1:1000000] { h q; c[0] = measure q[0];"
    "if (c[0]) x q[1]; }"
)
_CALLS = (
    "def f(qubit a, qubit b) -> bit { for int i in [1:1000000] { cx a, b; } return measure b; }"
    "qubit[2] q; bit[2] c; for int i in [1:1000000] { c[0] = f(q[0], q[1]); }"
)
_NESTED = (
    "qubit[3] q; for int i in [1:1000000] for int j in [1:1000000] {"
    "rx(i * j) q[0]; cx q[0], q[1]; h q[2]; }"
)
_POWERS = "qubit[2] q; pow(1000000) @ pow(1000000) @ negctrl @ x q[0], q[1];"
_HALF, _MILLION, _BILLIONS = 2**40, 10**6, 10**12


@pytest.mark.attack("C1")
@pytest.mark.parametrize(
    ("body", "counts", "depth", "two_qubit_depth", "measurements"),
    [
        (f"{_BOMB} qubit[2] q; g40 q[0], q[1];", {"h": _HALF, "cx": _HALF}, 2**41, _HALF, 0),
        (f"{_BOMB} qubit[2] q; inv @ g40 q[0], q[1];", {"h": _HALF, "cx": _HALF}, 2**41, _HALF, 0),
        (
            f"{_BOMB} qubit[3] q; ctrl @ g40 q[2], q[0], q[1];",
            {"ch": _HALF, "ccx": _HALF}, 2**41, 2**41, 0,
        ),
        ("qubit q; for int i in [1:1000000000000] { x q; }", {"x": _BILLIONS}, _BILLIONS, 0, 0),
        (
            _NESTED,
            {"rx": _BILLIONS, "cx": _BILLIONS, "h": _BILLIONS}, 2 * _BILLIONS, _BILLIONS, 0,
        ),
        # the measurement and its condition tie q[0], c[0] and q[1] into one chain
        (_TIED, {"h": 1024 * _MILLION, "x": _MILLION}, 2 * _MILLION + 1, 0, _MILLION),
        (_CALLS, {"cx": _BILLIONS}, _BILLIONS + _MILLION, _BILLIONS, _MILLION),
        (_POWERS, {"cx": _BILLIONS, "x": 2 * _BILLIONS}, 3 * _BILLIONS, _BILLIONS, 0),
    ],
)  # fmt: skip
def test_exact_beyond_every_size(
    body: str, counts: dict[str, int], depth: int, two_qubit_depth: int, measurements: int
) -> None:
    began = time.process_time()
    error = refused(body)
    assert time.process_time() - began < 1.5  # of the worker's two seconds
    facts = error.facts
    assert facts is not None
    assert dict(facts.gate_counts) == counts
    assert facts.gate_set == tuple(sorted(counts))
    assert (facts.depth, facts.two_qubit_depth) == (depth, two_qubit_depth)
    assert facts.measurements == measurements
    total = sum(counts.values()) + measurements
    assert f"the program has {total} operations" in error.detail
    assert error.code == "too_large"


def test_what_takes_too_long_is_refused_without_facts() -> None:
    error = refused(
        "qubit[64] q; for int i in [0:1000000] { if (i % 3 == 1) { x q[0]; } else { h q[1]; } }"
    )
    assert error.facts is None
    assert "at least 1000001 operations" in error.detail


def test_refusals_come_back_as_they_were() -> None:
    error = refused("qubit q; for int i in [1:1000000000000] { x q; }")
    again = read_refusal(write_refusal(error))
    assert (again.code, again.line, again.detail) == (error.code, error.line, error.detail)
    assert again.facts == error.facts


@pytest.mark.attack("C1", "C5")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"depth": 1000000000000', b'"depth": -1'),
        (b'"depth": 1000000000000', b'"depth": true'),
        (b'"depth": 1000000000000', b'"depth": ' + str(LARGEST + 1).encode()),
        (b'"depth": 1000000000000', b'"depth": "1"'),
        (b'{"x": 1000000000000}', b'{"<b>": 1}'),
        (b'{"x": 1000000000000}', b'[]'),
        (b'"features": []', b'"features": ["free"]'),
        (b'"facts": {', b'"facts": {"more": 1}, "old": {'),
    ],
)  # fmt: skip
def test_facts_from_a_worker_are_hostile_input(old: bytes, new: bytes) -> None:
    good = write_refusal(refused("qubit q; for int i in [1:1000000000000] { x q; }"))
    assert old in good
    assert read_refusal(good.replace(old, new)).detail == "the guarded parser gave no answer"
