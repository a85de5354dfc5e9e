"""Webhooks that a job, or its experiment, names: told once each, over real TLS, to listed hosts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.audit import ORIGIN, signer
from tests.support.governance import OWNER, World, hold_of, world
from tests.support.hooks import Receiver, receiving, verified
from tests.support.postgres import PostgresServer

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.domain.errors import Forbidden
from cryogate.domain.events import Event, Outcome
from cryogate.governance.experiments import ExperimentAdmin, ExperimentChange
from cryogate.governance.outbox import MAX_ATTEMPTS, Outbox
from cryogate.notify.hooks import HookChannel
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.hooks import Hooks
from cryogate.outbound.message_signatures import MessageSigner
from cryogate.ports.channels import Channel, Message
from cryogate.ports.clock import SystemClock
from cryogate.ports.store import UnitOfWork

HERE = networks(("127.0.0.0/8", "::1/128"))
HOUR = 3600


class People(Channel):
    """Somebody who is told things in between."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    @property
    def name(self) -> str:
        return "people"

    def wants(self, kind: str) -> bool:
        return True

    async def _send(self, message: Message) -> None:
        self.order.append(message.kind)


class Scene:
    """Jobs that end, an outbox that follows the log, and a receiver."""

    def __init__(self, made: World, log: AuditLog, receiver: Receiver) -> None:
        self.world, self.log, self.receiver = made, log, receiver
        self.signer = MessageSigner(Ed25519PrivateKey.generate())
        self.hooks = Hooks((receiver.host,))
        self.experiments = ExperimentAdmin(made.store, made.clock, self.hooks)
        self.people: list[str] = []

    def outbox(self, fetcher: Fetcher, hooks: Hooks | None = None) -> Outbox:
        hooks = hooks or self.hooks
        channels = [
            # signed in real time: the library that verifies has no other
            HookChannel(name, hooks, fetcher.send, lambda: self.signer, SystemClock().now_ms)
            for name in ("hook:job", "hook:experiment")
        ]
        return Outbox(
            self.world.store, self.world.clock, [*channels, People(self.people)], "https://c"
        )

    async def end(self, job_id: str, url: str = "") -> None:
        """A job that names ``url`` is over."""
        await self.world.reserve(hold_of(job_id))
        if url:
            await self.world.run("job_webhook", job_id=job_id, url=url)
        event = Event(
            timestamp_ms=self.world.clock.now_ms(), action="job.done", outcome=Outcome.SUCCESS,
            agent_id="a1", human_owner=OWNER, experiment_id="e1", job_id=job_id, shots=10,
            cost_actual_cents=7, currency="USD", decision_reasons=("canary-of-a-vendor",),
        )  # fmt: skip
        await self.world.store.commit(UnitOfWork((), (event,)))
        await self.log.sequence_now()

    async def settle(self, box: Outbox) -> None:
        await self.log.sequence_now()
        while await box.follow_once():
            pass
        await box.deliver_once()

    async def states(self, job_id: str) -> list[tuple[str, str, str | None]]:
        rows = await self.world.store.fetch("outbox_of", {"about": job_id})
        return [(str(r["channel"]), str(r["state"]), r["trouble"]) for r in rows]  # type: ignore[misc]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
