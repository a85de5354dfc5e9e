"""Issuing: what is granted, what is refused, and what remains of either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.broker import ISSUER, RESOURCE, TOKEN_URL, World, sqlite_world

from cryogate.broker.details import Asked
from cryogate.broker.issue import TokenService
from cryogate.broker.oauth import OAuthError
from cryogate.domain.decisions import Obligation, ObligationKind, Violation
from cryogate.domain.errors import Unavailable
from cryogate.domain.experiments import Classification, Experiment, Release
from cryogate.governance.denials import RecentDenials
from cryogate.ports.policy import GrantFacts
from cryogate.testing.policy import WIDE, allow, deny
from cryogate.tokens.dpop import token_hash
from cryogate.tokens.errors import WrongToken
from cryogate.tokens.keys import generate

ASKED = {"type": "qpu_experiment", "experiment_id": "e1"}


async def _refused(world: World, details: Any = None, **changes: str) -> OAuthError:
    with pytest.raises(OAuthError) as caught:
        await world.token(details, **changes)
    return caught.value


async def test_a_token_end_to_end_on_each_database(each_world: World) -> None:
    world = each_world
    answer = await world.token({**ASKED, "max_shots": 7, "results": "aggregates"})
    assert answer.token_type == "DPoP"
    assert answer.expires_in == 300
    [granted] = answer.authorization_details
    assert granted["max_shots"] == 7
    assert granted["results"] == "aggregates"
    proof = world.proof(htm="GET", htu=RESOURCE, ath=token_hash(answer.access_token))
    held, _ = world.guard.check(
        [f"DPoP {answer.access_token}"], [proof], method="GET", url=RESOURCE
    )
    row = await world.store.fetch_one("token_by_id", {"token_id": held.token_id})
    assert row is not None
    assert (row["agent_id"], row["expires_ms"]) == ("a1", held.expires_ms)
    assert row["confirmation"] == world.agent_key.kid
    assert row["max_total_shots"] == granted["max_total_shots"]
    [event] = await world.events("token.issued")
    assert event["token_id"] == held.token_id
    assert event["human_owner"] == "alice@example.com"
    assert event["token_ttl_s"] == 300
    assert answer.access_token not in json.dumps(event)


async def test_an_operators_token_is_for_the_admin_api_only(each_world: World) -> None:
    world = each_world
    answer = await world.admin_token()
    held = world.admin.verify(answer.access_token)
    assert held.grant is None
    assert (held.subject, held.scope) == ("operator:root", frozenset({"admin"}))
    with pytest.raises(Exception, match="audience"):
        world.gateway.verify(answer.access_token)
    agent = await world.token()
    with pytest.raises(Exception, match="audience"):
        world.admin.verify(agent.access_token)


async def test_the_proofs_key_need_not_be_the_clients(world: World) -> None:
    other = generate()
    answer = await world.service.token(world.form(), world.proof(other), TOKEN_URL)
    assert world.gateway.verify(answer.access_token).jkt == other.kid


@pytest.mark.attack("A8")
async def test_agents_get_no_admin_scope_and_operators_no_grant(world: World) -> None:
    assert (await _refused(world, scope="admin")).error == "invalid_scope"
    for form in (
        world.admin_form(scope=""),
        world.admin_form(scope="admin qpu"),
        {**world.admin_form(), "authorization_details": json.dumps([ASKED])},
    ):
        with pytest.raises(OAuthError):
            await world.service.token(form, world.proof(world.operator_key), TOKEN_URL)


@pytest.mark.attack("A6")
@pytest.mark.parametrize(
    "extra",
    [{"approved": True}, {"price": 0}, {"cost_cents": 0}, {"owner": "me"}, {"agent_id": "a2"},
     {"exp_params": {}}, {"roles": ["qpu.read-raw"]}, {"max_shot": 1}],
)  # fmt: skip
async def test_surplus_members_are_refused(world: World, extra: dict[str, Any]) -> None:
    assert (await _refused(world, {**ASKED, **extra})).error == "invalid_authorization_details"


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "text",
    [
        "", "null", "{}", "[]", "[[]]", "NaN", "[1]", json.dumps(ASKED),
        json.dumps([ASKED, ASKED]), json.dumps([ASKED])[:-1],
        '[{"type":"qpu_experiment","experiment_id":"e1","experiment_id":"e1"}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":1e3}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":"1"}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":true}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":null}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":-1}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":9007199254740992}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","max_shots":NaN}]',
        '[{"type":"qpu_experiment","experiment_id":"E1"}]',
        '[{"type":"qpu_experiment","experiment_id":"\u04351"}]',
        '[{"type":"qpu_experiment","experiment_id":"e1 "}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","allowed_backends":["LOCAL:aer"]}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","allowed_backends":["*"]}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","allowed_backends":"local:aer"}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","results":"RAW"}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","ttl_s":0}]',
        '[{"type":"qpu_experiment","experiment_id":"e1","ttl_s":3601}]',
        '[{"type":"other","experiment_id":"e1"}]',
        '[{"experiment_id":"e1"}]',
        '[{"type":"qpu_experiment","experiment_id":"e1"}]' + " " * 9000,
        "[" * 5000,
        '["\ud800"]',
    ],
)  # fmt: skip
async def test_details_of_another_form_are_refused(world: World, text: str) -> None:
    assert (await _refused(world, text)).error == "invalid_authorization_details"
    assert not world.policy.asked


async def test_what_is_left_out_comes_from_policy_within_the_experiment(world: World) -> None:
    await world.add_experiment(
        "e2", limit_cents=70, limit_shots=900, release="aggregates",
        allowed_backends='["local:null"]',
    )  # fmt: skip
    [granted] = (await world.token({**ASKED, "experiment_id": "e2"})).authorization_details
    assert granted == {
        "type": "qpu_experiment", "experiment_id": "e2", "allowed_backends": ["local:null"],
        "allowed_gate_set": ["cx", "h", "rz", "x"], "max_shots": 1000, "max_total_shots": 900,
        "max_jobs": 20, "max_cost_cents": 70, "results": "aggregates", "ttl_s": 300,
    } or granted["allowed_backends"] == ("local:null",)  # fmt: skip
    assert (granted["max_cost_cents"], granted["max_total_shots"]) == (70, 900)


async def test_more_than_the_experiment_has_is_told_all_at_once(world: World) -> None:
    await world.add_experiment("e2", release="aggregates", allowed_backends='["local:null"]')
    refusal = await _refused(world, {
        **ASKED, "experiment_id": "e2", "results": "raw",
        "allowed_backends": ["local:aer", "local:null"],
    })  # fmt: skip
    assert {v.limit for v in refusal.violations} == {"allowed_backends", "results"}
    assert refusal.document()["violations"]


@pytest.mark.attack("A1")
async def test_an_experiment_that_is_not_the_agents_looks_like_none(world: World) -> None:
    await world.add_experiment("e2", allowed_agents='["a2"]')
    answers = [
        await _refused(world, {**ASKED, "experiment_id": name}) for name in ("e2", "nothing")
    ]
    assert answers[0].document() == answers[1].document()


async def test_closed_and_not_yet_open_experiments(world: World) -> None:
    now_ms = world.clock.now_ms()
    await world.add_experiment("later", opens_ms=now_ms + 1)
    await world.add_experiment("over", closes_ms=now_ms)
    for name in ("later", "over"):
        refusal = await _refused(world, {**ASKED, "experiment_id": name})
        assert "not open" in refusal.description
    world.clock.advance(1)
    await world.token({**ASKED, "experiment_id": "later"})


@pytest.mark.attack("T12")
async def test_no_token_outlives_its_experiment(world: World) -> None:
    await world.add_experiment("e2", closes_ms=world.clock.now_ms() + 10_500)
    answer = await world.token({**ASKED, "experiment_id": "e2"})
    assert answer.expires_in == 10
    world.clock.advance(s=10)
    assert "not open" in (await _refused(world, {**ASKED, "experiment_id": "e2"})).description


async def test_lives(world: World) -> None:
    assert (await world.token({**ASKED, "ttl_s": 5})).expires_in == 5
    assert (await world.token({**ASKED, "ttl_s": 3600})).expires_in == 3600
    world.policy.bounds = GrantFacts(
        **{**{f: getattr(WIDE, f) for f in WIDE.__struct_fields__}, "ttl_s": 60}
    )
    assert (await world.token()).expires_in == 60


@pytest.mark.attack("A3")
async def test_only_an_allow_is_a_yes(world: World) -> None:
    limit = Violation("max_shots", 5, 10, "ask for at most 5")
    world.policy.script = deny(limit, reasons=("too_much",))
    refusal = await _refused(world)
    assert (refusal.error, refusal.violations) == ("invalid_authorization_details", (limit,))
    world.policy.script = RuntimeError("engine fell over")
    assert (await _refused(world)).error == "unauthorized_client"
    world.policy.script = lambda question: True  # type: ignore[return-value, assignment]
    assert (await _refused(world)).error == "unauthorized_client"
    world.policy.script = lambda question: "allow"  # type: ignore[return-value, assignment]
    assert "policy_unavailable" in (await _refused(world)).description
    assert not await world.store.fetch(
        "tokens_by_agent", {"agent_id": "a1", "before_ms": 2**60, "limit": 9}
    )


@pytest.mark.attack("A3")
async def test_a_yes_without_bounds_is_no_yes(world: World) -> None:
    world.policy.bounds = None
    with pytest.raises(Unavailable):
        await world.token()
    world.policy.script = deny(reasons=("stage",))
    assert "stage" in (await _refused(world)).description


async def test_obligations_narrow_or_refuse(world: World) -> None:
    for kind, results in (
        (ObligationKind.AGGREGATES_ONLY, "aggregates"), (ObligationKind.NO_RESULTS, "none")
    ):  # fmt: skip
        world.policy.script = allow(Obligation(kind, "because"))
        [granted] = (await world.token({**ASKED, "results": "raw"})).authorization_details
        assert granted["results"] == results
        [granted] = (await world.token({**ASKED, "results": "none"})).authorization_details
        assert granted["results"] == "none"
    world.policy.script = allow(Obligation(ObligationKind.APPROVAL, "ask a human"))
    assert "ask a human" in (await _refused(world)).description


async def test_policy_sees_what_will_be_granted(world: World) -> None:
    await world.token({**ASKED, "max_jobs": 3})
    [question] = world.policy.asked
    assert question.grant is not None
    assert (question.grant.max_jobs, question.grant.max_shots) == (3, 1000)
    assert question.experiment is not None
    assert question.experiment.budget_left_cents == 10_000
    assert question.agent.roles == ("qpu.submit-only",)


async def test_an_inactive_agent_gets_nothing(world: World) -> None:
    await world.registry.update_agent("a1", actor="root", active=False)
    assert (await _refused(world)).error == "unauthorized_client"
    await world.registry.update_agent("a1", actor="root", active=True)
    await world.token()


async def test_refusals_of_known_clients_are_events(world: World) -> None:
    await _refused(world, {**ASKED, "experiment_id": "e9"})
    await _refused(world, client_assertion=world.assertion(key=generate()))
    await _refused(world, client_assertion=world.assertion(key=generate()))
    await _refused(world, client_assertion=world.assertion(key=generate(), client_id="nobody"))
    events = await world.events("token.refused")
    assert [e["decision_reasons"][0] for e in events] == [
        "invalid_authorization_details", "invalid_client",
    ]  # fmt: skip
    assert all(e["agent_id"] == "a1" and e["outcome"] == "refused" for e in events)
    world.clock.advance(s=1)
    await _refused(world, client_assertion=world.assertion(key=generate()))
    assert len(await world.events("token.refused")) == 3


async def test_other_grant_types_and_surplus_parameters(world: World) -> None:
    assert (await _refused(world, grant_type="password")).error == "unsupported_grant_type"
    for surplus in ({"username": "x"}, {"client_secret": "x"}, {"access_token": "x"}):
        assert (await _refused(world, **surplus)).error == "invalid_request"


@pytest.mark.attack("T5")
async def test_no_token_without_a_proof_for_this_endpoint(world: World) -> None:
    for proof in (
        None, "", "x.y.z", world.proof(htm="GET"), world.proof(htu=ISSUER + "/oauth2/revoke"),
        world.proof(now=world.now_s - 61), world.proof(ath=token_hash("t")),
    ):  # fmt: skip
        with pytest.raises(OAuthError) as caught:
            await world.service.token(world.form(), proof, TOKEN_URL)
        assert caught.value.error == "invalid_dpop_proof"
    proof = world.proof()
    await world.service.token(world.form(), proof, TOKEN_URL)
    with pytest.raises(OAuthError):
        await world.service.token(world.form(), proof, TOKEN_URL)


async def test_a_nonce_is_asked_for_in_the_header_and_is_no_event(world: World) -> None:
    with pytest.raises(OAuthError) as caught:
        await world.service.token(world.form(), world.proof(now=world.now_s + 9), TOKEN_URL)
    assert caught.value.error == "use_dpop_nonce"
    nonce = caught.value.headers()["dpop-nonce"]
    await world.service.token(
        world.form(), world.proof(now=world.now_s + 9, nonce=nonce), TOKEN_URL
    )
    assert not await world.events("token.refused")


async def test_old_assertions_are_swept(world: World) -> None:
    await world.token()
    world.clock.advance(s=3600)
    world.ticks.ms += 3_600_000
    await world.token()
    assert len(await world.store.fetch("broker_test_assertions", {})) == 1


_COUNT = st.integers(0, 2**53 - 1)
_ASKED = st.fixed_dictionaries(
    {},
    optional={
        "allowed_backends": st.lists(st.sampled_from(["local:aer", "local:null"]), max_size=3),
        "allowed_gate_set": st.lists(st.sampled_from(["h", "cx", "t", "rx"]), max_size=3),
        "max_shots": _COUNT, "max_total_shots": _COUNT, "max_jobs": _COUNT,
        "max_cost_cents": _COUNT, "results": st.sampled_from(Release),
    },
)  # fmt: skip


@given(asked=_ASKED, left=st.tuples(_COUNT, _COUNT), caps=st.tuples(_COUNT, _COUNT))
def test_a_grant_is_never_wider_than_its_request(
    asked: dict[str, Any], left: tuple[int, int], caps: tuple[int, int]
) -> None:
    experiment = Experiment(
        "e1", "p", Classification.POC, "o", "", 0, 1, False, frozenset({"a1"}),
        frozenset({"local:aer"}), Release.AGGREGATES, 0,
    )  # fmt: skip
    asked = {k: tuple(v) if isinstance(v, list) else v for k, v in asked.items()}
    bounds = GrantFacts(
        allowed_backends=("local:aer", "ibm:x"), allowed_gate_set=("h",), max_shots=caps[0],
        max_total_shots=caps[1], max_jobs=caps[0], max_cost_cents=caps[1], results="raw", ttl_s=60,
    )  # fmt: skip
    request = Asked(type="qpu_experiment", experiment_id="e1", **asked)
    grant = request.filled(bounds, experiment, *left)
    assert grant.max_cost_cents <= left[0]
    assert grant.max_total_shots <= left[1]
    for limit, value in asked.items():
        given = getattr(grant, limit)
        if limit == "results":
            assert given.rank <= value.rank
        elif isinstance(value, tuple):
            assert set(given) <= set(value)
        else:
            assert given <= value
    if "allowed_backends" not in asked:
        assert set(grant.allowed_backends) <= experiment.allowed_backends
    if "results" not in asked:
        assert grant.results.rank <= experiment.release.rank


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=_ASKED)
async def test_a_token_is_never_wider_than_its_request(
    tmp_path_factory: pytest.TempPathFactory, asked: dict[str, Any]
) -> None:
    folder: Path = tmp_path_factory.mktemp("world")
    async with sqlite_world(folder) as world:
        answer = await world.token({**ASKED, **asked})
        grant = world.gateway.verify(answer.access_token).grant
        assert grant is not None
        for limit in ("max_shots", "max_total_shots", "max_jobs", "max_cost_cents"):
            if limit in asked:
                assert getattr(grant, limit) <= asked[limit]
        assert set(grant.allowed_backends) <= set(
            asked.get("allowed_backends", grant.allowed_backends)
        )


@pytest.mark.attack("T5")
async def test_a_bearer_token_needs_a_setting_with_insecure_in_its_name(world: World) -> None:
    with pytest.raises(OAuthError) as caught:
        await world.service.token(world.form(), None, TOKEN_URL)
    assert caught.value.error == "invalid_dpop_proof"
    bearer = TokenService(
        store=world.store, policy=world.policy, signer=world.ring, clients=world.clients,
        proofs=world.proofs, clock=world.clock, issuer=ISSUER, denials=RecentDenials(),
        insecure_bearer=True,
    )  # fmt: skip
    answer = await bearer.token(world.form(), None, TOKEN_URL)
    assert answer.token_type == "Bearer"
    with pytest.raises(WrongToken):
        world.gateway.verify(answer.access_token)
