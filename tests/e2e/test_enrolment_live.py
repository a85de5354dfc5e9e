"""Enrolment and rotation by the real client against a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.server import Server, server

from cryogate.client import (
    Client,
    Enroller,
    Identity,
    Operator,
    Refused,
    read_credential,
    write_credential,
)
from cryogate.client.identity import replace_credential


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # every key is old at once, so that clients have something to do
    with server(
        tmp_path_factory.mktemp("enrol") / "state",
        CLIENTS_KEY_MAX_AGE_DAYS="1", CLIENTS_KEY_WARNING_DAYS="1",
    ) as made:  # fmt: skip
        yield made


class Agent:
    """An agent with a credential file."""

    def __init__(self, world: Server, folder: Path, name: str) -> None:
        self.world, self.name, self.path = world, name, folder / f"{name}.json"
        identity = Identity.generate(name)
        world.agent(name, identity.public_jwk())
        world.experiment(f"exp-{name}", name)
        write_credential(self.path, identity, world.url, f"exp-{name}")

    @property
    def kid(self) -> str:
        return read_credential(self.path).identity.kid

    def registered(self) -> list[str]:
        found = self.world.operator.call("GET", "admin", "v1", "agents", self.name)
        return [key["kid"] for key in found["keys"]]


def test_a_key_in_a_file_replaces_itself(world: Server, tmp_path: Path) -> None:
    agent = Agent(world, tmp_path, "renewing")
    before = agent.kid
    with Client.from_file(agent.path) as client:
        assert client.backends()
        assert client.backends()
    assert agent.kid != before
    assert agent.registered() == [agent.kid]
    assert agent.path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["renewing.json"]


def test_a_rotation_that_broke_off_before_the_server_is_done_again(
    world: Server, tmp_path: Path
) -> None:
    agent = Agent(world, tmp_path, "before")
    held = read_credential(agent.path)
    pending = Identity.generate("before")
    replace_credential(agent.path, replace(held, next_identity=pending))
    assert Enroller(world.url).rotate(agent.path).kid == pending.kid
    assert agent.registered() == [agent.kid] == [pending.kid]


def test_a_rotation_that_broke_off_after_the_server_keeps_the_new_key(
    world: Server, tmp_path: Path
) -> None:
    agent = Agent(world, tmp_path, "after")
    held = read_credential(agent.path)
    fresh = Enroller(world.url).rotate(agent.path)
    replace_credential(agent.path, replace(held, next_identity=fresh))
    assert Enroller(world.url).rotate(agent.path).kid == fresh.kid
    assert read_credential(agent.path).next_identity is None
    with Client.from_file(agent.path) as client:
        assert client.backends()


def test_a_server_that_knows_neither_key_changes_nothing(world: Server, tmp_path: Path) -> None:
    agent = Agent(world, tmp_path, "neither")
    before = agent.kid
    world.operator.call("DELETE", "admin", "v1", "agents", "neither", "keys", before)
    with pytest.raises(Refused):
        Enroller(world.url).rotate(agent.path)
    assert agent.kid == before
    assert read_credential(agent.path).next_identity is None


def test_two_processes_that_rotate_one_file_leave_it_whole(world: Server, tmp_path: Path) -> None:
    agent = Agent(world, tmp_path, "twice")
    threads = [
        threading.Thread(target=Enroller(world.url).rotate, args=(agent.path,)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert agent.registered() == [agent.kid]


def test_a_code_enrols_a_machine_once(world: Server) -> None:
    body = {"agent_id": "coded", "owner": "ada@example.org", "ttl_s": 60}
    code = world.operator.call("POST", "admin", "v1", "invitations", body=body)["code"]
    identity = Enroller(world.url).by_code(code)
    assert identity.client_id == "coded"
    world.experiment("exp-coded", "coded")
    with Client(world.url, "coded", identity, "exp-coded") as client:
        assert client.token().key_ends_ms is not None
    with pytest.raises(Refused) as refused:
        Enroller(world.url).by_code(code)
    assert refused.value.code == "invalid_grant"
    assert code not in str(refused.value)


@pytest.mark.attack("T10")
def test_a_device_is_enrolled_under_the_name_that_a_person_chose(world: Server) -> None:
    codes = list[str]()
    pauses = list[float]()

    def operator_decides(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            world.operator.call(
                "POST", "admin", "v1", "device-enrolments", codes[0], "approve",
                body={"agent_id": "chosen", "owner": "ada@example.org"},
            )  # fmt: skip
        if len(pauses) == 3:
            world.experiment("exp-chosen", "chosen")

    enroller = Enroller(world.url, sleep=operator_decides)
    identity = enroller.by_device("asked", "exp-chosen", lambda code, *_: codes.append(code))
    assert identity.client_id == "chosen"
    # the fake pauses take no time, so the server asks for longer ones
    assert pauses == sorted(pauses)
    assert pauses[0] >= 5
    waiting = world.operator.call("GET", "admin", "v1", "device-enrolments")["items"]
    assert waiting == []


def test_a_device_that_is_denied_is_told_so(world: Server) -> None:
    codes = list[str]()

    def operator_decides(_: float) -> None:
        path = ("admin", "v1", "device-enrolments", codes[0], "deny")
        world.operator.call("POST", *path, body={})

    enroller = Enroller(world.url, sleep=operator_decides)
    with pytest.raises(Refused) as refused:
        enroller.by_device("nobody", "exp", lambda code, *_: codes.append(code))
    assert refused.value.code == "access_denied"


def test_an_operator_replaces_its_own_key(world: Server) -> None:
    # last in this file: the fixture's own connection has the old key
    path = world.state / "operator.jwk"
    before = read_credential(path).identity.kid
    Enroller(world.url).rotate(path)
    assert read_credential(path).identity.kid != before
    with Operator(world.url, read_credential(path).identity) as operator:
        assert operator.call("GET", "admin", "v1", "agents")["items"]
