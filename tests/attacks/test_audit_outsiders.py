"""docs/auditor-guide.md, followed: verifiers that are not ours find what was done to a log.

Each attack is tried on Go's own tile tree and on pymerkle, by the commands that the page shows.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, Deployment, event, record, signer
from tests.support.goverify_build import build

from cryogate.audit.checkpoint import Checkpoint, sign_checkpoint
from cryogate.audit.export import export_log
from cryogate.audit.merkle import leaf_hash, root_of
from cryogate.audit.note import Note, NoteSignature, parse_note
from cryogate.audit.tiles import decode_bundle, encode_bundle
from cryogate.ports.store import UnitOfWork

GUIDE = (Path(__file__).parents[2] / "docs/auditor-guide.md").read_text("utf-8")
KEPT, SIZE = 300, 600
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
            for line in block.splitlines() if line.startswith("$ ")]  # fmt: skip
WHOLE = [command for command in COMMANDS if "proof" not in command]


@pytest.fixture(scope="module")
def goverify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an auditor holds: the export, the key, a head kept earlier, the page's program."""
    folder = tmp_path_factory.mktemp("auditor")
    asyncio.run(make(folder))
    (folder / "log.vkey").write_text(signer().verifier().vkey() + "\n")
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (folder / "audit_check.py").write_text(program)
    return folder


async def make(folder: Path) -> None:
    (folder / "deployment").mkdir()
    async with Deployment(folder / "deployment").running() as (store, log):
        await record(store, KEPT)
        await log.sequence_now()
        (folder / "kept-head").write_bytes(await log.checkpoint_now())
        await record(store, SIZE - KEPT, KEPT)
        await log.sequence_now()
        note = await log.checkpoint_now()
        await export_log(store, note, log.verifiers, folder / "log-export")
    (folder / "fork").mkdir()
    async with Deployment(folder / "fork").running() as (store, log):
        for first in range(0, SIZE + 1, 200):
            made = tuple(event(n, agent_id="agent-8") for n in range(first, first + 200))
            await store.commit(UnitOfWork((), made))
        await log.sequence_now()
        note = await log.checkpoint_now()
        await export_log(store, note, log.verifiers, folder / "forked")


@pytest.fixture
def desk(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "desk")
    return tmp_path / "desk"


def run(desk: Path, goverify: Path, command: str) -> tuple[int, str]:
    tool, *args = command.split()
    program = {"goverify": [str(goverify)], "python": [sys.executable]}[tool]
    ran = subprocess.run(
        [*program, *args], cwd=desk, capture_output=True, text=True, check=False, timeout=60
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_the_page_has_two_verifiers() -> None:
    assert {command.split()[0] for command in WHOLE} == {"goverify", "python"}


@pytest.mark.parametrize("command", WHOLE)
def test_every_command_of_the_page_says_yes_to_an_honest_log(
    desk: Path, goverify: Path, command: str
) -> None:
    code, said = run(desk, goverify, command)
    assert code == 0, said
    assert said.startswith(f"{SIZE} ")


def entries(desk: Path, bundle: str) -> tuple[Path, list[bytes]]:
    path = desk / "log-export/tile/entries" / bundle
    return path, decode_bundle(path.read_bytes())


def flip(desk: Path) -> None:
    path = desk / "log-export/tile/entries/001"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)


def swap(desk: Path) -> None:
    path, found = entries(desk, "000")
    found[3], found[4] = found[4], found[3]
    path.write_bytes(encode_bundle(found))


def remove(desk: Path) -> None:
    path, found = entries(desk, "001")
    path.write_bytes(encode_bundle(found[:-1]))


def replay(desk: Path) -> None:
    path, found = entries(desk, "001")
    found[7] = found[6]
    path.write_bytes(encode_bundle(found))


def bundle_gone(desk: Path) -> None:
    (desk / "log-export/tile/entries/001").unlink()


def roll_back(desk: Path) -> None:
    """Cut back to an older head of its own: found with the kept head only."""
    path, found = entries(desk, "000")
    leaves = [leaf_hash(entry) for entry in found]
    folder = desk / "log-export"
    shutil.rmtree(folder / "tile/entries")
    shutil.rmtree(folder / "tile/1", ignore_errors=True)
    path.parent.mkdir()
    path.write_bytes(encode_bundle(found))
    (folder / "tile/1/000.p").mkdir(parents=True)
    (folder / "tile/1/000.p/1").write_bytes(root_of(leaves))
    head = Checkpoint(ORIGIN, 256, root_of(leaves))
    (folder / "checkpoint").write_bytes(sign_checkpoint(head, signer()))


def flip_tile(desk: Path) -> None:
    """A published hash: tools that read entries alone need not notice, the root decides."""
    path = desk / "log-export/tile/0/000"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def flip_root(desk: Path) -> None:
    path = desk / "log-export/checkpoint"
    lines = path.read_text("utf-8").split("\n")
    root = bytearray(base64.b64decode(lines[2]))
    root[0] ^= 1
    lines[2] = base64.b64encode(root).decode()
    path.write_text("\n".join(lines), "utf-8")


