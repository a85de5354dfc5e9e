"""The Vault client before a real OpenBao: every way in, KV, leases of a database, transit."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.support.governance import World, world
from tests.support.live import ROOT
from tests.support.openbao import OpenBao, binary
from tests.support.postgres import PostgresServer
from tests.support.tls import authority, issue

from cryogate.credentials import EmbeddedLeases, LeaseDesk, TransitKeys
from cryogate.credentials.vault import Auth, VaultClient, VaultDynamic, VaultLogin, VaultSecrets
from cryogate.dev.serving import served
from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.governance.alerts import AlertBook
from cryogate.governance.holds import FollowedHolds
from cryogate.ports.clock import Clock, SystemClock
from cryogate.ports.credentials import LeaseNotRevoked, LeaseTerms, LeaseUnavailable

TERMS = LeaseTerms("braket", "braket:forte-1", "e1", "a1")
Ways = dict[str, VaultLogin]


@asynccontextmanager
async def opened(login: VaultLogin, clock: Clock | None = None) -> AsyncIterator[VaultClient]:
    client = VaultClient(login, clock or SystemClock())
    try:
        yield client
    finally:
        await client.close()


def secrets_of(client: VaultClient) -> VaultSecrets:
    return VaultSecrets(client, "kv", "cryogate")


def policy(what: str) -> str:
    """The one of the documentation that speaks of ``what``, word for word."""
    page = (ROOT / "docs/vault.md").read_text()
    [found] = [p for p in re.findall(r"```hcl\n(.*?)```", page, re.DOTALL) if what in p]
    # the page's example is an AWS engine; what can be tried here is a database
    return str(found).replace("aws/creds", "database/creds")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    made = OpenBao(binary(), tmp_path_factory.mktemp("openbao"))
    try:
        made.call("POST", "sys/mounts/kv", type="kv", options={"version": "2"})
        made.call("POST", "kv/data/cryogate/ionq", data={"value": "key-canary"})
        made.call("POST", "kv/data/cryogate/ibm/e1", data={"api_key": "k", "crn": "c"})
        made.call("POST", "kv/data/other", data={"value": "not-ours"})
        made.call("PUT", "sys/policies/acl/cryogate", policy=policy("kv/"))
        yield made
    finally:
        made.stop()


def _reviewed(key: ECKey) -> Starlette:
    """As much of a Kubernetes API server as looks a service account's token over."""

    async def review(request: Request) -> JSONResponse:
        asked = (await request.json())["spec"]
        status: dict[str, Any] = {"authenticated": False, "error": "not ours"}
        if jwt.decode(asked["token"], key, algorithms=["ES256"]).claims["pod"] == "real":
            user = {"username": "system:serviceaccount:quantum:cryogate", "uid": "uid-1",
                    "groups": ["system:serviceaccounts"]}  # fmt: skip
            status = {"authenticated": True, "user": user, "audiences": asked["audiences"]}
        return JSONResponse({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                             "status": status}, 201)  # fmt: skip

    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    return Starlette(routes=[Route(path, review, methods=["POST"])])


