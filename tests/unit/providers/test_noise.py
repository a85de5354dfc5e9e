"""Noisy simulators: the errors that their profiles state, the same ones for the same seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from tests.support.live import ROOT
from tests.unit.providers.test_local import GHZ, LEASE, job, program

from cryogate.circuits import Program
from cryogate.config import Config, ConfigError, load
from cryogate.config.local import SHIPPED, Local, NoiseTable
from cryogate.ports.clock import SystemClock
from cryogate.ports.provider import VendorState
from cryogate.providers import Setup
from cryogate.providers.aer_noise import BASIS, noise_model
from cryogate.providers.aer_worker import entrypoint
from cryogate.providers.local import LocalProvider
from cryogate.server.agent_routes import backend_view

GHZ5 = program(
    "qreg q[5]; creg c[5]; h q[0];"
    + "".join(f"cx q[{n}],q[{n + 1}];" for n in range(4))
    + "".join(f"measure q[{n}] -> c[{n}];" for n in range(5))
)
NO_ERRORS = NoiseTable(name="none", one_qubit_error=0, two_qubit_error=0, readout_error=0)


def ran(
    what: Program, noise: list[float], shots: int = 20_000, seed: int | None = 7
) -> dict[str, int]:
    head = json.dumps({"shots": shots, "noise": noise, "seed": seed}).encode()
    found: dict[str, int] = json.loads(entrypoint(head + b"\n" + what.to_bytes()))
    assert sum(found.values()) == shots
    return found


def wrong(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return 1 - (counts.get("00000", 0) + counts.get("11111", 0)) / total


def test_a_noisy_ghz_has_the_errors_that_its_profile_states() -> None:
    assert wrong(ran(GHZ5, [0, 0, 0, 0])) == 0
    # readout alone: all five bits right, or all five flipped
    for error in (0.015, 0.1):
        expected = 1 - (1 - error) ** 5 - error**5
        assert wrong(ran(GHZ5, [0, 0, error, 0])) == pytest.approx(expected, abs=0.015)
    # gates alone: 4 gates that each end in another basis state in 12 of 15 wrong cases, and one
    # pair of errors in a thousand undoes itself
    found = wrong(ran(GHZ5, [0, 0.02, 0, 0]))
    assert 0.05 < found < 1 - (1 - 0.02 * 5 / 4) ** 4
    by_profile = {
        table.name: wrong(
            ran(GHZ5, [table.one_qubit_error, table.two_qubit_error, table.readout_error, 0])
        )
        for table in SHIPPED
    }
    assert 0 < by_profile["trapped-ion"] < by_profile["superconducting"] < 0.2


def test_an_error_rate_is_the_chance_of_a_wrong_outcome_averaged_over_inputs() -> None:
    # x on a basis state: of the three errors, two flip it: 2/3 of p*3/4 with p = 2 * rate
    one = program("qreg q[1]; creg c[1]; x q[0]; measure q[0] -> c[0];")
    assert ran(one, [0.1, 0, 0, 0])["0"] / 20_000 == pytest.approx(0.1, abs=0.01)
    flipped = program("qreg q[1]; creg c[1]; reset q[0]; measure q[0] -> c[0];")
    assert ran(flipped, [0, 0, 0, 0.2])["1"] / 20_000 == pytest.approx(0.2, abs=0.015)


def test_no_gate_is_free_of_errors() -> None:
    kinds = {
        "x q[0]; ccx q[0],q[1],q[2];": 0.3, "swap q[0],q[1];": 0.1, "cswap q[0],q[1],q[2];": 0.2,
        "u3(0.1,0.2,0.3) q[0];": 0.03, "ch q[0],q[1];": 0.05, "c3x q[0],q[1],q[2],q[3];": 0.3,
        "if(c==0) x q[0];": 0.05, "id q[0];": 0.05, "sxdg q[0];": 0,
    }  # fmt: skip
    for body, least in kinds.items():
        ideal = ran(program(f"qreg q[4]; creg c[4]; {body} measure q -> c;"), [0, 0, 0, 0], 4000)
        noisy = ran(
            program(f"qreg q[4]; creg c[4]; {body} measure q -> c;"), [0.1, 0.1, 0, 0], 4000
        )
        moved = sum(abs(noisy.get(k, 0) - ideal.get(k, 0)) for k in ideal | noisy) / 8000
        assert moved >= least, body


def test_a_model_is_built_once_and_names_every_gate() -> None:
    noise_model.cache_clear()
    figures = (1e-3, 1e-2, 2e-2, 0.0)
    for _ in range(3):
        ran(GHZ5, list(figures), 10)
    info = noise_model.cache_info()
    assert (info.misses, info.hits) == (1, 2)
    model = noise_model(*figures)
    assert set(BASIS) <= set(model.noise_instructions)


async def test_the_same_circuit_with_a_seed_gives_the_same_counts() -> None:
    table = SHIPPED[0]
    seeded = LocalProvider(noise=(table,), seed=11)
    other = LocalProvider(seeded._pool, noise=(table,), seed=12)
    try:
        counts = []
        for provider, job_id in ((seeded, "a"), (seeded, "b"), (other, "c")):
            vendor_id = await provider.submit(
                job("local:noisy-superconducting", GHZ, job_id, 2000), LEASE
            )
            status = await provider.wait(vendor_id, LEASE)
            assert status is not None
            assert status.state is VendorState.DONE, status.detail
            result = await provider.result(vendor_id, LEASE)
            assert result.metadata == {"noise": "superconducting"}
            counts.append(result.counts)
        assert counts[0] == counts[1] != counts[2]
        assert set(counts[0]) > {"000", "111"}
    finally:
        await seeded.close()
        await other.close()


async def test_profiles_are_backends_that_say_what_they_get_wrong(tmp_path: Path) -> None:
    file = tmp_path / "cryogate.toml"
    file.write_text(
        '[local]\nprofiles = ["trapped-ion"]\n[[local.noise]]\nname = "lab-5"\nqubits = 5\n'
        "one_qubit_error = 0.001\ntwo_qubit_error = 0.02\nreadout_error = 0.03\n"
    )
    config = load(file, environ={})
    provider = LocalProvider.of(Setup(config, SystemClock()))
    try:
        devices = {device.name: device for device in await provider.backends()}
    finally:
        await provider.close()
    assert set(devices) == {
        "local:aer",
        "local:null",
        "local:noisy-trapped-ion",
        "local:noisy-lab-5",
    }
    noise = devices["local:noisy-lab-5"].noise
    assert noise is not None
    assert (noise.profile, noise.two_qubit_error, noise.seeded) == ("lab-5", 0.02, False)
    assert (devices["local:noisy-lab-5"].qubits, devices["local:aer"].noise) == (5, None)


def test_what_the_page_says_of_the_shipped_profiles_is_so() -> None:
    page = Path(ROOT / "docs/providers/local.md").read_text("utf-8")
    for table in SHIPPED:
        figures = (
            table.one_qubit_error, table.two_qubit_error, table.readout_error, table.reset_error,
        )  # fmt: skip
        row = " | ".join(f"{100 * figure:g} %" for figure in figures)
        assert f"| `{table.name}` | {row} |" in page


async def test_agents_see_the_errors_of_a_backend() -> None:
    provider = LocalProvider(noise=(SHIPPED[1],), seed=3)
    try:
        [ideal, _, noisy] = await provider.backends()
    finally:
        await provider.close()
    assert msgspec.to_builtins(backend_view(noisy))["noise"] == {
        "profile": "trapped-ion", "one_qubit_error": 1e-4, "two_qubit_error": 2e-3,
        "readout_error": 3e-3, "reset_error": 1e-3, "seeded": True,
    }  # fmt: skip
    assert msgspec.to_builtins(backend_view(ideal))["noise"] is None


def test_a_profile_is_checked_at_start(tmp_path: Path) -> None:
    assert [table.name for table in Local().offered()] == ["superconducting", "trapped-ion"]
    assert Local(profiles=(), noise=(NO_ERRORS,)).offered() == (NO_ERRORS,)
    table = (
        '[[local.noise]]\nname = "{}"\none_qubit_error = {}\ntwo_qubit_error = 0\n'
        "readout_error = 0\n"
    )
    file = tmp_path / "cryogate.toml"
    for text, said in (
        ('[local]\nprofiles = ["perfect"]\n', "there is no perfect"),
        (table.format("a", 0) * 2, "one name"),
        (table.format("a", 0.6), "one_qubit_error|0.5"),
        (table.format("A B", 0), "name|pattern|regex"),
        (table.format("a", '"much"'), "one_qubit_error"),
        (table.format("a", 0) + "spam_error = 0\n", "spam_error"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            load(file, environ={})
    found = load(environ={"CRYOGATE_LOCAL_PROFILES": "trapped-ion", "CRYOGATE_LOCAL_SEED": "5"})
    assert isinstance(found, Config)
    assert (found.local.profiles, found.local.seed) == (("trapped-ion",), 5)
