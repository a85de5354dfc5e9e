"""Where the second copy of the head may be, as it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.heads_elsewhere import BucketHeadStore, TableHeadStore
from cryogate.config import ConfigError, explain, load
from cryogate.testing.clock import FakeClock
from cryogate.wiring.heads import open_heads


def opened(tmp_path: Path, heads: str, **audit: str) -> object:
    settings = {"audit.heads": heads, **{f"audit.{k}": v for k, v in audit.items()}}
    overrides = {"state_dir": str(tmp_path), **settings}
    return open_heads(load(environ={}, overrides=overrides), FakeClock())


def test_each_kind_of_place(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary\n")
    secret.chmod(0o600)
    with_key = {"heads_region": "eu-1", "heads_key_id": "AKIA1", "heads_secret_file": str(secret)}
    assert isinstance(opened(tmp_path, ""), FileHeadStore)
    assert isinstance(opened(tmp_path, "/mnt/heads"), FileHeadStore)
    assert isinstance(opened(tmp_path, "sqlite:////mnt/heads.db"), TableHeadStore)
    assert isinstance(opened(tmp_path, "postgresql://h/heads"), TableHeadStore)
    assert isinstance(
        opened(tmp_path, "s3+https://s3.test/bucket/log", **with_key), BucketHeadStore
    )
    for wrong in (
        {"heads_region": ""}, {"heads_key_id": ""}, {"heads_secret_file": str(tmp_path / "no")},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"audit\.heads"):
            opened(tmp_path, "s3+https://s3.test/bucket/log", **{**with_key, **wrong})
    with pytest.raises(ConfigError, match=r"audit\.heads.*https"):
        opened(tmp_path, "s3+http://s3.test/bucket/log", **with_key)


@pytest.mark.parametrize("heads", ["mysql://h/db", "http://h/x", "s3://bucket/x"])
def test_other_places_are_refused(tmp_path: Path, heads: str) -> None:
    with pytest.raises(ConfigError, match=r"audit\.heads"):
        opened(tmp_path, heads)


@pytest.mark.attack("L2")
def test_the_logs_own_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="own database"):
        opened(tmp_path, f"sqlite:///{tmp_path}/cryogate.db")


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    overrides = {"state_dir": str(tmp_path), "audit.heads": "postgresql://u:canary@h/heads"}
    rows = explain(load(environ={}, overrides=overrides))
    assert "canary" not in repr(rows)
