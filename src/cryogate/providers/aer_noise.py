"""Small, uniform noise models for qiskit-aer; imported only inside a guarded worker.

Every gate on one qubit errs alike, so does every gate on two, and every measurement and reset:
depolarizing errors after gates, flipped bits at measurements. A model of a real device has a few
thousand errors and takes seconds to build; this one has a few dozen and takes milliseconds, once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, pauli_error

ONE: Final = (
    "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "rx", "ry", "rz", "p", "u",
)  # fmt: skip
#: Larger gates become these, as they do on devices: a swap is three, a Toffoli six.
TWO: Final = ("cx", "cz", "ecr", "rxx", "ryy", "rzz")
BASIS: Final = (*ONE, *TWO)


@lru_cache(maxsize=64)
def noise_model(one: float, two: float, readout: float, reset: float) -> NoiseModel:
    """The model of these error rates: chances that the outcome of a step is not the right one."""
    found = NoiseModel(basis_gates=list(BASIS))
    # A depolarizing channel of parameter p leaves the state alone by luck too: an error rate, as
    # makers publish it, is the average infidelity p * (1 - 1/d) for dimension d.
    if one:
        found.add_all_qubit_quantum_error(depolarizing_error(one * 2, 1), list(ONE))
    if two:
        found.add_all_qubit_quantum_error(depolarizing_error(two * 4 / 3, 2), list(TWO))
    if reset:
        flipped = pauli_error([("X", reset), ("I", 1 - reset)])
        found.add_all_qubit_quantum_error(flipped, "reset")
    if readout:
        found.add_all_qubit_readout_error(
            ReadoutError([[1 - readout, readout], [readout, 1 - readout]])
        )
    return found
