"""A deployment on a real OPA: nothing is allowed until it holds the bundle in force."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.integration.test_opa import opa_server
from tests.support.policy import JOB

from cryogate.config import load
from cryogate.domain.decisions import Allow, Deny
from cryogate.policies import Bundle, shipped_bundle
from cryogate.policies.bundle_files import MANIFEST, read_files
from cryogate.policies.local_key import open_signer, sign_directory
from cryogate.startup import prepare
from cryogate.wiring import Deployment


def _bundle(room: Path, state: Path, version: int) -> Bundle:
    shutil.copytree(shipped_bundle(), room)
    (room / MANIFEST).write_text(json.dumps({"revision": str(version)}))
    return sign_directory(room, open_signer(state))


@pytest.mark.attack("A3", "A9")
async def test_versions_must_agree_between_cryogate_and_opa(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = shipped_bundle()
    with opa_server("--bundle", str(first)) as (url, _):
        config = load(
            overrides={"state_dir": str(state), "policy.engine": "opa", "policy.opa_url": url},
            environ={},
        )
        prepare(config)
        deployment = Deployment(config, "http://127.0.0.1:1")
        await deployment.open()
        try:
            policy = deployment.ground.policy
            assert isinstance(await policy.decide(JOB), Allow)
            _bundle(tmp_path / "next", state, 2)
            files = read_files(tmp_path / "next")
            activated = await deployment.policies.desk.activate(files, "operator:a")
            assert isinstance(await policy.decide(JOB), Deny)  # the server still holds version 1
            assert policy.digest == activated.digest
            await deployment.policies.desk.rollback(None, "operator:a")
            assert isinstance(await policy.decide(JOB), Allow)
        finally:
            await deployment.close()
