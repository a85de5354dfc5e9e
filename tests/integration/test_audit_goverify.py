"""The log as Go's own signed-note and tile-tree code sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.audit import Deployment, record, signer
from tests.support.goverify_build import build

from cryogate.audit.export import export_log

SIZES = (0, 1, 2, 255, 256, 257, 600)


@pytest.fixture(scope="module")
def goverify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("go"))


def judge(goverify: Path, target: Path) -> tuple[int, str]:
    vkey = target.parent / "trusted"
    vkey.write_text(signer().verifier().vkey() + "\n")
    ran = subprocess.run(
        [goverify, target, vkey], capture_output=True, text=True, check=False, timeout=60
    )
    return ran.returncode, ran.stdout + ran.stderr


async def export(directory: Path, size: int) -> tuple[Path, bytes]:
    target = directory / "export"
    async with Deployment(directory).running() as (store, log):
        await record(store, size)
        await log.sequence_now()
        note = await log.checkpoint_now()
        assert await export_log(store, note, log.verifiers, target) == size
    return target, note


@pytest.mark.parametrize("size", SIZES)
async def test_go_agrees_on_root_tiles_and_signature(
    goverify: Path, tmp_path: Path, size: int
) -> None:
    target, note = await export(tmp_path, size)
    code, said = judge(goverify, target)
    assert code == 0, said
    assert said.startswith(f"{size} ")
    assert note == (target / "checkpoint").read_bytes()


@pytest.mark.attack("L1")
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tile/entries/001", b'"shots":1000', b'"shots":9000'),
        ("tile/entries/000", b'"agent-7"', b'"agent-8"'),
        ("tile/entries/002.p/88", b"ada@", b"eve@"),
        ("checkpoint", b"\n600\n", b"\n599\n"),
        ("checkpoint", b"cryogate.test/log\n600", b"cryogate.test/lag\n600"),
    ],
)
async def test_go_finds_what_was_changed(
    goverify: Path, tmp_path: Path, file: str, old: bytes, new: bytes
) -> None:
    target, _ = await export(tmp_path, 600)
    content = (target / file).read_bytes()
    assert old in content
    (target / file).write_bytes(content.replace(old, new, 1))
    code, said = judge(goverify, target)
    assert code == 1
    assert said.startswith("WRONG")