@pytest.fixture(scope="module")
def ways(bao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """Every way in, each with what it needs in files."""
    folder = tmp_path_factory.mktemp("ways")
    granted: dict[str, Any] = {"token_policies": ["cryogate"], "token_ttl": "300s"}

    def login(auth: Auth, secret: str = "", **more: Any) -> VaultLogin:
        file = folder / auth
        file.write_text(secret)
        return VaultLogin(url=bao.url, auth=auth, ca_file=str(bao.ca), credential=str(file), **more)

    made: Ways = {}
    for kind in ("approle", "jwt", "kubernetes", "cert"):
        bao.call("POST", f"sys/auth/{kind}", type=kind)
    bao.call("POST", "auth/approle/role/cryogate", **granted)
    role = bao.call("GET", "auth/approle/role/cryogate/role-id")["data"]["role_id"]
    secret = bao.call("POST", "auth/approle/role/cryogate/secret-id", metadata="{}")["data"]
    made["approle"] = login("approle", secret["secret_id"], role=role)

    key = ECKey.generate_key("P-256")
    now = int(time.time())
    claims = {
        "sub": "cryogate",
        "aud": "openbao",
        "iss": "https://ci",
        "iat": now,
        "exp": now + 600,
    }
    bao.call(
        "POST", "auth/jwt/config", jwt_validation_pubkeys=[key.as_pem(private=False).decode()],
        bound_issuer="https://ci",
    )  # fmt: skip
    bao.call(
        "POST", "auth/jwt/role/cryogate", role_type="jwt", bound_audiences=["openbao"],
        bound_subject="cryogate", user_claim="sub", **granted,
    )  # fmt: skip
    made["jwt"] = login("jwt", jwt.encode({"alg": "ES256"}, claims, key), role="cryogate")

    root = authority("clients")
    bao.call("POST", "auth/cert/certs/cryogate", certificate=root.cert_pem.decode(),
             allowed_common_names=["cryogate"], **granted)  # fmt: skip
    for name, issuer in (("cryogate", root), ("somebody", root), ("stranger", authority("other"))):
        common = "cryogate" if name == "stranger" else name
        cert, private = issue(common, issuer=issuer, client=True).write(folder, name)
        made[f"cert of {name}"] = login(
            "cert", role="cryogate", cert_file=str(cert), key_file=str(private)
        )

    with served(_reviewed(key)) as cluster:
        bao.call("POST", "auth/kubernetes/config", kubernetes_host=cluster,
                 kubernetes_ca_cert=root.cert_pem.decode(), disable_local_ca_jwt=True,
                 token_reviewer_jwt="reviewer")  # fmt: skip
        bao.call(
            "POST", "auth/kubernetes/role/cryogate", bound_service_account_names=["cryogate"],
            bound_service_account_namespaces=["quantum"], **granted,
        )  # fmt: skip
        pod = {
            **claims, "aud": ["openbao"], "pod": "real",
            "sub": "system:serviceaccount:quantum:cryogate",
            "kubernetes.io": {"namespace": "quantum",
                              "serviceaccount": {"name": "cryogate", "uid": "uid-1"}},
        }  # fmt: skip
        made["kubernetes"] = login(
            "kubernetes", jwt.encode({"alg": "ES256"}, pod, key), role="cryogate"
        )
        yield made


@pytest.mark.parametrize("way", ["approle", "jwt", "kubernetes", "cert of cryogate"])
async def test_every_login_reads_what_the_documented_policy_grants(ways: Ways, way: str) -> None:
    async with opened(ways[way]) as client:
        secrets = secrets_of(client)
        assert (await secrets.value("ionq", "e1")).reveal() == b"key-canary"
        made = json.loads((await secrets.value("ibm", "e1")).reveal())
        assert made == {"api_key": "k", "crn": "c"}
        with pytest.raises(LeaseUnavailable):
            await secrets.value("ibm", "e2")
        with pytest.raises(LeaseUnavailable, match="403"):
            await VaultSecrets(client, "kv", "another").value("ionq", "")


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    ("way", "spoil"),
    [
        ("cert of somebody", None),
        ("cert of stranger", None),
        ("approle", "another-secret-id"),
        ("jwt", "not.a.jwt"),
        ("kubernetes", "not.a.jwt"),
    ],
)
async def test_who_is_not_known_gets_nothing(
    ways: Ways, way: str, spoil: str | None, tmp_path: Path
) -> None:
    login = ways[way]
    if spoil is not None:
        (tmp_path / "spoilt").write_text(spoil)
        login = replace(login, credential=str(tmp_path / "spoilt"))
    async with opened(login) as client:
        with pytest.raises(LeaseUnavailable, match="login refused"):
            await secrets_of(client).value("ionq", "")


async def test_without_a_certificate_there_is_no_login(ways: Ways) -> None:
    bare = replace(ways["cert of cryogate"], cert_file="", key_file="")
    async with opened(bare) as client:
        with pytest.raises(LeaseUnavailable, match="login refused"):
            await secrets_of(client).value("ionq", "")


async def test_a_server_that_no_known_authority_vouches_for_is_not_spoken_to(
    ways: Ways, made: World
) -> None:
    stranger = replace(ways["approle"], ca_file="")
    async with opened(stranger, made.clock) as client:
        with pytest.raises(LeaseUnavailable):
            await _desk(made, client, FollowedHolds(made.store)).lease(TERMS, 300)


async def test_a_wrapped_secret_id_opens_once(bao: OpenBao, ways: Ways, tmp_path: Path) -> None:
    wrapped = bao.call("POST", "auth/approle/role/cryogate/secret-id", wrap="120s", metadata="{}")
    file = tmp_path / "wrapped"
    file.write_text(wrapped["wrap_info"]["token"])
    login = replace(ways["approle"], credential=str(file), wrapped=True)
    async with opened(login) as first, opened(login) as second:
        assert (await secrets_of(first).value("ionq", "")).reveal() == b"key-canary"
        with pytest.raises(LeaseUnavailable, match="somebody may have opened it"):
            await secrets_of(second).value("ionq", "")


async def test_a_token_revoked_behind_our_back_costs_one_more_login(
    bao: OpenBao, ways: Ways
) -> None:
    async with opened(ways["approle"]) as client:
        await secrets_of(client).value("ionq", "")
        assert client._token is not None
        bao.call("POST", "auth/token/revoke", token=client._token.text())
        assert (await secrets_of(client).value("ionq", "")).reveal() == b"key-canary"


# -- leases of a database's accounts: a dynamic engine whose credentials can be tried -------------


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as found:
        yield found


_MAKE = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"


def role(bao: OpenBao, **more: Any) -> None:
    made = {"db_name": "devices", "creation_statements": [_MAKE], "revocation_statements": [],
            "default_ttl": "120s", "max_ttl": "400s"}  # fmt: skip
    bao.call("POST", "database/roles/cryogate", **{**made, **more})


