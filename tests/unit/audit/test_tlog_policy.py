"""C2SP tlog-policy: a quorum of witnesses, and everything that must not pass for one."""

from __future__ import annotations

import pytest
from tests.support.audit import ORIGIN, signer

from cryogate.audit.checkpoint import Checkpoint, sign_checkpoint
from cryogate.audit.cosign import Ed25519Cosigner
from cryogate.audit.errors import NoteRefused
from cryogate.audit.tlog_policy import parse_policy
from cryogate.domain.secrets import Secret
from cryogate.testing.clock import FakeClock

HEAD = Checkpoint(ORIGIN, 600, b"\5" * 32)
W = [Ed25519Cosigner(f"w{n}.example", Secret(bytes([n + 10]) * 32), FakeClock()) for n in range(5)]
KEYS = [w.verifier().vkey() for w in W]
LOG = signer().verifier().vkey()
TEXT = f"""\
# two organizations
log {LOG} https://log.example/
witness X1 {KEYS[0]}
witness X2 {KEYS[1]}
\twitness X3   {KEYS[2]}  https://w.example/
group X 2 X1 X2 X3
witness Y1 {KEYS[3]}
witness Y2 {KEYS[4]}
group Y any Y1 Y2

group XY all X Y
quorum XY
"""


@pytest.mark.parametrize(
    ("who", "met"),
    [((0, 1, 3), True), ((0, 2, 4), True), ((0, 1, 2, 3, 4), True), ((0, 3), False),
     ((0, 1, 2), False), ((3, 4), False), ((), False)],
)  # fmt: skip
@pytest.mark.attack("L1")
def test_a_quorum_counts_witnesses(who: tuple[int, ...], met: bool) -> None:
    note = sign_checkpoint(HEAD, signer(), *(W[n] for n in who))
    policy = parse_policy(TEXT)
    if met:
        assert policy.open(note) == HEAD
    else:
        with pytest.raises(NoteRefused, match="quorum"):
            policy.open(note)


@pytest.mark.attack("L1")
def test_witnesses_alone_are_no_log_and_a_wrong_cosignature_is_none() -> None:
    policy = parse_policy(TEXT)
    with pytest.raises(NoteRefused):
        policy.open(sign_checkpoint(HEAD, *W))
    other = Checkpoint(ORIGIN, 601, b"\6" * 32)
    stolen = sign_checkpoint(other, signer(), *W).decode().partition("\n\n")[2].splitlines()[1:]
    note = sign_checkpoint(HEAD, signer()).decode() + "".join(f"{line}\n" for line in stolen)
    with pytest.raises(NoteRefused):
        policy.open(note.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"log {LOG}\n",
        "quorum none\n",
        f"log {LOG}\nquorum X\n",
        f"log {LOG}\nquorum none\nquorum none\n",
        f"log {LOG}\nlog {LOG}\nquorum none\n",
        f"log {LOG}\nwitness none {KEYS[0]}\nquorum none\n",
        f"log {LOG}\nwitness A {KEYS[0]}\nwitness B {KEYS[0]}\nquorum A\n",
        f"log {LOG}\nwitness A {KEYS[0]}\ngroup G 2 A A\nquorum G\n",
        f"log {LOG}\nwitness A {KEYS[0]}\ngroup G 2 A\nquorum G\n",
        f"log {LOG}\nwitness A {KEYS[0]}\ngroup G 0 A\nquorum G\n",
        f"log {LOG}\ngroup G any none\nquorum G\n",
        f"log {LOG}\ngroup G any G\nquorum G\n",
        f"log {LOG}\nwitnes A {KEYS[0]}\nquorum none\n",
        f"log {LOG[:-4]}\nquorum none\n",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_policy(text)


def test_no_witness_can_be_enough_when_the_auditor_says_so() -> None:
    assert parse_policy(f"log {LOG}\nquorum none\n").open(sign_checkpoint(HEAD, signer())) == HEAD
