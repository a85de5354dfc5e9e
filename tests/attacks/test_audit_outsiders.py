"""docs/auditor-guide.md, followed: verifiers that are not ours find what was done to a log.

Each attack is tried on Go's own tile tree and on pymerkle, by the commands that the page shows.
"""

from __future__ import annotations

import asyncio
import base64
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


def truncate(desk: Path) -> None:
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


ALWAYS = [flip, swap, remove, replay, bundle_gone, forge_size, sign_anew]
ONLY_WITH_A_KEPT_HEAD = [truncate, fork]


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
