"""Unsigned, altered, older and failing bundles are never put in force (A9); loops end (A3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.policy import CIRCUIT, JOB

from cryogate.config import load
from cryogate.domain.decisions import Allow, Deny
from cryogate.domain.errors import Conflict, NotFound
from cryogate.policies import Bundle, BundleInvalid, RegorusEngine, shipped_bundle
from cryogate.policies.activation import PolicyDesk, Refusal, Trust
from cryogate.policies.active import ActivePolicy
from cryogate.policies.bundle_files import MANIFEST, SIGNATURES, read_files
from cryogate.policies.rehearsal import Rehearsal
from cryogate.policies.signing import Untrusted, sign_files, verify_files
from cryogate.policies.statement_index import index_of
from cryogate.ports.store import Store
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.testing.clock import FakeClock
from cryogate.tokens.keys import generate

replace = msgspec.structs.replace
KEY, STRANGER = generate(), generate()
FIVE_QUBITS = replace(JOB, circuit=replace(CIRCUIT, qubits=5))
TRUSTED = {KEY.kid: KEY.public}
SHIPPED = read_files(shipped_bundle())
TIERS = "cryogate_data/tiers/data.json"
LOOP = """package cryogate
import rego.v1
loop := [c | some a in numbers.range(1, 30000); some b in numbers.range(1, 30000); c := a * b]
violations contains "x" if count(loop) == 0
"""


def bundle(
    version: int, changes: Mapping[str, bytes] | None = None, *, key: Any = KEY
) -> dict[str, bytes]:
    """The shipped bundle under another version and with other files, signed."""
    manifest = json.dumps({"revision": str(version)}).encode()
    files = {**SHIPPED, MANIFEST: manifest, **(changes or {})}
    return {**files, SIGNATURES: sign_files(files, key)}


def tiers(**caps: int) -> dict[str, bytes]:
    data = json.loads(SHIPPED[TIERS])
    data["sandbox"].update(caps)
    return {TIERS: json.dumps(data).encode()}


class Office:
    """A desk over one store."""

    def __init__(self, store: Store, clock: FakeClock, rehearsal: Rehearsal) -> None:
        self.store = store
        self.active = ActivePolicy()
        digest = Bundle.load(shipped_bundle()).digest
        self.desk = PolicyDesk(
            store, clock, self.active, RegorusEngine, rehearsal, Trust(TRUSTED, digest)
        )

    async def start(self, files: Mapping[str, bytes] = SHIPPED) -> None:
        await self.desk.start(lambda: Bundle.of(files))

    async def events(self) -> list[dict[str, Any]]:
        rows = await self.store.fetch("log_unsequenced", {"count": 100})
        return [json.loads(str(row["body"])) for row in rows]


@asynccontextmanager
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    clock, rehearsal = FakeClock(), Rehearsal(cpu_seconds=2)
    store = SqliteStore(tmp_path / "a.db", clock)
    await store.open()
    try:
        yield Office(store, clock, rehearsal)
    finally:
        await rehearsal.close()
        await store.close()


# -- signatures


def test_a_signature_holds_for_exactly_these_files() -> None:
    assert verify_files(bundle(2), TRUSTED) == KEY.kid


def _resigned(**header: Any) -> dict[str, bytes]:
    """A bundle whose JWT has another header."""
    from cryogate.tokens.encoding import b64

    files = bundle(2)
    jwt = json.loads(files[SIGNATURES])["signatures"][0].split(".")
    jwt[0] = b64(json.dumps(header).encode())
    return {**files, SIGNATURES: json.dumps({"signatures": [".".join(jwt)]}).encode()}


TAMPERED: dict[str, dict[str, bytes]] = {
    "unsigned": {k: v for k, v in bundle(2).items() if k != SIGNATURES},
    "another key": bundle(2, key=STRANGER),
    "a rule changed": {
        **bundle(2), "cryogate/caps.rego": SHIPPED["cryogate/caps.rego"].replace(b"==", b"!=")
    },
    "data changed": {**bundle(2), **tiers(max_shots=10**6)},
    "the version changed": {**bundle(2), MANIFEST: b'{"revision": "9"}'},
    "a file added": {**bundle(2), "cryogate/more.rego": b"package cryogate\n"},
    "a file taken away": {k: v for k, v in bundle(2).items() if k != "cryogate/caps.rego"},
    "no signature in the list": {**bundle(2), SIGNATURES: b'{"signatures": []}'},
    "garbage": {**bundle(2), SIGNATURES: b"\xff\x00"},
    "alg none": _resigned(alg="none", kid=KEY.kid),
    "alg HS256": _resigned(alg="HS256", kid=KEY.kid),
    "a key brought along": _resigned(alg="ES256", kid=KEY.kid, jwk=STRANGER.public.jwk()),
}  # fmt: skip


@pytest.mark.attack("A9")
@pytest.mark.parametrize("name", TAMPERED)
def test_what_is_not_signed_as_it_is_does_not_count(name: str) -> None:
    with pytest.raises(BundleInvalid):
        verify_files(TAMPERED[name], TRUSTED)


def test_whitespace_in_json_is_not_signed_for_it_means_nothing() -> None:
    files = bundle(2)
    files[TIERS] = json.dumps(json.loads(files[TIERS]), indent=7).encode()
    assert verify_files(files, TRUSTED) == KEY.kid


def test_what_two_languages_would_spell_differently_is_not_signed() -> None:
    for odd in (b'{"x": 1.0}', '{"x": "\u2028"}'.encode()):
        with pytest.raises(BundleInvalid):
            sign_files({"odd/data.json": odd}, KEY)


def _signed(statements: dict[str, object], index: dict[str, object]) -> dict[str, bytes]:
    return bundle(
        2,
        {
            "cryogate_data/statements/data.json": json.dumps(statements).encode(),
            "cryogate_index/data.json": json.dumps(index).encode(),
        },
    )


@pytest.mark.attack("A9")
async def test_an_index_that_leaves_out_a_deny_is_refused_though_it_is_signed(
    tmp_path: Path,
) -> None:
    shipped = json.loads(SHIPPED["cryogate_data/statements/data.json"])
    deny = {"principal": {"agent": "bot"}, "effect": "deny", "actions": ["*"], "resources": ["*"]}
    statements = {**shipped, "not-bot": deny}
    index = index_of(statements)
    found = index["by_agent"]["bot"]["token:issue"]
    assert found == sorted(statements.keys() - {"anyone-may-see-the-catalogue"})
    async with office(tmp_path) as here:
        await here.start()
        for wrong in (index_of(shipped), {}, {**index, "by_agent": {"bot": index["others"]}}):
            with pytest.raises(Refusal, match="cryogate_index"):
                await here.desk.activate(_signed(statements, wrong), "operator:a")
        # the right one is: its own tests fail then, for they are about that very agent
        with pytest.raises(Refusal, match="tests fail"):
            await here.desk.activate(_signed(statements, index), "operator:a")


# -- putting in force


@pytest.mark.attack("A9")
@pytest.mark.parametrize("name", TAMPERED)
async def test_activation_refuses_it_and_says_so_in_the_log(name: str, tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.start()
        before = here.active.digest
        with pytest.raises(Refusal):
            await here.desk.activate(TAMPERED[name], "operator:eve")
        assert here.active.digest == before
        last = (await here.events())[-1]
        assert (last["action"], last["outcome"]) == ("policy.refused", "refused")
        assert last["actor_chain"] == ["operator:eve"]


@pytest.mark.attack("A9")
async def test_only_newer_bundles_are_activated_and_rollback_is_explicit(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.start()
        first = here.active.digest
        assert here.desk.version == 1
        strict = await here.desk.activate(bundle(5, tiers(max_qubits=4)), "operator:a", "tighter")
        assert here.active.digest == strict.digest != first
        assert isinstance(await here.active.decide(FIVE_QUBITS), Deny)
        for version in (1, 4, 5):
            with pytest.raises(Refusal, match="not newer"):
                await here.desk.activate(bundle(version, tiers(max_qubits=3)), "operator:a")
        back = await here.desk.rollback(None, "operator:b", "too tight")
        assert back.digest == here.active.digest == first
        assert isinstance(await here.active.decide(FIVE_QUBITS), Allow)
        # having gone back opens no way for what is older than the newest
        with pytest.raises(Refusal, match="not newer than 5"):
            await here.desk.activate(bundle(3), "operator:a")
        forth = await here.desk.rollback(5, "operator:b")
        assert forth.digest == strict.digest
        for version in (4, 99):
            with pytest.raises(NotFound):
                await here.desk.rollback(version, "operator:b")
        done = [e for e in await here.events() if e["outcome"] == "success"]
        assert [e["action"] for e in done] == [
            "policy.activated", "policy.activated", "policy.rolled_back", "policy.rolled_back"
        ]  # fmt: skip
        assert [e["policy_digest"] for e in done] == [
            first, strict.digest, first, strict.digest
        ]  # fmt: skip
        assert "tighter" in done[1]["decision_reasons"]


@pytest.mark.attack("A2")
async def test_a_decision_is_of_the_bundle_in_force_at_that_moment(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        assert isinstance(await here.active.decide(FIVE_QUBITS), Deny)  # nothing is in force yet
        await here.start()
        yes = await here.active.decide(FIVE_QUBITS)
        assert isinstance(yes, Allow)
        new = await here.desk.activate(bundle(2, tiers(max_qubits=4)), "operator:a")
        no = await here.active.decide(FIVE_QUBITS)  # the very same question
        assert isinstance(no, Deny)
        assert yes.policy_digest != no.policy_digest == new.digest


@pytest.mark.attack("A9")
async def test_a_restart_keeps_what_was_in_force_whatever_the_directory_holds(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as here:
        await here.start()
        newest = await here.desk.activate(bundle(7), "operator:a")
        again = Office(here.store, FakeClock(), Rehearsal())
        await again.start(bundle(3))
        assert again.active.digest == newest.digest
        assert again.desk.version == 7


@pytest.mark.attack("A9")
async def test_the_first_bundle_is_the_shipped_one_or_signed(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        for files in (TAMPERED["unsigned"], TAMPERED["another key"]):
            with pytest.raises(Untrusted):
                await here.start(files)
        with pytest.raises(BundleInvalid, match="tests fail"):
            await here.start(bundle(3, tiers(max_shots=9)))
        await here.start(bundle(3, tiers(max_qubits=9)))
        assert here.desk.version == 3


@pytest.mark.attack("A9")
def test_unsigned_bundles_count_only_where_that_is_configured_and_named_insecure() -> None:
    unsigned = Bundle.of(TAMPERED["unsigned"])
    with pytest.raises(Untrusted):
        Trust(TRUSTED, "other").signer(unsigned)
    assert Trust(TRUSTED, "other", insecure_unsigned=True).signer(unsigned) == "unsigned"
    config = load(overrides={"policy.insecure_unsigned": True, "state_dir": "/x"}, environ={})
    assert any("insecure_unsigned" in warning for warning in config.warnings())


@pytest.mark.attack("A9")
async def test_a_replica_that_does_not_trust_the_signer_keeps_what_it_has(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.start()
        other = Office(here.store, FakeClock(), Rehearsal())
        await other.start()
        before = other.active.digest
        other.desk._trust = Trust({STRANGER.kid: STRANGER.public}, "no other")
        await here.desk.activate(bundle(2), "operator:a")
        with pytest.raises(Untrusted):
            await other.desk.catch_up()
        assert other.active.digest == before


async def test_of_two_activations_at_once_one_is_told_so(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.start()
        other = Office(here.store, FakeClock(), Rehearsal(cpu_seconds=2))
        try:
            await other.start()
            results = await asyncio.gather(
                here.desk.activate(bundle(2), "operator:a"),
                other.desk.activate(bundle(2, tiers(max_qubits=4)), "operator:b"),
                return_exceptions=True,
            )
            assert sum(isinstance(r, (Conflict, Refusal)) for r in results) == 1
            for desk in (here.desk, other.desk):
                await desk.catch_up()
            assert here.active.digest == other.active.digest
            assert here.desk.version == 2
        finally:
            await other.desk._rehearsal.close()


FAILING: dict[str, tuple[dict[str, bytes], str]] = {
    "its own tests fail": (tiers(max_shots=10), "tests fail"),
    "it has no tests": ({"tests/data.json": b"{}"}, "tests/data.json"),
    "it does not parse": ({"cryogate/limits.rego": b"package cryogate\n) ("}, "limits.rego"),
    "it allows everything": (
        {"cryogate/decision.rego": b'package cryogate\nimport rego.v1\ndecision := {"allow": true,'
         b'"reasons": [], "obligations": [], "violations": []}\n'}, "tests fail"
    ),
    "it lets stage simulator on hardware": (
        {"cryogate/limits.rego": SHIPPED["cryogate/limits.rego"].replace(
            b'input.agent.stage != "hardware"', b'input.agent.stage == "moon"')}, "tests fail"
    ),
    "it parses for ever": (
        {"cryogate/z.rego": b"package cryogate\ny := " + b"[" * 60 + b"]" * 60 + b"\n"}, "too long"
    ),
    "it loops": ({"cryogate/z.rego": LOOP.encode()}, "too long|too much memory"),
}  # fmt: skip


@pytest.mark.attack("A3", "A9")
@pytest.mark.slow
async def test_a_bundle_that_fails_or_loops_on_trial_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as here:
        await here.start()
        before = here.active.digest
        for name, (changes, reason) in FAILING.items():
            with pytest.raises(Refusal, match=reason):
                await here.desk.activate(bundle(2, changes), "operator:a")
            assert here.active.digest == before, name
        assert (await here.desk.activate(bundle(2), "operator:a")).version == 2


async def test_postgres_keeps_bundles_the_same_way(postgres_dsn: str) -> None:
    clock, rehearsal = FakeClock(), Rehearsal()
    store = PostgresStore(postgres_dsn, clock)
    await store.open()
    try:
        here = Office(store, clock, rehearsal)
        await here.start()
        await here.desk.activate(bundle(2), "operator:a")
        await here.desk.rollback(None, "operator:a")
        assert [r["version"] for r in await here.desk.history()] == [1, 2, 1]
    finally:
        await rehearsal.close()
        await store.close()
