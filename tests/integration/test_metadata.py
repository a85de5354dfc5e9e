"""RFC 8414 metadata is true: what it names is served, and what is served it names."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cryogate.config import ConfigError, load
from cryogate.startup import prepare
from cryogate.wiring import Deployment

URL = "http://127.0.0.1:8642"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    config = load(None, overrides={"state_dir": str(tmp_path / "state")}, environ={})
    prepare(config)
    deployment = Deployment(config, URL)
    await deployment.open()
    transport = httpx.ASGITransport(deployment.app())
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield client
    await deployment.close()


async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/.well-known/oauth-authorization-server")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


async def test_every_endpoint_that_is_named_is_served(http: httpx.AsyncClient) -> None:
    found = await document(http)
    assert found["issuer"] == URL
    lists = await http.get(found.pop("status_list_aggregation_endpoint"))
    assert lists.json() == {"status_lists": []}
    endpoints = [name for name in found if name.endswith("_endpoint")]
    assert {"token_endpoint", "revocation_endpoint", "introspection_endpoint"} <= set(endpoints)
    for name in endpoints:
        answer = await http.post(found[name], content=b"", headers=FORM)
        assert answer.status_code in (400, 401), name
        assert answer.json()["error"] in ("invalid_request", "unsupported_grant_type"), name
    jwks = (await http.get(found["jwks_uri"])).json()
    assert jwks["keys"]


async def test_every_grant_type_that_is_named_is_taken_and_no_other(
    http: httpx.AsyncClient,
) -> None:
    found = await document(http)
    for grant in (*found["grant_types_supported"], "password", "authorization_code"):
        answer = await http.post(found["token_endpoint"], data={"grant_type": grant})
        taken = answer.json()["error"] != "unsupported_grant_type"
        assert taken is (grant in found["grant_types_supported"]), grant


async def test_nothing_is_announced_that_is_not_there(http: httpx.AsyncClient) -> None:
    found = await document(http)
    assert found["response_types_supported"] == []
    for absent in ("authorization_endpoint", "registration_endpoint"):
        assert absent not in found
    # RFC 9207 is about answers of an authorization endpoint.
    assert "authorization_response_iss_parameter_supported" not in found
    assert "none" not in json.dumps(found)


async def test_keys_that_sign_are_of_an_announced_algorithm(http: httpx.AsyncClient) -> None:
    found = await document(http)
    [key] = (await http.get(found["jwks_uri"])).json()["keys"]
    assert key["kty"] == "EC"
    assert len(base64.urlsafe_b64decode(key["x"] + "=")) == 32
    assert "d" not in key


async def test_keys_in_a_transit_engine_need_its_address(tmp_path: Path) -> None:
    state = {"state_dir": str(tmp_path / "s")}
    for more in ({"CRYOGATE_SIGNING_TRANSIT_URL": "http://vault.example"}, {}):
        environ = {"CRYOGATE_SIGNING_KEYS": "transit", **more}
        config = load(None, overrides=state, environ=environ)
        prepare(config)
        with pytest.raises(ConfigError, match=r"signing\.transit_url"):
            Deployment(config, URL)


async def test_alerts_are_for_operators(http: httpx.AsyncClient) -> None:
    for path in ("/admin/v1/alerts", "/admin/v1/alerts/alt_x"):
        assert (await http.get(path)).status_code == 401


async def test_shared_signals_are_served_where_a_transmitter_is_entrusted(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    found = (await http.get("/.well-known/ssf-configuration")).json()
    assert found["jwks_uri"] == (await document(http))["jwks_uri"]
    kind = {"content-type": "application/secevent+jwt"}
    answer = await http.post("/ssf/events", content=b"x.y.z", headers=kind)
    assert answer.status_code == 404
    environ = {"CRYOGATE_SSF_TRANSMITTER": "https://idp.example"}
    config = load(None, overrides={"state_dir": str(tmp_path / "other")}, environ=environ)
    prepare(config)
    deployment = Deployment(config, URL)
    await deployment.open()
    transport = httpx.ASGITransport(deployment.app())
    async with httpx.AsyncClient(transport=transport, base_url=URL) as other:
        answer = await other.post("/ssf/events", content=b"x.y.z", headers=kind)
    await deployment.close()
    assert (answer.status_code, answer.json()["err"]) == (400, "invalid_request")
    environ = {"CRYOGATE_SSF_RECEIVERS": "http://soc.example/events"}
    config = load(None, overrides={"state_dir": str(tmp_path / "third")}, environ=environ)
    prepare(config)
    with pytest.raises(ConfigError, match=r"ssf\.receivers"):
        Deployment(config, URL)