async def scene(
    request: pytest.FixtureRequest, tmp_path: Path, receiver: Receiver
) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        dsn = None
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            dsn = await server.create()
            stack.push_async_callback(server.drop, dsn)
        made = await stack.enter_async_context(world(tmp_path, dsn=dsn))
        log = AuditLog(made.store, made.clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
        await log.start()
        stack.push_async_callback(log.close)
        yield Scene(made, log, receiver)


async def test_a_receiver_that_fails_first_is_told_in_the_end(scene: Scene) -> None:
    got, clock = scene.receiver.got, scene.world.clock
    async with Fetcher(allowed=HERE, ca_file=scene.receiver.ca) as fetcher:
        box = scene.outbox(fetcher)
        await box.place.begin()
        scene.receiver.answers = [503, 302]
        await scene.end("j1", f"{scene.receiver.url}/mine?token=t")
        await scene.settle(box)
        assert len(got) == 1
        await scene.settle(box)
        assert len(got) == 1, "not before its time"
        box = scene.outbox(fetcher)  # a fresh process on the same database
        for _ in range(3):
            clock.advance(s=HOUR)
            await scene.settle(box)
    assert [path for path, _, _ in got] == ["/mine?token=t"] * 3, "a redirect is not followed"
    assert len({headers["webhook-id"] for _, headers, _ in got}) == 1
    assert await scene.states("j1") == [("hook:job", "sent", None)]
    path, headers, body = got[-1]
    told = json.loads(body)
    assert told.pop("timestamp").startswith("20")
    assert told == {
        "type": "job.done",
        "data": {"job_id": "j1", "experiment_id": "e1", "agent_id": "a1", "state": "done"},
    }
    covered = verified(scene.signer.jwk, "POST", scene.receiver.url + path, headers, body)
    assert covered >= {"@method", "@target-uri", "content-digest", "webhook-id"}


async def test_job_and_experiment_each_hear_of_their_jobs_and_of_no_others(scene: Scene) -> None:
    async with Fetcher(allowed=HERE, ca_file=scene.receiver.ca) as fetcher:
        box = scene.outbox(fetcher)
        await box.place.begin()
        await scene.end("j1")
        await scene.settle(box)
        assert await scene.states("j1") == [], "nobody asked"
        change = ExperimentChange(webhook=f"{scene.receiver.url}/all")
        found = await scene.experiments.update("e1", change, "operator:bob")
        assert found.experiment.webhook.endswith("/all")
        await scene.end("j2", f"{scene.receiver.url}/mine")
        await scene.end("j3")
        await scene.settle(box)
        assert sorted((p, json.loads(b)["data"]["job_id"]) for p, _, b in scene.receiver.got) == [
            ("/all", "j2"), ("/all", "j3"), ("/mine", "j2"),
        ]  # fmt: skip
        # taken back before it was sent: dropped
        scene.receiver.answers = [503]
        await scene.end("j4")
        await scene.settle(box)
        await scene.experiments.update("e1", ExperimentChange(webhook=""), "operator:bob")
        scene.world.clock.advance(s=HOUR)
        await scene.settle(box)
        assert [state for _, state, _ in await scene.states("j4")] == ["dropped"]
    updates = [e for e in await scene.world.events() if e["action"] == "experiment.updated"]
    shown = json.dumps(updates)
    assert scene.receiver.host in shown
    assert "/all" not in shown, "the path may be a secret"


@pytest.mark.attack("P4")
@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)
async def test_a_listed_name_that_leads_inside_is_never_called(scene: Scene) -> None:
    async with Fetcher(ca_file=scene.receiver.ca) as fetcher:
        box = scene.outbox(fetcher)
        await box.place.begin()
        await scene.end("j1", f"{scene.receiver.url}/mine")
        await scene.settle(box)
    assert await scene.states("j1") == [("hook:job", "waiting", "hook:job: BlockedAddress")]
    assert scene.receiver.got == []


@pytest.mark.attack("P4")
@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)
async def test_a_host_that_is_no_longer_listed_is_not_called(scene: Scene) -> None:
    change = ExperimentChange(webhook="https://elsewhere.example.org/")
    with pytest.raises(Forbidden, match="may not lead there"):
        await scene.experiments.update("e1", change, "operator:bob")
    async with Fetcher(allowed=HERE, ca_file=scene.receiver.ca) as fetcher:
        box = scene.outbox(fetcher, Hooks(("another.example.org",)))
        await box.place.begin()
        await scene.end("j1", f"{scene.receiver.url}/mine")
        await scene.settle(box)
        assert [why for _, _, why in await scene.states("j1")] == ["hook:job: webhook_not_allowed"]
        for _ in range(MAX_ATTEMPTS):
            scene.world.clock.advance(s=2 * HOUR)
            await scene.settle(box)
    assert [state for _, state, _ in await scene.states("j1")] == ["dead"]
    assert scene.receiver.got == []
    actions = [event["action"] for event in await scene.world.events()]
    assert actions.count("webhook.undeliverable") == 1
    assert scene.people == [], "an agent's dead address is nobody's mail"
