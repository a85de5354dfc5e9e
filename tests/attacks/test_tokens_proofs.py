"""Proofs of possession that must not be accepted (RFC 9449)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as jose_jws
from joserfc.jwk import ECKey
from tests.support.tokens import URL, Wire, compact

from cryogate.domain.errors import Unavailable
from cryogate.tokens.dpop import make_proof, token_hash
from cryogate.tokens.errors import (
    InvalidProof,
    MalformedToken,
    NonceRequired,
    ReplayedProof,
    WrongToken,
)
from cryogate.tokens.guard import ResourceGuard, challenge
from cryogate.tokens.keys import generate
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow

pytestmark = pytest.mark.attack("T5")


def _check(wire: Wire, proof: str, **changes: Any) -> None:
    wire.proofs.verify(proof, **{"method": "POST", "url": URL, **changes})


def test_a_sound_proof_is_accepted_once() -> None:
    wire = Wire()
    proof = wire.proof()
    _check(wire, proof)
    with pytest.raises(ReplayedProof):
        _check(wire, proof)


def test_a_proof_signed_again_is_a_replay_all_the_same() -> None:
    # ECDSA is not deterministic: the jti counts, not the bytes.
    wire = Wire()
    claims = wire.proof_claims()
    _check(wire, compact(wire.proof_header(), claims, wire.client_key))
    with pytest.raises(ReplayedProof):
        _check(wire, compact(wire.proof_header(), claims, wire.client_key))


def test_a_proof_of_another_library_is_accepted() -> None:
    wire = Wire()
    key = ECKey.import_key({**wire.client_key.private_jwk()})
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": wire.client_key.public.jwk()}
    _check(wire, jose_jws.serialize_compact(header, json.dumps(wire.proof_claims()), key))


def test_made_proofs_are_accepted() -> None:
    wire = Wire()
    ath = token_hash("token")
    proof = make_proof(wire.client_key, "POST", URL + "?limit=3#top", now=wire.now, ath=ath)
    _check(wire, proof, ath=ath, jkt=wire.client_key.kid)


@pytest.mark.parametrize(
    "change",
    [
        {"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": ...}, {"alg": "none"}, {"alg": "HS256"},
        {"alg": "EdDSA"}, {"jwk": ...}, {"jwk": {}}, {"jwk": "x"}, {"kid": "k"},
        {"jku": "https://evil.example"}, {"x5c": []}, {"crit": ["b64"], "b64": False},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
    ],
)  # fmt: skip
def test_headers(change: dict[str, Any]) -> None:
    wire = Wire()
    proof = compact(wire.proof_header(**change), wire.proof_claims(), wire.client_key)
    with pytest.raises(InvalidProof):
        _check(wire, proof)


def test_a_private_key_in_the_header() -> None:
    wire = Wire()
    header = wire.proof_header(jwk=wire.client_key.private_jwk())
    with pytest.raises(InvalidProof, match="private"):
        _check(wire, compact(header, wire.proof_claims(), wire.client_key))


@pytest.mark.parametrize(
    "change",
    [
        {"htm": "GET"}, {"htm": "post"}, {"htm": ...}, {"htm": ["POST"]},
        {"htu": "https://gate.example/v1/job"}, {"htu": "https://gate.example/v1/jobs/"},
        {"htu": "http://gate.example/v1/jobs"}, {"htu": "https://gate.example:8443/v1/jobs"},
        {"htu": "https://evil.example/v1/jobs"}, {"htu": URL + "?x=1"}, {"htu": URL + "#x"},
        {"htu": "https://a@gate.example/v1/jobs"}, {"htu": "https://gate.example/x/../v1/jobs"},
        {"htu": "https://gate.example/v1%2Fjobs"}, {"htu": "/v1/jobs"}, {"htu": ""},
        {"htu": "https://gate.example/v1/jobs\u0131"}, {"htu": "https://[/v1/jobs"},
        {"htu": ...}, {"htu": 1}, {"ath": "A" * 43}, {"ath": 1}, {"iat": ...}, {"iat": 1.5},
        {"iat": "1"}, {"iat": True}, {"jti": ...}, {"jti": ""}, {"jti": "j" * 129}, {"jti": 1},
    ],
)  # fmt: skip
def test_claims(change: dict[str, Any]) -> None:
    wire = Wire()
    with pytest.raises(InvalidProof):
        _check(wire, wire.proof(**change))
    assert len(wire.replay) == 0, "a refused proof takes up no memory"


@pytest.mark.parametrize(
    "htu",
    ["HTTPS://GATE.example/v1/jobs", "https://gate.example:443/v1/jobs",
     "https://gate.example/v1/%6Aobs"],
)  # fmt: skip
def test_equal_urls_in_other_spellings(htu: str) -> None:
    wire = Wire()
    _check(wire, wire.proof(htu=htu))


def test_another_key_or_token_than_the_bound_one() -> None:
    wire = Wire()
    with pytest.raises(InvalidProof, match="another key"):
        _check(wire, wire.proof(), jkt=generate().kid)
    with pytest.raises(InvalidProof, match="ath"):
        _check(wire, wire.proof(), ath=token_hash("token"), jkt=wire.client_key.kid)
    proof = wire.proof(ath=token_hash("other"))
    with pytest.raises(InvalidProof, match="ath"):
        _check(wire, proof, ath=token_hash("token"), jkt=wire.client_key.kid)


def test_a_strangers_signature_under_the_clients_key() -> None:
    wire = Wire()
    ath = token_hash("token")
    _check(wire, wire.proof(ath=ath), ath=ath, jkt=wire.client_key.kid)  # the key is known now
    forged = compact(wire.proof_header(), wire.proof_claims(ath=ath), generate())
    with pytest.raises(InvalidProof, match="signature"):
        _check(wire, forged, ath=ath, jkt=wire.client_key.kid)


def test_the_window() -> None:
    wire = Wire()
    _check(wire, wire.proof(iat=wire.now - 60))
    _check(wire, wire.proof(iat=wire.now + 5))
    with pytest.raises(InvalidProof, match="too old"):
        _check(wire, wire.proof(iat=wire.now - 61))
    with pytest.raises(NonceRequired):
        _check(wire, wire.proof(iat=wire.now + 6))


@settings(max_examples=100, deadline=None)
@given(
    iat=st.integers(-60, 5), steps=st.lists(st.integers(0, 40_000), max_size=12), back=st.booleans()
)
def test_a_proof_is_never_accepted_twice_whenever_it_comes(
    iat: int, steps: list[int], back: bool
) -> None:
    wire = Wire()
    proof = wire.proof(iat=wire.now + iat)
    _check(wire, proof)
    for step in steps:
        wire.clock.advance(-step if back else step)
        with pytest.raises(InvalidProof):
            _check(wire, proof)
        if not back:
            _check(wire, wire.proof())


def test_memory_follows_the_window_and_is_bounded() -> None:
    wire = Wire()
    wire.replay = ReplayWindow(not_before_s=0, capacity=50)
    wire.proofs = wire.proof_verifier()
    for _ in range(50):
        _check(wire, wire.proof())
    with pytest.raises(Unavailable):
        _check(wire, wire.proof())
    wire.clock.advance(s=70)
    _check(wire, wire.proof())
    assert len(wire.replay) == 1


def test_a_restart_opens_no_gap() -> None:
    before, after = Wire(), Wire()
    after.client_key = before.client_key
    accepted = [before.proof(iat=before.now + ahead) for ahead in (-60, -1, 0, 5)]
    for proof in accepted:
        _check(before, proof)
    after.replay = ReplayWindow(not_before_s=after.now)
    after.proofs = after.proof_verifier()
    for _ in range(80):
        for proof in accepted:
            with pytest.raises(InvalidProof):
                _check(after, proof)
        after.clock.advance(s=1)


def test_after_a_restart_the_nonce_is_the_way_in() -> None:
    wire = Wire()
    wire.replay = ReplayWindow(not_before_s=wire.now)
    wire.proofs = wire.proof_verifier()
    with pytest.raises(NonceRequired) as asked:
        _check(wire, wire.proof())
    proof = wire.proof(nonce=asked.value.nonce)
    _check(wire, proof)
    with pytest.raises(ReplayedProof):
        _check(wire, proof)
    wire.clock.advance(s=6)
    _check(wire, wire.proof())


def test_a_nonce_is_good_at_one_process_and_for_its_time() -> None:
    here, there = Wire(), Wire()
    here.proofs = here.proof_verifier(require_nonce=True)
    there.client_key, there.proofs = here.client_key, there.proof_verifier(require_nonce=True)
    with pytest.raises(NonceRequired) as asked:
        _check(here, here.proof())
    proof = here.proof(nonce=asked.value.nonce)
    _check(here, proof)
    with pytest.raises(NonceRequired):  # the same proof at another replica
        _check(there, proof)
    here.clock.advance(s=59)
    _check(here, here.proof(nonce=asked.value.nonce))
    here.clock.advance(s=1)
    with pytest.raises(NonceRequired):
        _check(here, here.proof(nonce=asked.value.nonce))


@pytest.mark.parametrize("nonce", ["", "A", "AAAA", "!", "A" * 32, "A" * 300])
def test_made_up_nonces(nonce: str) -> None:
    assert not NonceSource().accepts(nonce, 0)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    wire = _WIRE
    proof = wire.proof()
    place = data.draw(st.integers(0, len(proof) - 1))
    char = data.draw(
        st.sampled_from(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0"
        ).filter(lambda c: c != proof[place])
    )
    with pytest.raises(InvalidProof):
        _check(wire, proof[:place] + char + proof[place + 1 :], jkt=wire.client_key.kid)


_WIRE = Wire()
_check(_WIRE, _WIRE.proof(), jkt=_WIRE.client_key.kid)


def _headers(wire: Wire, token: str) -> tuple[list[str], list[str]]:
    return [f"DPoP {token}"], [wire.proof(ath=token_hash(token))]


def test_token_and_proof_together() -> None:
    wire = Wire()
    guard = ResourceGuard(wire.tokens, wire.proofs)
    token = wire.token()
    authorization, proofs = _headers(wire, token)
    assert guard.check(authorization, proofs, method="POST", url=URL)[0].subject == "a1"
    with pytest.raises(ReplayedProof):
        guard.check(authorization, proofs, method="POST", url=URL)


@pytest.mark.attack("T5", "T7")
def test_a_bound_token_is_never_a_bearer_token() -> None:
    wire = Wire()
    guard = ResourceGuard(wire.tokens, wire.proofs)
    token = wire.token()
    ok, proofs = _headers(wire, token)
    bearer = [f"Bearer {token}"]
    for authorization in (bearer, [], [token], ok * 2, ["DPoP"], ["DPoP "], [f"DPoP  {token}"]):
        with pytest.raises((MalformedToken, WrongToken)):
            guard.check(authorization, proofs, method="POST", url=URL)
    for given_proofs in ([], proofs * 2, [""], [f"{proofs[0]},{proofs[0]}"]):
        with pytest.raises(InvalidProof):
            guard.check(ok, given_proofs, method="POST", url=URL)


def test_a_token_is_useless_to_whoever_stole_it() -> None:
    wire, thief = Wire(), Wire()
    guard = ResourceGuard(wire.tokens, wire.proofs)
    token = wire.token()
    with pytest.raises(InvalidProof, match="another key"):
        guard.check(*_headers(thief, token), method="POST", url=URL)


def test_challenges_name_the_error() -> None:
    assert challenge(ReplayedProof()) == 'DPoP error="invalid_dpop_proof", algs="ES256"'
    assert challenge(NonceRequired("n")) == 'DPoP error="use_dpop_nonce", algs="ES256"'
    assert challenge(MalformedToken("x")) == 'DPoP error="invalid_token", algs="ES256"'
