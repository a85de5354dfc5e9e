"""Access tokens that must not be accepted."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as jose_jws
from joserfc.jwk import ECKey
from tests.support.tokens import ISSUER, URL, Wire, compact

from cryogate.tokens.encoding import b64
from cryogate.tokens.errors import (
    BadSignature,
    ExpiredToken,
    MalformedToken,
    TokenError,
    WrongToken,
)
from cryogate.tokens.guard import ResourceGuard
from cryogate.tokens.keys import generate


def test_a_sound_token_is_accepted_and_says_what_it_is() -> None:
    wire = Wire()
    token = wire.token()
    held = wire.tokens.verify(token)
    assert (held.subject, held.audience, held.jkt) == ("a1", "qpu-gateway", wire.client_key.kid)
    assert held.grant is not None
    assert held.grant.max_total_shots == 100
    assert held.ath == b64(hashlib.sha256(token.encode()).digest())
    assert held.issued_ms == wire.now * 1000


def test_another_library_reads_our_tokens() -> None:
    wire = Wire()
    key = ECKey.import_key({**wire.issuer_key.public.jwk()})
    read = jose_jws.deserialize_compact(wire.token(), key, algorithms=["ES256"])
    assert read.payload is not None
    assert json.loads(read.payload)["iss"] == ISSUER


@pytest.mark.attack("T1")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "ES384", "RS256", "HS256"])
def test_no_other_algorithm(alg: str) -> None:
    wire = Wire()
    for key in (None, wire.issuer_key):
        with pytest.raises(TokenError):
            wire.tokens.verify(compact(wire.header(alg=alg), wire.claims(), key))


@pytest.mark.attack("T1")
def test_a_public_key_is_never_a_shared_secret() -> None:
    wire = Wire()
    jwk = wire.issuer_key.public.jwk()
    parts = (wire.header(alg="HS256"), wire.claims())
    text = ".".join(b64(json.dumps(part).encode()) for part in parts)
    for secret in (json.dumps(jwk).encode(), jwk["x"].encode(), jwk["kid"].encode()):
        mac = hmac.digest(secret, text.encode(), "sha256")
        for signature in (mac, mac + mac):
            with pytest.raises(BadSignature):
                wire.tokens.verify(f"{text}.{b64(signature)}")


@pytest.mark.attack("T1")
@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MII"]},
        {"x5t": "AAAA"},
        {"crit": ["exp"], "exp": 1},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"anything": 1},
    ],
)
def test_a_header_never_says_where_to_find_a_key(extra: dict[str, Any]) -> None:
    wire = Wire()
    with pytest.raises(MalformedToken):
        wire.tokens.verify(compact(wire.header(**extra), wire.claims(), wire.issuer_key))


@pytest.mark.attack("T1")
def test_an_embedded_key_is_not_looked_at() -> None:
    wire, mine = Wire(), generate()
    for kid in (mine.kid, wire.issuer_key.kid):
        forged = compact(wire.header(kid=kid, jwk=mine.public.jwk()), wire.claims(), mine)
        with pytest.raises(MalformedToken):
            wire.tokens.verify(forged)


@pytest.mark.attack("T1")
def test_a_strangers_signature_under_our_kid() -> None:
    wire = Wire()
    with pytest.raises(BadSignature):
        wire.tokens.verify(compact(wire.header(), wire.claims(), generate()))


@pytest.mark.attack("T2")
@pytest.mark.parametrize(
    "typ", ["JWT", "dpop+jwt", "secevent+jwt", "client-authentication+jwt", "AT+JWT", "", ...]
)
def test_another_kind_of_jwt_is_no_access_token(typ: Any) -> None:
    wire = Wire()
    with pytest.raises(WrongToken):
        wire.tokens.verify(compact(wire.header(typ=typ), wire.claims(), wire.issuer_key))


@pytest.mark.attack("T3")
@pytest.mark.parametrize(
    "aud",
    ["cryogate-admin", "qpu-gateway ", "QPU-GATEWAY", "", ["qpu-gateway"],
     ["qpu-gateway", "other"], None, ..., 1, {"qpu-gateway": 1}],
)  # fmt: skip
def test_exactly_our_audience(aud: Any) -> None:
    wire = Wire()
    with pytest.raises(TokenError):
        wire.tokens.verify(wire.token(aud=aud))


@pytest.mark.attack("T3")
@pytest.mark.parametrize(
    "iss", ["https://broker.example/", "http://broker.example", "", [ISSUER], ...]
)
def test_exactly_our_issuer(iss: Any) -> None:
    wire = Wire()
    with pytest.raises(TokenError):
        wire.tokens.verify(wire.token(iss=iss))


@pytest.mark.attack("T5")
@pytest.mark.parametrize("cnf", [..., None])
def test_a_token_bound_to_nothing_needs_a_setting_with_insecure_in_its_name(cnf: Any) -> None:
    wire = Wire()
    token = wire.token(cnf=cnf)
    with pytest.raises(WrongToken):
        wire.tokens.verify(token)
    bearer = ResourceGuard(wire.verifier(insecure_bearer=True), wire.proofs)
    held, proof = bearer.check([f"Bearer {token}"], [], method="POST", url=URL)
    assert (held.subject, proof) == ("a1", None)
    bound = wire.token()  # and even there, what is bound stays bound
    with pytest.raises(WrongToken):
        bearer.check([f"Bearer {bound}"], [], method="POST", url=URL)


@pytest.mark.attack("T6")
def test_a_certificates_token_is_good_on_that_certificates_connections_only() -> None:
    wire = Wire()
    token = wire.token(cnf={"x5t#S256": "A" * 43})
    guard = ResourceGuard(wire.tokens, wire.proofs)
    bearer = [f"Bearer {token}"]
    held, _ = guard.check(bearer, [], method="POST", url=URL, certificate=lambda: "A" * 43)
    assert held.x5t == "A" * 43
    for shown in ("B" * 43, "", None):
        other = iter([shown]).__next__
        with pytest.raises(WrongToken):
            guard.check(bearer, [], method="POST", url=URL, certificate=other)
    with pytest.raises(WrongToken):
        guard.check([f"DPoP {token}"], [wire.proof()], method="POST", url=URL)


@pytest.mark.attack("T12")
def test_the_last_millisecond_and_the_first_one_after() -> None:
    wire = Wire()
    token = wire.token()
    wire.clock.advance(299_999)
    wire.tokens.verify(token)
    wire.clock.advance(1)
    for verifier in (wire.tokens, wire.verifier()):
        with pytest.raises(ExpiredToken):
            verifier.verify(token)


@pytest.mark.attack("T12")
def test_a_token_of_the_future_waits() -> None:
    wire = Wire()
    wire.tokens.verify(wire.token(iat=wire.now + 5))
    token = wire.token(iat=wire.now + 6)
    with pytest.raises(ExpiredToken):
        wire.tokens.verify(token)
    wire.clock.advance(s=1)
    wire.tokens.verify(token)


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "change",
    [
        {"exp": "2000000000"}, {"exp": 2e9}, {"exp": True}, {"exp": None}, {"exp": ...},
        {"exp": -1}, {"exp": 10**30}, {"iat": 1.5}, {"iat": ...}, {"jti": "1"}, {"jti": ...},
        {"sub": ""}, {"sub": 1}, {"cnf": {}}, {"cnf": {"x5t": "A" * 43}}, {"cnf": {"jkt": "short"}},
        {"cnf": {"jkt": "A" * 43, "x5t#S256": "A" * 43}}, {"scope": None}, {"admin": True},
        {"exp_params": {}}, {"exp_params": None}, {"exp_params": []}, {"act": {"sub": "x"}},
    ],
)  # fmt: skip
def test_claims_of_another_type_are_refused(change: dict[str, Any]) -> None:
    wire = Wire()
    if change == {"exp_params": None}:
        # Said to be absent: an operator's form. It must not carry a grant.
        assert wire.tokens.verify(wire.token(**change)).grant is None
        return
    with pytest.raises(MalformedToken):
        wire.tokens.verify(wire.token(**change))


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "bound",
    [
        {"max_shots": "10"}, {"max_shots": 1e3}, {"max_shots": True}, {"max_shots": -1},
        {"max_shots": None}, {"max_shots": 2**53}, {"results": "RAW"}, {"results": 1},
        {"experiment_id": "E1"}, {"experiment_id": "e\u0131"}, {"allowed_backends": ["LOCAL:aer"]},
        {"allowed_backends": "local:aer"}, {"allowed_gate_set": [1]}, {"price": 0},
        {"allowed_backends": ["local:aer"] * 65},
    ],
)  # fmt: skip
def test_bounds_of_another_type_are_refused(bound: dict[str, Any]) -> None:
    wire = Wire()
    params = {**wire.claims()["exp_params"], **bound}
    with pytest.raises(MalformedToken):
        wire.tokens.verify(wire.token(exp_params=params))


@pytest.mark.attack("A4")
def test_a_claim_that_is_there_twice() -> None:
    wire = Wire()
    body = json.dumps(wire.claims()).encode()
    twice = body[:-1] + b',"aud":"qpu-gateway"}'
    with pytest.raises(MalformedToken):
        wire.tokens.verify(compact(wire.header(), twice, wire.issuer_key))
    head = json.dumps(wire.header()).encode()[:-1] + b',"alg":"ES256"}'
    with pytest.raises(MalformedToken):
        wire.tokens.verify(compact(head, wire.claims(), wire.issuer_key))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b", "a.b.c.d", "a" * 9000, "é.b.c", "\ud800.a.b", "a.b.c\n"]
)
def test_what_is_no_jws_at_all(token: str) -> None:
    with pytest.raises(MalformedToken):
        Wire().tokens.verify(token)


@pytest.mark.attack("T1")
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(_TOKEN) - 1))
    char = data.draw(
        st.sampled_from(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0"
        ).filter(lambda c: c != _TOKEN[place])
    )
    with pytest.raises(TokenError):
        _WIRE.tokens.verify(_TOKEN[:place] + char + _TOKEN[place + 1 :])


_WIRE = Wire()
_TOKEN = _WIRE.token()
_WIRE.tokens.verify(_TOKEN)  # in the cache: a changed token must not find it


@pytest.mark.attack("T11")
def test_a_flood_of_unknown_keys_reads_nothing() -> None:
    wire = Wire()
    wire.tokens.verify(wire.token())
    reads = wire.reads
    for n in range(100):
        with pytest.raises(BadSignature):
            wire.tokens.verify(compact(wire.header(kid=f"k{n}"), wire.claims(), wire.issuer_key))
    with pytest.raises(BadSignature):
        wire.tokens.verify(compact(wire.header(kid=...), wire.claims(), wire.issuer_key))
    assert wire.reads == reads


@pytest.mark.attack("T11")
def test_a_key_that_is_withdrawn_ends_its_tokens_even_remembered_ones() -> None:
    wire = Wire()
    token = wire.token()
    wire.tokens.verify(token)
    wire.keys, wire.generation = {}, 2
    with pytest.raises(BadSignature):
        wire.tokens.verify(token)


def test_the_cache_is_bounded_and_strangers_do_not_fill_it() -> None:
    wire = Wire()
    tokens = wire.verifier(cache_size=2)
    for _ in range(5):
        tokens.verify(wire.token())
        with pytest.raises(TokenError):
            tokens.verify(compact(wire.header(), wire.claims(), generate()))
    assert len(tokens._cache) == 2


def test_a_verifier_without_issuer_or_audience_cannot_be_made() -> None:
    for change in ({"issuer": ""}, {"audience": ""}):
        with pytest.raises(ValueError, match="needed"):
            Wire().verifier(**change)
