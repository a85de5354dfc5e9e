"""People: passwords, one-time passwords, sessions, and roles out of claims."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.support.broker import World

from cryogate.broker.humans import passwords
from cryogate.broker.humans.attempts import Attempts, TooManyAttempts
from cryogate.broker.humans.claims import ClaimRules, name_of, person_of, roles_of
from cryogate.broker.humans.federated import FederatedPeople
from cryogate.broker.humans.local import LocalAccounts, NewPassword, SignInRefused
from cryogate.broker.humans.sessions import HumanSessions, Opening
from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound, Unavailable
from cryogate.domain.humans import HumanSession, SignIn

GOOD = "a long enough passphrase"
IDP = "https://idp.example.org"
RULES = ClaimRules("groups", {"q-admins": "admin", "q-approvers": "approver"}, "preferred_username")


def cheap() -> passwords.PasswordHasher:
    return passwords.PasswordHasher(log_n=14, p=1)


class People:
    """The people's side over a broker's world."""

    def __init__(self, world: World) -> None:
        self.world, self.clock = world, world.clock
        self.sessions = HumanSessions(world.store, world.clock, idle_ms=60_000, life_ms=600_000)
        self.accounts = LocalAccounts(world.store, world.clock, self.sessions, cheap(), refusal_s=0)
        self.federated = FederatedPeople(world.store, world.clock, self.sessions, RULES)

    async def person(self, name: str = "ada") -> HumanSession:
        """Somebody who has chosen `GOOD` and is signed in."""
        made = await self.accounts.create(name, ["approver"], "operator:root")
        first = await self.find((await self.sign_in(made))[0])
        return await self.find(await self.accounts.choose(first, "", GOOD))

    async def sign_in(self, made: NewPassword) -> tuple[Opening, SignIn]:
        return await self.accounts.sign_in(made.operator_id, made.password.reveal().decode())

    async def find(self, opening: Opening) -> HumanSession:
        found = await self.sessions.find(opening.secret)
        assert found is not None
        return found


@pytest.fixture
async def people(opened: AbstractAsyncContextManager[World]) -> AsyncIterator[People]:
    async with opened as world:
        yield People(world)


# -- passwords -----------------------------------------------------------------------------------


async def test_a_hash_fits_its_password_and_no_other() -> None:
    hasher = passwords.PasswordHasher()
    form = await hasher.hash(GOOD)
    assert form.startswith("scrypt$15$8$3$")
    assert GOOD not in form
    assert form != await hasher.hash(GOOD)
    assert await hasher.verify(GOOD, form)
    assert not await hasher.verify(GOOD + " ", form)


@pytest.mark.parametrize(
    "form", [None, "", "spent", "plain", "scrypt$30$8$1$AAAA$AAAA", "scrypt$15$8$3$!$!", "a$b$c"]
)
async def test_what_is_no_hash_lets_nobody_in(form: str | None) -> None:
    hasher = cheap()
    assert not await hasher.verify("", form)
    assert not await hasher.verify(form or "", form)


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 12, "aaaaaaaaaaaaaaaaaa", "passwordpassword", "y" * 300,
                 "adaadaadaada", "tab\tin a passphrase", "cryogatecryogate"],
)  # fmt: skip
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(Malformed):
        passwords.require_acceptable(password, "ada")


def test_one_time_passwords_are_random_and_readable() -> None:
    made = {passwords.one_time_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(p) == 29 and not set("ilou") & set(p) for p in made)


# -- one-time passwords --------------------------------------------------------------------------


async def test_a_one_time_password_opens_once_and_only_to_choose(people: People) -> None:
    made = await people.accounts.create("ada", ["approver"], "operator:root")
    opening, method = await people.sign_in(made)
    first = await people.find(opening)
    assert method is SignIn.ONE_TIME
    assert first.must_choose_password
    with pytest.raises(SignInRefused):
        await people.sign_in(made)
    with pytest.raises(Malformed):
        await people.accounts.choose(first, "", "short")
    second = await people.find(await people.accounts.choose(first, "", GOOD))
    assert not second.must_choose_password
    assert await people.sessions.find(opening.secret) is None
    with pytest.raises(Forbidden):
        await people.accounts.choose(first, "", GOOD + "!")
    assert (await people.accounts.sign_in("ada", GOOD))[1] is SignIn.PASSWORD


async def test_a_one_time_password_ends_after_a_day(people: People) -> None:
    made = await people.accounts.create("ada", ["approver"], "operator:root")
    people.clock.advance(86_400_001)
    with pytest.raises(SignInRefused):
        await people.sign_in(made)


async def test_its_session_ends_after_minutes(people: People) -> None:
    sessions = HumanSessions(people.world.store, people.clock, idle_ms=10**9, life_ms=10**9)
    accounts = LocalAccounts(people.world.store, people.clock, sessions, cheap(), refusal_s=0)
    made = await accounts.create("ada", ["approver"], "operator:root")
    opening, _ = await accounts.sign_in("ada", made.password.reveal().decode())
    people.clock.advance(600_001)
    assert await sessions.find(opening.secret) is None


async def test_a_reset_ends_the_password_and_every_session(people: People) -> None:
    session = await people.person()
    other, _ = await people.accounts.sign_in("ada", GOOD)
    made = await people.accounts.reset("ada", "operator:root")
    assert await people.sessions.find(other.secret) is None
    with pytest.raises(SignInRefused):
        await people.accounts.sign_in("ada", GOOD)
    with pytest.raises(SignInRefused):
        await people.accounts.choose(session, GOOD, "another passphrase")
    assert (await people.sign_in(made))[1] is SignIn.ONE_TIME
    with pytest.raises(NotFound):
        await people.accounts.reset("nobody", "operator:root")


async def test_an_account_is_made_once(people: People) -> None:
    await people.accounts.create("ada", ["approver"], "operator:root")
    with pytest.raises(Conflict):
        await people.accounts.create("ada", ["admin"], "operator:root")
    with pytest.raises(Conflict):
        await people.accounts.create("root", ["admin"], "operator:root")
    with pytest.raises(Malformed):
        await people.accounts.create("bob", ["emperor"], "operator:root")


# -- guessing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("nobody", GOOD), ("Ada", GOOD), ("", ""),
                           ("ada", GOOD + "x" * 500), ("ada\0", GOOD), ("root", GOOD)],
)  # fmt: skip
async def test_every_wrong_sign_in_gets_the_same_answer(
    people: People, name: str, password: str
) -> None:
    await people.person()
    with pytest.raises(SignInRefused) as refused:
        await people.accounts.sign_in(name, password)
    assert refused.value.detail == SignInRefused().detail


@pytest.mark.parametrize("name", ["ada", "nobody", "\u202e"])
async def test_a_refusal_comes_no_sooner_for_any_name(people: People, name: str) -> None:
    await people.person()
    accounts = LocalAccounts(
        people.world.store, people.clock, people.sessions, cheap(), refusal_s=0.3
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(SignInRefused):
        await accounts.sign_in(name, "wrong")
    assert loop.time() - began >= 0.29


async def test_guessing_is_slowed_down_and_the_owner_gets_in_again(people: People) -> None:
    await people.person()
    for _ in range(12):
        with pytest.raises(SignInRefused):
            await people.accounts.sign_in("ada", "wrong")
    with pytest.raises(SignInRefused):
        await people.accounts.sign_in("ada", GOOD)  # right, but too early
    people.clock.advance(60_001)
    await people.accounts.sign_in("ada", GOOD)
    await people.accounts.sign_in("ada", GOOD)
    refused = [e for e in await people.world.events("human.sign_in") if e["outcome"] == "refused"]
    assert 0 < len(refused) < 12


async def test_parallel_guesses_are_counted_before_they_are_looked_at(people: People) -> None:
    await people.person()
    tries = [people.accounts.sign_in("ada", f"wrong {number}") for number in range(24)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(answer, SignInRefused | Unavailable) for answer in done)
    refused = [e for e in await people.world.events("human.sign_in") if e["outcome"] == "refused"]
    assert len(refused) <= 6  # the free ones and the first that has to wait


def test_an_address_has_so_many_tries_and_then_one_at_a_time() -> None:
    now = [0]
    attempts = Attempts(lambda: now[0], burst=3, every_s=10)
    for _ in range(3):
        attempts.take("one")
    with pytest.raises(TooManyAttempts) as refused:
        attempts.take("one")
    assert 0 < refused.value.retry_after_s <= 11
    attempts.take("two")
    attempts.give_back("nobody")
    attempts.give_back("one")
    attempts.take("one")
    now[0] += 10_000
    attempts.take("one")
    with pytest.raises(TooManyAttempts):
        attempts.take("one")


def test_addresses_do_not_fill_the_memory() -> None:
    attempts = Attempts(lambda: 0)
    for number in range(20_000):
        attempts.take(str(number))
    assert len(attempts._full_at_ms) <= 10_000


# -- sessions ------------------------------------------------------------------------------------


async def test_a_session_ends_when_idle_and_at_its_end(people: People) -> None:
    await people.person()
    opening, _ = await people.accounts.sign_in("ada", GOOD)
    for _ in range(12):
        people.clock.advance(45_000)
        assert await people.sessions.find(opening.secret) is not None
    people.clock.advance(60_001)
    assert await people.sessions.find(opening.secret) is None
    opening, _ = await people.accounts.sign_in("ada", GOOD)
    for _ in range(14):
        people.clock.advance(45_000)
        await people.sessions.find(opening.secret)
    assert await people.sessions.find(opening.secret) is None


async def test_rights_are_read_anew_every_time(people: People) -> None:
    session = await people.person()
    opening, _ = await people.accounts.sign_in("ada", GOOD)
    assert session.operator.roles == {"approver"}
    await people.world.registry.update_operator("ada", actor="operator:root", roles=["auditor"])
    assert (await people.find(opening)).operator.roles == {"auditor"}
    await people.world.registry.update_operator("ada", actor="operator:root", active=False)
    assert await people.sessions.find(opening.secret) is None
    with pytest.raises(SignInRefused):
        await people.accounts.sign_in("ada", GOOD)


async def test_one_session_can_be_ended_by_its_owner_only(people: People) -> None:
    session = await people.person()
    opening, _ = await people.accounts.sign_in("ada", GOOD)
    found = await people.find(opening)
    assert {s.session_id for s in await people.sessions.of("ada")} >= {found.session_id}
    with pytest.raises(NotFound):
        await people.sessions.end(found.session_id, "root", "operator:root", "test")
    await people.sessions.end(found.session_id, "ada", "operator:ada", "test")
    assert await people.sessions.find(opening.secret) is None
    with pytest.raises(NotFound):
        await people.sessions.end(found.session_id, "ada", "operator:ada", "test")
    assert session.session_id != found.session_id


async def test_the_database_holds_no_secret(people: People) -> None:
    made = await people.accounts.create("ada", ["approver"], "operator:root")
    opening, _ = await people.sign_in(made)
    row = await people.world.store.fetch_one("local_account", {"operator_id": "ada"})
    events = str(await people.world.events("human.sign_in"))
    held = f"{row} {events} {opening!r} {made!r}"
    assert made.password.reveal().decode() not in held
    assert opening.secret not in held


@pytest.mark.parametrize("secret", ["", "x", "a" * 43, "a" * 44, "ä" * 43, "a" * 42 + "="])
async def test_what_is_no_secret_finds_nothing(people: People, secret: str) -> None:
    assert await people.sessions.find(secret) is None


# -- people of an identity provider --------------------------------------------------------------


def claims(**changes: Any) -> dict[str, Any]:
    return {"preferred_username": "ada", "email": "Ada@Example.org", "email_verified": True,
            "groups": ["q-approvers"], **changes}  # fmt: skip


async def test_the_first_sign_in_makes_the_operator(people: People) -> None:
    session = await people.find(await people.federated.sign_in(IDP, "s-1", claims()))
    assert session.operator.operator_id == "ada"
    assert session.operator.roles == {"approver"}
    row = await people.world.store.fetch_one("approver", {"operator_id": "ada"})
    assert row is not None
    assert row["person"] == "ada@example.org"


async def test_roles_follow_the_claims_and_none_is_none(people: People) -> None:
    first = await people.federated.sign_in(IDP, "s-1", claims())
    await people.federated.sign_in(IDP, "s-1", claims(groups=["q-admins", "others"]))
    assert (await people.find(first)).operator.roles == {"admin"}
    with pytest.raises(Forbidden) as refused:
        await people.federated.sign_in(IDP, "s-1", claims(groups=[]))
    assert refused.value.code == "no_role"
    assert await people.sessions.find(first.secret) is None
    operator = await people.world.registry.operator("ada")
    assert operator.roles == frozenset()


async def test_nobody_takes_over_a_name(people: People) -> None:
    for name in ("root", "ROOT", "root@example.org"):
        with pytest.raises(Conflict):
            await people.federated.sign_in(IDP, "s-9", claims(preferred_username=name))
    await people.federated.sign_in(IDP, "s-1", claims())
    with pytest.raises(Conflict):
        await people.federated.sign_in(IDP, "s-2", claims())
    with pytest.raises(Conflict):
        await people.federated.sign_in("https://other.example.org", "s-1", claims())
    # the same person under a new name is still the same operator
    opening = await people.federated.sign_in(IDP, "s-1", claims(preferred_username="root"))
    assert (await people.find(opening)).operator.operator_id == "ada"


async def test_an_inactive_operator_does_not_come_back_through_the_provider(people: People) -> None:
    await people.federated.sign_in(IDP, "s-1", claims())
    await people.world.registry.update_operator("ada", actor="operator:root", active=False)
    with pytest.raises(Forbidden):
        await people.federated.sign_in(IDP, "s-1", claims(groups=["q-admins"]))


async def test_who_signs_in_elsewhere_has_no_password_here(people: People) -> None:
    session = await people.find(await people.federated.sign_in(IDP, "s-1", claims()))
    with pytest.raises(Forbidden):
        await people.accounts.choose(session, "", GOOD)
    with pytest.raises(SignInRefused):
        await people.accounts.sign_in("ada", "")


@pytest.mark.parametrize(
    ("groups", "roles"),
    [(["q-admins"], {"admin"}), ("q-admins", {"admin"}), (["Q-Admins"], set()),
     ([["q-admins"]], set()),
     ({"q-admins": True}, set()), (None, set()), ([1, None, "q-approvers"], {"approver"}),
     (True, set()), ("q-admins q-approvers", set()), (["q-admins\u200b"], set())],
)  # fmt: skip
def test_only_exact_values_are_roles(groups: object, roles: set[str]) -> None:
    assert roles_of({"groups": groups}, RULES) == roles


def test_a_claim_may_lie_deeper() -> None:
    rules = ClaimRules("realm_access.roles", {"x": "auditor"}, "sub")
    assert roles_of({"realm_access": {"roles": ["x"]}}, rules) == {"auditor"}
    assert roles_of({"realm_access.roles": ["x"]}, rules) == {"auditor"}
    assert roles_of({"realm_access": ["x"]}, rules) == frozenset()


@pytest.mark.parametrize(
    ("claim", "name"),
    [("ada", "ada"), ("Ada.Lovelace@example.org", "ada-lovelace"), ("Zoë", "zoe"),
     ("\uff21DA", "ada")],
)  # fmt: skip
def test_a_name_is_made_of_the_claim(claim: str, name: str) -> None:
    assert name_of({"preferred_username": claim}, RULES) == name


@pytest.mark.parametrize("claim", [None, "", "@example.org", "\u202e", 7, ["ada"], "x" * 300])
def test_what_makes_no_name_is_refused(claim: object) -> None:
    with pytest.raises(Forbidden):
        name_of({"preferred_username": claim}, RULES)


def test_an_unverified_mail_is_nobody() -> None:
    assert person_of(claims(email_verified=False)) == "ada"
    assert person_of({"email": "\u202eada"}) == ""
