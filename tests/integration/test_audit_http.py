"""The log over HTTP: C2SP tiles at a running server, its keys, receipts and verification."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.support.running import Running, running

from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.merkle import leaf_hash
from cryogate.audit.tiles import decode_bundle, tiles_of
from cryogate.audit.vkeys import parse_vkeys


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("audit-http")) as made:
        deadline = time.monotonic() + 30
        while b"\n0\n" in get(made, "/audit/checkpoint").content:
            assert time.monotonic() < deadline, "nothing was signed"
            time.sleep(0.05)
        yield made


def get(server: Running, path: str) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False)


def test_the_keys_lie_beside_the_state_and_sign_the_head(server: Running) -> None:
    text = (server.state / "log.vkey").read_text()
    assert get(server, "/audit/vkey").text == text
    keys = parse_vkeys(text)
    assert len(keys) == 2
    head = get(server, "/audit/checkpoint")
    assert head.headers["cache-control"] == "no-store"
    for key in keys:
        assert open_checkpoint(head.content, [key], key.name).size > 0


def test_hash_tiles_are_public_and_entries_are_not(server: Running) -> None:
    keys = parse_vkeys((server.state / "log.vkey").read_text())
    size = open_checkpoint(get(server, "/audit/checkpoint").content, keys).size
    (bundle,) = (str(tile) for tile in tiles_of(size) if tile.row is None)
    (hashes,) = (str(tile) for tile in tiles_of(size) if tile.row == 0)
    tile = get(server, "/audit" + hashes)
    assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert get(server, "/audit" + bundle).status_code == 401
    *parts, last = ("audit" + bundle).split("/")
    answer = server.operator.raw("GET", *parts, last)
    assert answer.headers["cache-control"].startswith("private")
    leaves = b"".join(leaf_hash(entry) for entry in decode_bundle(answer.body))
    assert leaves == tile.content
    assert hashlib.sha256(b"\0" + decode_bundle(answer.body)[0]).digest() == leaves[:32]


@pytest.mark.parametrize(
    "path",
    ["0/000.p/0", "0/000.p/256", "0/0", "0/x000/000", "7/000", "0/999", "0/000.p/01", "data/000",
     "entries%2F000.p/1", "0/../entries/000.p/1"],
)  # fmt: skip
def test_no_other_spelling_and_nothing_beyond_the_head(server: Running, path: str) -> None:
    answer = get(server, f"/audit/tile/{path}")
    assert answer.status_code in (401, 404)
    assert b"timestamp" not in answer.content


def test_every_narrower_tile_of_a_published_size_is_served(server: Running) -> None:
    keys = parse_vkeys((server.state / "log.vkey").read_text())
    size = open_checkpoint(get(server, "/audit/checkpoint").content, keys).size
    whole = get(server, f"/audit/tile/0/000.p/{size}").content
    for width in range(1, size):
        assert get(server, f"/audit/tile/0/000.p/{width}").content == whole[: 32 * width]
