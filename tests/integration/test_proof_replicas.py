"""DPoP proofs at several replicas over a real PostgreSQL: none is good twice (T5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.broker import PlainSealer
from tests.support.tokens import URL

from cryogate.broker.shared_proofs import SharedProofs
from cryogate.domain.errors import Unavailable
from cryogate.storage import PostgresStore
from cryogate.testing.clock import FakeClock
from cryogate.tokens.dpop import ProofVerifier, make_proof
from cryogate.tokens.errors import InvalidProof, NonceRequired, ReplayedProof
from cryogate.tokens.keys import SigningKey, generate
from cryogate.tokens.nonces import NonceSource, Place
from cryogate.tokens.replay import ReplayWindow


class Replica:
    """What one process knows of proofs."""

    def __init__(self, dsn: str, clock: FakeClock, mode: str) -> None:
        self.clock, self.nonces = clock, NonceSource()
        self.store = PostgresStore(dsn, clock)
        self.shared = SharedProofs(self.store, PlainSealer(), clock, self.nonces)
        self.proofs = ProofVerifier(
            clock_ms=clock.now_ms, replay=ReplayWindow(not_before_s=clock.now_ms() // 1000),
            nonces=self.nonces, require_nonce=True, shared=self.shared,
            prefer_shared=mode == "shared",
        )  # fmt: skip

    async def take(self, proof: str) -> str:
        found = self.proofs.verify(proof, method="POST", url=URL)
        await self.proofs.settle(found)
        return found.jkt

    async def nonce(self, proof: str) -> str:
        with pytest.raises(NonceRequired) as caught:
            await self.take(proof)
        return caught.value.nonce


class Deployment:
    """Two replicas on one database, and a client."""

    def __init__(self, dsn: str, mode: str) -> None:
        self.clock, self.dsn, self.key = FakeClock(), dsn, generate()
        self.a, self.b = Replica(dsn, self.clock, mode), Replica(dsn, self.clock, mode)

    async def open(self) -> None:
        for replica in (self.a, self.b):
            await replica.store.open()
            await replica.shared.start()

    async def close(self) -> None:
        for replica in (self.a, self.b):
            await replica.store.close()

    def proof(self, nonce: str | None = None, key: SigningKey | None = None) -> str:
        now = self.clock.now_ms() // 1000
        return make_proof(key or self.key, "POST", URL, now=now, nonce=nonce)

    async def crash(self) -> None:
        """What PostgreSQL does to tables that it does not log."""
        import asyncpg

        connection = await asyncpg.connect(self.dsn)
        await connection.execute("TRUNCATE proof_place, proof_uses")
        await connection.close()


@pytest.fixture
async def shared(postgres_dsn: str) -> AsyncIterator[Deployment]:
    made = Deployment(postgres_dsn, "shared")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def replica(postgres_dsn: str) -> AsyncIterator[Deployment]:
    made = Deployment(postgres_dsn, "replica")
    await made.open()
    yield made
    await made.close()


@pytest.mark.attack("T5")
async def test_a_shared_nonce_is_good_anywhere_and_its_proof_once(shared: Deployment) -> None:
    nonce = await shared.a.nonce(shared.proof())
    for first, second in ((shared.a, shared.b), (shared.b, shared.a), (shared.a, shared.a)):
        proof = shared.proof(nonce)
        assert await first.take(proof) == shared.key.kid
        with pytest.raises(ReplayedProof):
            await second.take(proof)


@pytest.mark.attack("T5")
async def test_of_many_at_once_at_both_replicas_one_is_taken(shared: Deployment) -> None:
    proof = shared.proof(await shared.a.nonce(shared.proof()))
    tries = [replica.take(proof) for replica in (shared.a, shared.b) * 8]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(answer == shared.key.kid for answer in answers) == 1
    assert sum(isinstance(answer, ReplayedProof) for answer in answers) == 15


@pytest.mark.attack("T5")
async def test_a_replicas_own_nonce_is_good_there_only(replica: Deployment) -> None:
    nonce = await replica.a.nonce(replica.proof())
    proof = replica.proof(nonce)
    await replica.a.take(proof)
    # the other replica takes neither the proof nor the nonce, and says how to go on anywhere
    common = await replica.b.nonce(proof)
    for target in (replica.a, replica.b):
        assert target.nonces.place(common, replica.clock.now_ms() // 1000) is Place.SHARED
    again = replica.proof(common)
    await replica.a.take(again)
    with pytest.raises(ReplayedProof):
        await replica.b.take(again)


@pytest.mark.attack("T5")
async def test_a_restarted_replica_takes_nothing_that_was_used_before(replica: Deployment) -> None:
    own = replica.proof(await replica.a.nonce(replica.proof()))
    await replica.a.take(own)
    common = replica.proof(await replica.b.nonce(own))
    await replica.a.take(common)
    restarted = Replica(replica.dsn, replica.clock, "replica")
    await restarted.store.open()
    await restarted.shared.start()
    with pytest.raises(NonceRequired):
        await restarted.take(own)
    with pytest.raises(ReplayedProof):
        await restarted.take(common)
    await restarted.store.close()


@pytest.mark.attack("T5")
async def test_a_database_that_forgot_the_uses_forgot_its_nonces_too(shared: Deployment) -> None:
    proof = shared.proof(await shared.a.nonce(shared.proof()))
    await shared.a.take(proof)
    await shared.crash()
    fresh = await shared.b.nonce(proof)  # never taken again, and told how to go on
    await shared.b.take(shared.proof(fresh))
    stale = await shared.a.nonce(shared.proof(fresh))  # the other one notices when it asks
    later = await shared.a.nonce(shared.proof(stale))
    await shared.a.take(shared.proof(later))
    await shared.b.take(shared.proof(later))
    with pytest.raises(InvalidProof):
        await shared.a.take(proof)


@pytest.mark.attack("T5", "T12")
async def test_a_shared_nonce_ends_by_every_clock(shared: Deployment) -> None:
    nonce = await shared.a.nonce(shared.proof())
    shared.clock.advance(59_000)
    await shared.b.take(shared.proof(nonce))
    shared.clock.advance(1_000)
    renewed = await shared.b.nonce(shared.proof(nonce))
    await shared.a.take(shared.proof(renewed))


async def test_uses_are_swept_once_they_are_dead(shared: Deployment) -> None:
    import asyncpg

    from cryogate.ports.store import Statement, UnitOfWork

    await shared.a.take(shared.proof(await shared.a.nonce(shared.proof())))
    for wait_s, left in ((100, 1), (100, 0)):
        shared.clock.advance(wait_s * 1000)
        done = Statement("proof_sweep", {"before_ms": shared.clock.now_ms()}, rows=None)
        await shared.a.store.commit(UnitOfWork((done,)))
        connection = await asyncpg.connect(shared.dsn)
        assert await connection.fetchval("SELECT COUNT(*) FROM proof_uses") == left
        await connection.close()


@pytest.mark.attack("T5")
async def test_without_an_answer_of_the_store_no_proof_is_taken(shared: Deployment) -> None:
    proof = shared.proof(await shared.a.nonce(shared.proof()))
    await shared.a.store.close()
    with pytest.raises(Unavailable):
        await shared.a.take(proof)
    await shared.a.store.open()


def test_nonces_of_nobody_are_nobodys() -> None:
    source, other = NonceSource(), NonceSource()
    now = 1_800_000_000
    made = source.fresh(now)
    assert source.place(made, now) is Place.HERE
    assert other.place(made, now) is Place.UNKNOWN
    for junk in ("", "x", made[:-1], made + "A", "A" * len(made), made[:-1] + "-"):
        if junk != made:
            assert source.place(junk, now) is Place.UNKNOWN
    key = bytes(32)
    source.share(key, b"12345678")
    other.share(key, b"12345678")
    assert other.place(source.fresh(now), now) is Place.ELSEWHERE
    assert other.place(source.fresh(now, shared=True), now) is Place.SHARED
    assert other.place(source.fresh(now, shared=True), now - 6) is Place.ELSEWHERE
    with pytest.raises(ValueError, match="not a key"):
        source.share(b"short", b"12345678")
