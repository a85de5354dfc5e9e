"""Client certificates over real TLS, natively and behind a proxy, with a throw-away CA."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from tests.support.server import Server, server
from tests.support.tls import Issued, authority, issue

from cryogate.client import CertificateIdentity, Client, Identity, Refused, Unavailable

SPIFFE = "spiffe://lab.example/agent/blue"
DETAILS = json.dumps([{"type": "qpu_experiment", "experiment_id": "exp"}])
PROXY = "127.0.0.9"


@dataclass
class World:
    server: Server
    folder: Path
    server_ca: Issued
    client_ca: Issued
    ca_file: Path

    def files(self, made: Issued, name: str) -> tuple[str, str]:
        cert, key = made.write(self.folder, name)
        return str(cert), str(key)

    def client(self, agent: str, made: Issued, name: str) -> Client:
        cert, key = self.files(made, name)
        identity = CertificateIdentity(agent, cert, key, str(self.ca_file))
        return Client(self.server.url, agent, identity, "exp")

    def http(self, made: Issued | None = None, *, source: str = "127.0.0.1") -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if made is not None:
            context.load_cert_chain(*self.files(made, "by-hand"))
        transport = httpx.HTTPTransport(verify=context, local_address=source, retries=0)
        return httpx.Client(transport=transport, base_url=self.server.url)

    def token(
        self, http: httpx.Client, agent: str, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": agent,
                "authorization_details": DETAILS}  # fmt: skip
        return http.post("/oauth2/token", data=form, headers=headers)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("mtls")
    server_ca, client_ca = authority("Server CA"), authority("Client CA")
    ca_file, client_file = folder / "server-ca.pem", folder / "client-ca.pem"
    ca_file.write_bytes(server_ca.cert_pem)
    client_file.write_bytes(client_ca.cert_pem)
    cert, key = issue("127.0.0.1", "127.0.0.1", issuer=server_ca).write(folder, "server")
    with server(
        folder / "state", ca_file, SERVER_TLS_CERT=str(cert), SERVER_TLS_KEY=str(key),
        SERVER_CLIENT_CA=str(client_file), SERVER_CLIENT_CERTS="optional",
        SERVER_PROXIES=f"{PROXY}/32", SERVER_HEADER_TIMEOUT_S="5",
    ) as made:  # fmt: skip
        assert made.url.startswith("https://")
        for name in ("blue", "green", "self", "other"):
            made.agent(name)
        made.experiment("exp", "blue", "green", "self", "other")
        made.credential("blue", kind="subject", san_uri=SPIFFE)
        made.credential("green", kind="subject", subject_dn="CN=green")
        yield World(made, folder, server_ca, client_ca, ca_file)


@pytest.fixture(scope="module")
def own(world: World) -> Issued:
    made = issue("anything at all", client=True)
    der = base64.b64encode(made.der).decode()
    assert world.server.credential("self", kind="certificate", der=der)
    return made


@pytest.fixture(scope="module")
def blue(world: World) -> Issued:
    return issue("blue", SPIFFE, issuer=world.client_ca, client=True)


def test_a_spiffe_id_is_who_the_agent_is(world: World, blue: Issued) -> None:
    with world.client("blue", blue, "blue") as client:
        assert client.token().scheme == "Bearer"
        assert client.backends()
    names = world.server.operator.call("GET", "admin", "v1", "agents", "blue")["credentials"]
    assert [n["credential"] for n in names] == [{"kind": "subject", "san_uri": SPIFFE}]


def test_a_distinguished_name_and_a_self_signed_certificate(world: World, own: Issued) -> None:
    green = issue("green", issuer=world.client_ca, client=True)
    with world.client("green", green, "green") as client:
        assert client.backends()
    with world.client("self", own, "own") as client:
        assert client.backends()


@pytest.mark.attack("T6")
def test_a_bound_token_is_good_with_its_certificate_only(
    world: World, blue: Issued, own: Issued
) -> None:
    with world.http(blue) as http:
        token = world.token(http, "blue").json()["access_token"]
        bearer = {"authorization": f"Bearer {token}"}
        assert http.get("/v1/backends", headers=bearer).status_code == 200
    again = issue("blue", SPIFFE, issuer=world.client_ca, client=True)
    for other in (again, own, None):
        with world.http(other) as http:
            assert http.get("/v1/backends", headers=bearer).status_code == 401
    with world.http(source=PROXY) as http:  # a proxy that says nothing about a certificate
        assert http.get("/v1/backends", headers=bearer).status_code == 401


@pytest.mark.attack("T6")
def test_a_certificate_opens_its_own_agents_door_only(
    world: World, blue: Issued, own: Issued
) -> None:
    with world.http(blue) as http:
        assert world.token(http, "blue").status_code == 200
        for agent in ("green", "self", "other", "nobody"):
            answer = world.token(http, agent)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    with world.http(own) as http:
        assert world.token(http, "self").status_code == 200
        assert world.token(http, "blue").status_code == 401


@pytest.mark.attack("T6")
def test_what_leads_to_no_anchor_does_not_even_connect(world: World, own: Issued) -> None:
    stranger = authority("Client CA")
    forged = [
        issue("blue", SPIFFE, issuer=stranger, client=True),
        issue("blue", SPIFFE, client=True),
        issue("blue", SPIFFE, issuer=own, client=True),  # a registered certificate signs another
        issue("blue", SPIFFE, issuer=world.client_ca, client=True, days=0),
    ]
    for made in forged:
        with world.http(made) as http, pytest.raises(httpx.TransportError):
            world.token(http, "blue")


@pytest.mark.attack("T6")
def test_a_certificate_that_could_sign_others_is_not_registered(world: World) -> None:
    for made in (authority("self"), issue("x", issuer=world.client_ca, client=True)):
        with pytest.raises(Refused):
            world.server.credential(
                "other", kind="certificate", der=base64.b64encode(made.der).decode()
            )


@pytest.mark.attack("T6")
@pytest.mark.parametrize("header", ["rfc9440", "nginx"])
def test_behind_a_proxy_only_the_proxy_names_the_certificate(
    world: World, blue: Issued, header: str
) -> None:
    value = f":{base64.b64encode(blue.der).decode()}:"
    if header == "nginx":
        value = quote(blue.cert_pem.decode())
    said = {"client-cert": value}
    with world.http(source=PROXY) as http:
        answer = world.token(http, "blue", said)
        assert answer.status_code == 200
        bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
        assert http.get("/v1/backends", headers={**bearer, **said}).status_code == 200
        assert http.get("/v1/backends", headers=bearer).status_code == 401
    for more in ({}, {"x-forwarded-for": PROXY}, {"forwarded": f"for={PROXY}"}):
        with world.http() as http:
            assert world.token(http, "blue", {**said, **more}).status_code == 400
            found = http.get("/v1/backends", headers={**bearer, **said, **more})
            assert found.status_code == 401


@pytest.mark.attack("T6")
def test_a_proxys_own_certificate_is_not_its_clients(world: World, blue: Issued) -> None:
    with world.http(blue, source=PROXY) as http:
        assert world.token(http, "blue").status_code == 400


@pytest.mark.attack("T6")
def test_what_the_proxy_says_is_checked_like_any_certificate(world: World, own: Issued) -> None:
    stranger = issue("blue", SPIFFE, issuer=authority("Client CA"), client=True)
    two = issue("blue", SPIFFE, "spiffe://lab.example/agent/red", issuer=world.client_ca,
                client=True)  # fmt: skip
    with world.http(source=PROXY) as http:
        for made in (stranger, two, own):
            said = {"client-cert": f":{base64.b64encode(made.der).decode()}:"}
            assert world.token(http, "blue", said).status_code == 401
        for junk in (":AAAA:", "::", ":", "-----BEGIN", ":" + "A" * 30_000 + ":", ":*:"):
            assert world.token(http, "blue", {"client-cert": junk}).status_code in (400, 401, 431)
        good = f":{base64.b64encode(own.der).decode()}:".encode()
        doubled = [(b"client-cert", good), (b"client-cert", good)]
        form = {"grant_type": "client_credentials", "client_id": "self"}
        assert http.post("/oauth2/token", data=form, headers=doubled).status_code == 401


def test_removing_a_credential_ends_its_tokens(world: World) -> None:
    made = issue("other", "other.example", issuer=world.client_ca, client=True)
    kid = world.server.credential("other", kind="subject", san_dns="other.example")
    with world.client("other", made, "other") as client:
        assert client.backends()
        world.server.operator.call("DELETE", "admin", "v1", "agents", "other", "keys", kid)
        with pytest.raises(Refused):
            client.backends()


@pytest.mark.attack("T5")
def test_a_key_bound_token_is_no_bearer_token_on_any_connection(world: World, own: Issued) -> None:
    key = Identity.generate("keyed")
    world.server.agent("keyed", key.public_jwk())
    world.server.experiment("keyed-exp", "keyed")
    with Client(world.server.url, "keyed", key, "keyed-exp", ca_file=str(world.ca_file)) as client:
        assert client.backends()
        token = client.token().value
    with world.http(own) as http:
        bearer = {"authorization": f"Bearer {token}"}
        assert http.get("/v1/backends", headers=bearer).status_code == 401


def test_a_server_that_cannot_be_verified_is_not_spoken_to(world: World) -> None:
    key = Identity.generate("keyed")
    with Client(world.server.url, "keyed", key, "exp") as client, pytest.raises(Unavailable):
        client.backends()


@pytest.mark.attack("P1")
def test_a_handshake_that_does_not_come_is_not_waited_for(world: World) -> None:
    port = urlsplit(world.server.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        assert silent.recv(1) == b""  # the server hung up


def test_metadata_says_what_is_served(world: World) -> None:
    with world.http() as http:
        found = http.get("/.well-known/oauth-authorization-server").json()
    methods = set(found["token_endpoint_auth_methods_supported"])
    assert methods == {"private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"}
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" in found["grant_types_supported"]


def test_authlib_is_an_ordinary_client(world: World) -> None:
    """``private_key_jwt`` with RS256 by another library; the token is bound to its certificate."""
    with warnings.catch_warnings(record=True):  # it would rather have another HTTP client
        from authlib.integrations.httpx_client import OAuth2Client
        from authlib.oauth2.rfc7523 import PrivateKeyJWT

    key = RSAKey.generate_key(2048)
    public = {k: v for k, v in key.as_dict(private=False).items() if isinstance(v, str)}
    world.server.agent("authlib", public)
    world.server.experiment("authlib-exp", "authlib")
    context = ssl.create_default_context(cafile=str(world.ca_file))
    own = issue("whatever", client=True, issuer=world.client_ca)
    context.load_cert_chain(*world.files(own, "authlib"))
    details = json.dumps([{"type": "qpu_experiment", "experiment_id": "authlib-exp"}])
    endpoint = world.server.url + "/oauth2/token"
    with OAuth2Client(
        "authlib", key, token_endpoint_auth_method="private_key_jwt", verify=context
    ) as client:
        # it would make assertions good for an hour, which is more than we take
        brief = {"exp": int(time.time()) + 60}
        client.register_client_auth_method(PrivateKeyJWT(endpoint, claims=brief))
        token = client.fetch_token(
            endpoint, grant_type="client_credentials", authorization_details=details
        )
        assert token["token_type"] == "Bearer"
        assert client.get(world.server.url + "/v1/backends").status_code == 200
    with world.http() as http:
        stolen = {"authorization": f"Bearer {token['access_token']}"}
        assert http.get("/v1/backends", headers=stolen).status_code == 401


@pytest.mark.attack("T6")
def test_a_resumed_connection_is_the_same_clients(world: World, blue: Issued) -> None:
    context = ssl.create_default_context(cafile=str(world.ca_file))
    context.load_cert_chain(*world.files(blue, "resumed"))
    session = None
    body = urlencode({"grant_type": "client_credentials", "client_id": "blue",
                      "authorization_details": DETAILS})  # fmt: skip
    host = urlsplit(world.server.url).netloc
    request = (
        f"POST /oauth2/token HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
        f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n"
        f"\r\n{body}"
    ).encode()
    for resumed in (False, True):
        with (
            socket.create_connection(("127.0.0.1", urlsplit(world.server.url).port), 30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secured,
        ):
            secured.sendall(request)
            answer = b""
            while data := secured.recv(65536):
                answer += data
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert secured.session_reused is resumed
            session = secured.session
