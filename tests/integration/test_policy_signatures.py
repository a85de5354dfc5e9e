"""What we sign, a real OPA verifies; what OPA signs, we verify; versions must agree."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.integration.test_opa import opa_server
from tests.support.policy import JOB, opa_binary

from cryogate.cli.main import cli
from cryogate.domain.decisions import Allow, Deny
from cryogate.policies import Bundle, OpaEngine, shipped_bundle
from cryogate.policies.bundle_files import MANIFEST, SIGNATURES, read_files
from cryogate.policies.local_key import open_signer, sign_directory
from cryogate.policies.signing import verify_files


def packed(room: Path) -> tuple[Path, Path, str]:
    """A signed bundle as an archive, the signer's PEM file and its name."""
    (room / "state").mkdir(mode=0o700, exist_ok=True)
    key = open_signer(room / "state")
    shutil.copytree(shipped_bundle(), room / "bundle", dirs_exist_ok=True)
    sign_directory(room / "bundle", key)
    archive = room / "bundle.tar.gz"
    done = CliRunner().invoke(cli, ["policy", "pack", str(room / "bundle"), str(archive)])
    assert done.exit_code == 0, done.output
    (room / "signer.pem").write_text(key.public.pem())
    return archive, room / "signer.pem", key.kid


def opa_verifies(archive: Path, pem: Path, kid: str) -> bool:
    done = subprocess.run(
        [opa_binary(), "build", "--bundle", str(archive), "--verification-key", str(pem),
         "--verification-key-id", kid, "--signing-alg", "ES256", "-o", str(archive) + ".out"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.attack("A9")
def test_opa_verifies_our_signature_and_finds_every_change(tmp_path: Path) -> None:
    archive, pem, kid = packed(tmp_path)
    assert opa_verifies(archive, pem, kid)
    for name in ("cryogate/caps.rego", "cryogate_data/tiers/data.json", MANIFEST):
        room = tmp_path / "altered"
        shutil.copytree(tmp_path / "bundle", room)
        content = (room / name).read_bytes()
        changed = content.replace(b"max_shots", b"max_shoTs").replace(b'"1"', b'"9"')
        if name.endswith(".rego"):
            (room / name).write_bytes(content + b"\n")
        else:
            assert changed != content
            (room / name).write_bytes(changed)
        subprocess.run(["tar", "czf", str(archive), "-C", str(room), "."], check=True)
        assert not opa_verifies(archive, pem, kid), name
        shutil.rmtree(room)


def test_we_verify_what_opa_signed(tmp_path: Path) -> None:
    """OPA names files from where it stands, so it signs inside the bundle."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    from cryogate.tokens.keys import SigningKey

    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    room = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), room)
    public = SigningKey(private).public
    (tmp_path / "claims.json").write_text(json.dumps({"keyid": public.kid}))
    subprocess.run(
        [opa_binary(), "sign", "--signing-key", str(tmp_path / "key.pem"), "--signing-alg", "ES256",
         "--bundle", "."],
        cwd=room, check=True, timeout=60,
    )  # fmt: skip
    files = read_files(room)
    header = json.loads(files[SIGNATURES])["signatures"][0]
    assert header
    ours = {f["name"]: f["hash"] for f in _payload(files[SIGNATURES])["files"]}
    from cryogate.policies.signing import file_hash

    assert ours == {n: file_hash(n, c) for n, c in files.items() if n != SIGNATURES}


def _payload(signatures: bytes) -> dict[str, list[dict[str, str]]]:
    from cryogate.tokens.encoding import unb64

    found: dict[str, list[dict[str, str]]] = json.loads(
        unb64(json.loads(signatures)["signatures"][0].split(".")[1])
    )
    return found


@pytest.mark.attack("A9", "A3")
async def test_a_server_with_another_version_denies(tmp_path: Path) -> None:
    archive, pem, kid = packed(tmp_path)
    manifest = tmp_path / "bundle" / MANIFEST
    verify = ("--verification-key", str(pem), "--verification-key-id", kid)
    with opa_server("--bundle", str(archive), *verify, "--signing-alg", "ES256") as (url, _):
        held = OpaEngine(url, Bundle.load(tmp_path / "bundle"), 10_000)
        manifest.write_text('{"revision": "2"}')
        awaited = OpaEngine(url, Bundle.load(tmp_path / "bundle"), 10_000)
        try:
            assert isinstance(await held.decide(JOB), Allow)
            assert isinstance(await awaited.decide(JOB), Deny)
            assert await awaited.caps(JOB) is None
        finally:
            await held.close()
            await awaited.close()


def test_the_local_key_signs_what_is_trusted(tmp_path: Path) -> None:
    packed(tmp_path)
    key = open_signer(tmp_path / "state")
    assert verify_files(read_files(tmp_path / "bundle"), {key.kid: key.public}) == key.kid
    assert (tmp_path / "state" / "policy-signer.jwk").stat().st_mode & 0o077 == 0
