"""Who exists, and who says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.broker import World

from cryogate.broker.client_keys import MAX_KEYS
from cryogate.domain.agents import Role, Stage
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.tokens.keys import generate

NEW: dict[str, Any] = {
    "agent_id": "a2", "owner": "bob@example.com", "tier": "standard", "actor": "root"
}  # fmt: skip


async def test_an_agents_life(each_world: World) -> None:
    registry = each_world.registry
    made = await registry.create_agent(**NEW, attributes={"model": "m-1", "sandboxed": True})
    assert made == await registry.agent("a2")
    assert made.stage is Stage.SIMULATOR
    changed = await registry.update_agent(
        "a2", actor="root", stage=Stage.SIMULATOR, active=False, tier="gold",
        roles=[Role.READ_RAW], attributes={},
    )  # fmt: skip
    assert changed == await registry.agent("a2")
    assert not changed.active
    assert await registry.update_agent("a2", actor="root") == changed
    assert [a.agent_id for a in await registry.agents()] == ["a1", "a2"]
    assert [a.agent_id for a in await registry.agents("a1")] == ["a2"]
    created = (await each_world.events("agent.created"))[-1]
    [updated] = await each_world.events("agent.updated")
    assert created["human_owner"] == "bob@example.com"
    assert updated["actor_chain"] == ["root"]
    assert any(reason.startswith("tier: ") for reason in updated["decision_reasons"])


async def test_no_command_takes_an_agent_to_hardware(world: World) -> None:
    with pytest.raises(Conflict, match="promote"):
        await world.registry.update_agent("a1", actor="root", stage=Stage.HARDWARE)
    assert (await world.registry.agent("a1")).stage is Stage.SIMULATOR


async def test_an_agent_is_never_given_a_humans_role(world: World) -> None:
    with pytest.raises(Malformed, match="humans"):
        await world.registry.create_agent(**NEW, roles=[Role.ADMIN_EXPERIMENT])
    with pytest.raises(Malformed):
        await world.registry.update_agent("a1", actor="root", roles=[Role.ADMIN_EXPERIMENT])


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": "A2"}, {"agent_id": "a2 "}, {"agent_id": "\u0430-cyrillic"}, {"agent_id": ""},
        {"agent_id": "operator:root"}, {"owner": "Bob"}, {"owner": ""}, {"owner": "b\nc"},
        {"owner": "a" * 129}, {"tier": "Gold"}, {"attributes": {"A": 1}},
        {"attributes": {"a": "x" * 257}}, {"attributes": {"a": 1.5}}, {"attributes": {"a": 2**53}},
        {"attributes": {"model_confidence": 101}}, {"attributes": {"model_confidence": True}},
        {"attributes": {"model": 6}}, {"attributes": {"sandboxed": "true"}},
        {"attributes": {"a": ["x"]}}, {"attributes": {f"a{n}": n for n in range(33)}},
        {"jwk": {"kty": "oct", "k": "AAAA"}}, {"jwk": generate().private_jwk()},
    ],
)  # fmt: skip
async def test_names_and_values_of_another_form(world: World, change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        await world.registry.create_agent(**{**NEW, **change})
    with pytest.raises(NotFound):
        await world.registry.agent("a2")


async def test_names_are_taken_once(each_world: World) -> None:
    with pytest.raises(Conflict):
        await each_world.registry.create_agent(**{**NEW, "agent_id": "a1"})
    with pytest.raises(Conflict):
        await each_world.registry.create_operator(
            operator_id="root", roles=["admin"], jwk=generate().public.jwk(), actor="root"
        )


async def test_a_key_is_one_clients(each_world: World) -> None:
    world = each_world
    jwk = world.operator_key.public.jwk()
    with pytest.raises(Conflict):
        await world.registry.create_agent(**NEW, jwk=jwk)
    with pytest.raises(NotFound):
        await world.registry.agent("a2")
    for key in (jwk, world.agent_key.public.jwk()):
        with pytest.raises(Conflict):
            await world.client_keys.add("a1", key, actor="root")


async def test_keys_come_and_go(each_world: World) -> None:
    keys, world = each_world.client_keys, each_world
    added = await keys.add("a1", generate().public.jwk(), actor="root")
    assert {k.kid for k in await keys.list("a1")} == {world.agent_key.kid, added.kid}
    await keys.remove("a1", added.kid, actor="root")
    with pytest.raises(NotFound):
        await keys.remove("a1", added.kid, actor="root")
    assert [k.kid for k in await keys.list("a1")] == [world.agent_key.kid]
    for _ in range(MAX_KEYS - 1):
        await keys.add("a1", generate().public.jwk(), actor="root")
    with pytest.raises(Conflict):
        await keys.add("a1", generate().public.jwk(), actor="root")
    await keys.add("operator:root", generate().public.jwk(), actor="root")
    for name in ("nobody", "operator:nobody"):
        with pytest.raises(NotFound):
            await keys.add(name, generate().public.jwk(), actor="root")
    [removed] = await world.events("key.removed")
    assert removed["decision_reasons"] == [f"kid {added.kid}"]


async def test_operators(each_world: World) -> None:
    registry = each_world.registry
    await registry.create_operator(
        operator_id="eve", roles=["auditor"], jwk=generate().public.jwk(), actor="root"
    )
    changed = await registry.update_operator("eve", actor="root", active=False, roles=["approver"])
    assert changed == await registry.operator("eve")
    assert await registry.update_operator("eve", actor="root") == changed
    assert [o.operator_id for o in await registry.operators()] == ["eve", "root"]
    for roles in ([], ["god"]):
        with pytest.raises(Malformed):
            await registry.update_operator("eve", actor="root", roles=roles)
    with pytest.raises(NotFound):
        await registry.update_operator("nobody", actor="root", active=True)