def forge_signature(desk: Path) -> None:
    """The right name and key id, and a signature that nobody made."""
    path = desk / "log-export/checkpoint"
    note = parse_note(path.read_bytes())
    (line,) = note.signatures
    forged = Note(note.text, (NoteSignature(line.name, line.key_id, bytes(64)),))
    path.write_bytes(forged.encode())


def forge_entry(desk: Path) -> None:
    """An entry more, and a head that counts it, with the signature of the head before."""
    folder, leaves = desk / "log-export", list[bytes]()
    for name in ("000", "001"):
        leaves += [leaf_hash(entry) for entry in entries(desk, name)[1]]
    path, found = entries(desk, "002.p/88")
    leaves += [leaf_hash(entry) for entry in found]
    found.append(found[-1].replace(b'"seq":599', b'"seq":600'))
    wider = path.with_name("89")
    wider.write_bytes(encode_bundle(found))
    head = parse_note((folder / "checkpoint").read_bytes())
    root = root_of([*leaves, leaf_hash(found[-1])])
    text = Checkpoint(ORIGIN, SIZE + 1, root).text()
    (folder / "checkpoint").write_bytes(Note(text, head.signatures).encode())


def another_log(desk: Path) -> None:
    """A log of another name, properly signed in that name by the same key."""
    path = desk / "log-export/checkpoint"
    lines = path.read_text("utf-8").split("\n")
    head = Checkpoint("cryogate.test/lag", int(lines[1]), base64.b64decode(lines[2]))
    path.write_bytes(sign_checkpoint(head, signer(1, "cryogate.test/lag")))


def forge_size(desk: Path) -> None:
    path = desk / "log-export/checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n600\n", b"\n599\n", 1))


def sign_anew(desk: Path) -> None:
    """Another key signs an altered history."""
    shutil.rmtree(desk / "log-export")
    shutil.copytree(desk / "forked", desk / "log-export")
    path = desk / "log-export/checkpoint"
    lines = path.read_text("utf-8").split("\n")
    head = Checkpoint(lines[0], int(lines[1]), base64.b64decode(lines[2]))
    path.write_bytes(sign_checkpoint(head, signer(2)))


def fork(desk: Path) -> None:
    """The log's own key signs another history: it agrees with itself, not with the kept head."""
    shutil.rmtree(desk / "log-export")
    shutil.copytree(desk / "forked", desk / "log-export")


#: The five kinds of attack that every verifier must find, and what each is tried by.
FIVE = {
    "flip": [flip, flip_root, swap, replay],
    "forgery": [forge_size, forge_signature, forge_entry, sign_anew, another_log],
    "truncation": [remove, bundle_gone],
    "fork": [fork],
    "rollback": [roll_back],
}
ONLY_WITH_A_KEPT_HEAD = [*FIVE["fork"], *FIVE["rollback"]]
ALWAYS = [each for kind in ("flip", "forgery", "truncation") for each in FIVE[kind]]


@pytest.mark.attack("L1")
@pytest.mark.parametrize("attack", ALWAYS, ids=lambda a: a.__name__)
@pytest.mark.parametrize("command", WHOLE, ids=["go", "go-grows", "pymerkle"])
def test_each_tool_finds_each_change(
    desk: Path, goverify: Path, command: str, attack: Callable[[Path], None]
) -> None:
    attack(desk)
    code, said = run(desk, goverify, command)
    assert code == 1, said


@pytest.mark.attack("L1")
@pytest.mark.attack("L2")
@pytest.mark.parametrize("attack", ONLY_WITH_A_KEPT_HEAD, ids=lambda a: a.__name__)
@pytest.mark.parametrize("command", [c for c in WHOLE if "kept-head" in c],
                         ids=["go-grows", "pymerkle"])  # fmt: skip
def test_who_kept_a_head_finds_a_fork_and_a_rollback(
    desk: Path, goverify: Path, command: str, attack: Callable[[Path], None]
) -> None:
    attack(desk)
    code, said = run(desk, goverify, command)
    assert code == 1, said
    assert "WRONG" in said


def test_all_five_kinds_are_tried_on_both_tools() -> None:
    assert set(FIVE) == {"flip", "forgery", "fork", "rollback", "truncation"}
    assert all(FIVE.values())
    with_head = {command.split()[0] for command in WHOLE if "kept-head" in command}
    assert with_head == {"goverify", "python"}, "a fork and a rollback need a kept head"


@pytest.mark.attack("L1")
def test_a_flipped_hash_tile_is_found_by_who_reads_tiles(desk: Path, goverify: Path) -> None:
    flip_tile(desk)
    found = {c.split()[0]: run(desk, goverify, c)[0] for c in WHOLE}
    assert found == {"goverify": 1, "python": 0}, "pymerkle computes every hash from the entries"


def test_the_verifier_is_built_by_a_go_that_is_new_enough(goverify: Path) -> None:
    """Older releases of Go's note and tile code accepted forged entries (CVE-2026-56865)."""
    go = os.environ.get("CRYOGATE_GO")
    if go is None:
        pytest.skip("CI says which Go it is (.ci/go)")
    said = subprocess.run([go, "version", goverify], capture_output=True, text=True, check=True)
    version = re.search(r"go(\d+)\.(\d+)\.(\d+)", said.stdout.rsplit(":", 1)[1])
    assert version is not None
    assert tuple(int(part) for part in version.groups()) >= (1, 27, 3)