@pytest.fixture
async def database(
    bao: OpenBao, postgres_server: PostgresServer, postgres_dsn: str
) -> AsyncIterator[str]:
    url = postgres_dsn.replace("postgres@/", "{{username}}:{{password}}@/")
    bao.call("POST", "sys/mounts/database", type="database")
    bao.call(
        "POST", "database/config/devices", plugin_name="postgresql-database-plugin",
        connection_url=url, username="postgres", password="unused", allowed_roles=["cryogate"],
    )  # fmt: skip
    role(bao)
    yield postgres_dsn
    bao.call("PUT", "sys/leases/revoke-force/database")
    bao.call("DELETE", "sys/mounts/database")


def _desk(made: World, client: VaultClient, holds: FollowedHolds) -> LeaseDesk:
    return LeaseDesk(
        store=made.store, clock=made.clock, local=EmbeddedLeases(made.clock),
        sources={"braket": VaultDynamic(client, made.clock, "database/creds/cryogate")},
        alerts=AlertBook(made.store, made.clock), holder="single", held_changed=holds.refresh,
    )  # fmt: skip


async def _accounts(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")
    finally:
        await connection.close()
    return {row["rolname"] for row in rows}


@pytest.mark.attack("R6")
async def test_a_dynamic_credential_is_renewed_and_really_ends(
    bao: OpenBao, ways: Ways, database: str, made: World
) -> None:
    holds = FollowedHolds(made.store)
    async with opened(ways["approle"], made.clock) as client:
        desk = _desk(made, client, holds)
        lease = await desk.lease(TERMS, 120)
        account = json.loads(lease.secret.reveal())["username"]
        assert await _accounts(database) == {account}
        assert lease.expires_ms == made.clock.now_ms() + 120_000
        assert len(bao.leases("database/creds/cryogate")) == 1
        renewed = await desk.renew(lease, 300)
        assert renewed.lease_id == lease.lease_id
        assert 290_000 < renewed.expires_ms - made.clock.now_ms() <= 300_000

        # an engine that cannot end it: the agent waits, and it is tried again
        role(bao, revocation_statements=["DROP ROLE no_such_role"])
        with pytest.raises(LeaseNotRevoked):
            await desk.revoke(lease.lease_id)
        assert holds.of("a1") is not None
        assert await _accounts(database) == {account}
        role(bao)
        made.clock.advance(s=10)
        await desk.sweep()
        assert holds.of("a1") is None
        assert await _accounts(database) == set()
        assert bao.leases("database/creds/cryogate") == []


async def test_a_credential_at_its_longest_is_replaced(
    bao: OpenBao, ways: Ways, database: str, made: World
) -> None:
    role(bao, default_ttl="50s", max_ttl="50s")
    async with opened(ways["approle"], made.clock) as client:
        desk = _desk(made, client, FollowedHolds(made.store))
        first = await desk.lease(TERMS, 300)
        second = await desk.renew(first, 300)
        assert second.lease_id != first.lease_id
        assert await _accounts(database) == {json.loads(second.secret.reveal())["username"]}
        await desk.revoke(second.lease_id)
        assert await _accounts(database) == set()


# -- transit -------------------------------------------------------------------------------------


@pytest.mark.attack("T11")
async def test_tokens_are_signed_and_rotated_in_transit(bao: OpenBao, made: World) -> None:
    bao.call("POST", "sys/mounts/transit", type="transit")
    bao.call("POST", "transit/keys/cryogate-tokens", type="ecdsa-p256")
    bao.call("PUT", "sys/policies/acl/signer", policy=policy("transit"))
    token = bao.call("POST", "auth/token/create", policies=["signer"])["auth"]["client_token"]
    clock = SystemClock()
    keys = TransitKeys(
        bao.url, lambda: Secret(token.encode()), made.store, clock, ca_file=str(bao.ca)
    )
    await keys.start()
    infos = TransitKeys.keys
    [first] = infos(keys)

    async def signed() -> str:
        """By which key: read with another library, from what is published."""
        text = await keys.sign({"typ": "at+jwt", "alg": "ES256"}, b'{"sub":"a1"}')
        found = jws.deserialize_compact(
            text, KeySet.import_key_set({"keys": [dict(k) for k in keys.public_jwks().values()]}),
            algorithms=["ES256"],
        )  # fmt: skip
        assert found.payload == b'{"sub":"a1"}'
        return str(found.headers()["kid"])

    assert await signed() == first.kid
    second = await keys.rotate("operator:admin")
    assert {info.kid for info in infos(keys)} == {first.kid, second.kid}
    assert await signed() == second.kid
    third = await keys.rotate("operator:admin", distrust_old=True)
    assert [info.kid for info in infos(keys)] == [third.kid]
    assert await signed() == third.kid
    bao.call("POST", "auth/token/revoke", token=token)
    with pytest.raises(Unavailable):
        await signed()
    await keys.close()
