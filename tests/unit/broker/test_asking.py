"""Ways to ask for a token: plain parameters, `resource`, and more than policy allows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker import ISSUER, TOKEN_URL, World
from tests.support.policy import AGENT, GRANT, NOW_MS
from tests.support.policy import EXPERIMENT as BELL

from cryogate.broker.issue import TokenResponse
from cryogate.broker.oauth import OAuthError
from cryogate.domain.decisions import Violation
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.ports.policy import Caps, Question
from cryogate.testing.policy import WIDE, allow, deny

EXPERIMENT = {"type": "qpu_experiment", "experiment_id": "e1"}


async def ask(world: World, **fields: str) -> TokenResponse:
    form = world.form(**fields)
    if "authorization_details" not in fields:
        del form["authorization_details"]
    return await world.service.token(form, world.proof(), TOKEN_URL)


async def test_plain_parameters_ask_for_the_same(world: World) -> None:
    bounds = {
        "max_shots": 100, "max_total_shots": 500, "max_jobs": 3, "max_cost_cents": 7,
        "ttl_s": 60, "results": "aggregates", "allowed_backends": ["local:aer", "local:null"],
        "allowed_gate_set": ["cx", "h"],
    }  # fmt: skip
    rich = await world.token({**EXPERIMENT, **bounds})
    plain = await ask(
        world,
        experiment_id="e1",
        **{k: " ".join(v) if isinstance(v, list) else str(v) for k, v in bounds.items()},
    )
    assert plain.authorization_details == rich.authorization_details
    assert plain.expires_in == rich.expires_in == 60
    assert plain.narrowed == ()


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "fields",
    [{"max_shots": "1e3"}, {"max_shots": "0x10"}, {"max_shots": "-1"}, {"max_shots": "+1"},
     {"max_shots": "010"}, {"max_shots": "1.0"}, {"max_shots": ""}, {"max_shots": "\uff11"},
     {"max_shots": "9" * 40}, {"ttl_s": "0"}, {"ttl_s": "3601"}, {"results": "everything"},
     {"allowed_backends": ""}, {"allowed_backends": "local:aer,local:null"},
     {"allowed_backends": "local:aer  local:null"}, {"experiment_id": "E1"}],
)  # fmt: skip
async def test_plain_parameters_are_as_strict(world: World, fields: dict[str, str]) -> None:
    with pytest.raises(OAuthError) as refused:
        await ask(world, **{"experiment_id": "e1", **fields})
    assert refused.value.error == "invalid_authorization_details"


async def test_one_way_of_asking_at_a_time(world: World) -> None:
    with pytest.raises(OAuthError) as refused:
        await ask(world, max_shots="1", authorization_details=json.dumps([EXPERIMENT]))
    assert refused.value.error == "invalid_request"
    for fields in ({}, {"max_shots": "1"}):
        with pytest.raises(OAuthError):
            await ask(world, **fields)


@pytest.mark.attack("A6")
@pytest.mark.parametrize("name", ["approved", "price", "owner", "exp_params", "audience"])
async def test_other_parameters_are_refused(world: World, name: str) -> None:
    with pytest.raises(OAuthError) as refused:
        await ask(world, experiment_id="e1", **{name: "1"})
    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize("resource", [ISSUER, ISSUER + "/", ISSUER + "/v1", ISSUER + "/mcp"])
async def test_a_resource_of_ours_is_agreed_to(world: World, resource: str) -> None:
    answer = await ask(world, experiment_id="e1", resource=resource)
    assert world.gateway.verify(answer.access_token).audience == "qpu-gateway"


@pytest.mark.attack("T3")
@pytest.mark.parametrize(
    "resource",
    ["https://elsewhere.example", ISSUER + ".evil.example/v1", ISSUER + "/v1#x", ISSUER + "/v1?x",
     ISSUER + "/v1/../admin/v1", ISSUER + "/%61dmin/v1", ISSUER + "/admin/v1", "", "/v1",
     ISSUER + "/v1\n", ISSUER.upper()],
)  # fmt: skip
async def test_no_token_for_a_resource_of_somebody_else(world: World, resource: str) -> None:
    with pytest.raises(OAuthError) as refused:
        await ask(world, experiment_id="e1", resource=resource)
    assert refused.value.error == "invalid_target"


@pytest.mark.attack("T3", "A8")
async def test_an_operators_resource_is_the_admin_api(world: World) -> None:
    async def admin(resource: str) -> TokenResponse:
        form = world.admin_form(resource=resource)
        return await world.service.token(form, world.proof(world.operator_key), TOKEN_URL)

    await admin(ISSUER + "/admin/v1")
    with pytest.raises(OAuthError) as refused:
        await admin(ISSUER + "/v1")
    assert refused.value.error == "invalid_target"


def caps(excess: Any) -> Caps:
    fields = {name: getattr(WIDE, name) for name in WIDE.__struct_fields__}
    return Caps(**fields, excess=excess)


MORE = {
    **EXPERIMENT, "max_shots": 5000, "max_jobs": 10, "ttl_s": 3600,
    "allowed_gate_set": ["cx", "h", "ccx"],
}  # fmt: skip


async def test_more_than_policy_allows_is_narrowed_where_policy_says_so(world: World) -> None:
    world.policy.bounds = caps("narrow")
    answer = await world.token(MORE)
    [granted] = answer.authorization_details
    assert granted["max_shots"] == 1000
    assert granted["max_jobs"] == 10
    assert granted["allowed_gate_set"] == ("cx", "h")
    assert answer.expires_in == 900
    told = {item["limit"]: (item["allowed"], item["actual"]) for item in answer.narrowed}
    assert told == {
        "max_shots": (1000, 5000), "ttl_s": (900, 3600),
        "allowed_gate_set": (("cx", "h"), ("ccx",)),
    }  # fmt: skip
    # Policy is asked about what will be granted, not about the wish.
    question = world.policy.asked[-1]
    assert question.grant is not None
    assert question.grant.max_shots == 1000
    [event] = await world.events("token.issued")
    assert "narrowed max_shots" in event["decision_reasons"]


async def test_more_than_policy_allows_is_refused_where_it_does_not(world: World) -> None:
    world.policy.bounds = caps("refuse")
    world.policy.script = lambda question: (
        deny(Violation("tier.max_shots", 1000, question.grant.max_shots, "ask for at most 1000"))
        if question.grant is not None and question.grant.max_shots > 1000
        else allow()
    )
    with pytest.raises(OAuthError) as refused:
        await world.token(MORE)
    assert [v.limit for v in refused.value.violations] == ["tier.max_shots"]
    assert (await world.token({**EXPERIMENT, "max_shots": 1000})).narrowed == ()


async def test_what_the_budget_leaves_is_told_too(world: World) -> None:
    await world.add_experiment("small", limit_shots=50, limit_cents=5)
    answer = await world.token(
        {"type": "qpu_experiment", "experiment_id": "small", "max_total_shots": 100}
    )
    assert [item["limit"] for item in answer.narrowed] == ["max_total_shots"]


@pytest.mark.parametrize("excess", [None, "refuse", "narrow"])
async def test_the_tier_says_what_becomes_of_more(tmp_path: Path, excess: str | None) -> None:
    room = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), room)
    tiers = room / "cryogate_data" / "tiers" / "data.json"
    data = json.loads(tiers.read_text())
    if excess is not None:
        data["sandbox"]["excess"] = excess
    tiers.write_text(json.dumps(data))
    engine = RegorusEngine(Bundle.load(room))
    found = await engine.caps(
        Question(action="token:issue", now_ms=NOW_MS, agent=AGENT, experiment=BELL, grant=GRANT)
    )
    assert isinstance(found, Caps)
    assert found.excess == (excess or "refuse")
