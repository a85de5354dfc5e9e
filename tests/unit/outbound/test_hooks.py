"""Where webhooks may lead, and that what is sent under our name is ours."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import InvalidSignature
from tests.support.hooks import verified

from cryogate.domain.errors import Forbidden, Malformed
from cryogate.outbound.hooks import Hooks
from cryogate.outbound.message_signatures import MessageSigner

LISTED = Hooks(("hooks.example.org", "*.apps.example.org", "one.example.org:8443"))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/",
        "https://hooks.example.org/a/b?c=d&e=%20",
        "https://a.apps.example.org/x",
        "https://a.b.apps.example.org/x",
        "https://one.example.org:8443/x",
    ],
)
def test_listed_hosts_may_be_named(url: str) -> None:
    assert LISTED.check(url) == url


@pytest.mark.attack("P4")
@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.org/",
        "https://hooks.example.org.evil.example/",
        "https://xhooks.example.org/",
        "https://apps.example.org/x",
        "https://evilapps.example.org/x",
        "https://hooks.example.org:8443/",
        "https://one.example.org/x",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_other_hosts_may_not(url: str) -> None:
    with pytest.raises(Forbidden) as refused:
        LISTED.check(url)
    assert refused.value.violations[0].limit == "webhook_hosts"


@pytest.mark.attack("P4", "A4")
@pytest.mark.parametrize(
    "url",
    [
        "", "http://hooks.example.org/", "https://hooks.example.org", "https://HOOKS.example.org/",
        "https://hooks.example.org:443/", "https://hooks.example.org:0443/",
        "https://u:p@hooks.example.org/", "https://hooks.example.org/#f",
        "https://hooks.example.org/../x", "https://hooks.example.org/a/./b",
        "https://hooks.example.org/a/%2e%2E/b", "https://hooks.example.org/a\\b",
        "https://hooks.example.org/\n", "https://hooks.example.org/a b", 'https://hooks.example.org/"',
        "https://hooks.example.org@evil.example/", "https://[::1]/", "https://h\u043e\u043eks.example.org/",
        "https://hooks.example.org/" + "a" * 600, "javascript:alert(1)", "//hooks.example.org/",
    ],
)  # fmt: skip
def test_a_url_has_one_spelling(url: str) -> None:
    with pytest.raises(Malformed):
        LISTED.check(url)


def test_nothing_listed_means_nothing_may_be_named() -> None:
    assert not Hooks().any
    with pytest.raises(Forbidden):
        Hooks().check("https://hooks.example.org/")


@pytest.mark.parametrize("entry", ["", "*", "*.", "https://x", "a/b", "A.example", "a:b", "a b"])
def test_the_list_holds_hosts_and_nothing_else(entry: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        Hooks((entry,))


def test_a_receiver_verifies_with_the_published_key_alone() -> None:
    signer = MessageSigner(Ed25519PrivateKey.generate())
    url, body = "https://hooks.example.org/a?b=c", b'{"type":"job.done"}'
    headers = signer.signed("POST", url, "msg-1", body, time.time_ns() // 10**6)
    covered = verified(signer.jwk, "POST", url, headers, body)
    assert covered >= {"@method", "@target-uri", "content-digest", "content-type", "webhook-id"}
    assert signer.jwk["kid"] == signer.kid
    for changed in (
        ("GET", url, headers),
        ("POST", "https://hooks.example.org/other", headers),
        ("POST", "https://another.example.org/a?b=c", headers),
        ("POST", url, {**headers, "webhook-id": "msg-2"}),
        ("POST", url, {**headers, "content-digest": "sha-256=:AAAA:"}),
        ("POST", url, {**headers, "signature": "sig=:" + "A" * 86 + "==:"}),
    ):
        with pytest.raises((InvalidSignature, AssertionError)):
            verified(signer.jwk, *changed, body)
    stranger = MessageSigner(Ed25519PrivateKey.generate())
    with pytest.raises(InvalidSignature):
        verified({**stranger.jwk, "kid": signer.kid}, "POST", url, headers, body)
