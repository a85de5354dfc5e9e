"""Tile paths have one spelling; tiles hold what the specification says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.audit.errors import NotInLog
from cryogate.audit.tiles import (
    TilePath,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
    tiles_of,
)

rows = st.none() | st.integers(0, 6)
widths = st.none() | st.integers(1, 255)


@given(rows, st.integers(0, 2**45), widths)
def test_a_path_and_its_tile_are_one_to_one(row: int | None, index: int, width: int | None) -> None:
    tile = TilePath(row, index, width)
    assert parse_tile_path(str(tile)) == tile


def test_the_specification_s_examples() -> None:
    assert str(TilePath(0, 1234067)) == "/tile/0/x001/x234/067"
    # "A tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0
    # tile of width 112, one full level 1 tile, one partial level 1 tile of width 17, and one
    # partial level 2 tile of width 1."
    hashes = [tile for tile in tiles_of(70_000) if tile.row is not None]
    assert sum(1 for t in hashes if t.row == 0 and t.width is None) == 273
    assert [t for t in hashes if t.width] == [
        TilePath(0, 273, 112),
        TilePath(1, 1, 17),
        TilePath(2, 0, 1),
    ]
    assert [t for t in hashes if t.row == 1 and not t.width] == [TilePath(1, 0)]
    # "A tree of size 256 …: a full level 0 tile and a partial level 1 tile of width 1."
    assert [t for t in tiles_of(256) if t.row is not None] == [TilePath(0, 0), TilePath(1, 0, 1)]
    assert tiles_of(0) == ()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/tile",
        "/tile/0/",
        "/tile/0/0",
        "/tile/0/00",
        "/tile/0/0000",
        "/tile/0/x000/001",
        "/tile/0/001/002",
        "/tile/0/x001/x002",
        "/tile/00/001",
        "/tile/7/001",
        "/tile/63/001",
        "/tile/-1/001",
        "/tile/data/001",
        "/tile/0/001.p/0",
        "/tile/0/001.p/256",
        "/tile/0/001.p/01",
        "/tile/0/001.p/",
        "/tile/0/001.p",
        "/tile/0/001/",
        "/tile/0/001\n",
        "/tile/0/../0/001",
        "//tile/0/001",
        "tile/0/001",
        "/tile/0/\u0660\u0660\u0661",
        "/tile/0/" + "x001/" * 30 + "001",
        "/tile/0/x001/x001/x001/x001/x001/x001/001",
    ],
)
def test_any_other_path_is_not_found(path: str) -> None:
    with pytest.raises(NotInLog):
        parse_tile_path(path)


@given(st.text(max_size=40))
def test_any_text_is_the_one_spelling_or_not_found(path: str) -> None:
    try:
        tile = parse_tile_path("/tile/" + path)
    except NotInLog:
        return
    assert str(tile) == "/tile/" + path


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@given(st.binary(max_size=60))
def test_bundles_have_one_spelling(content: bytes) -> None:
    try:
        entries = decode_bundle(content)
    except ValueError:
        return
    assert encode_bundle(entries) == content


def test_bundles_are_bounded() -> None:
    assert decode_bundle(encode_bundle([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(ValueError, match="too long"):
        encode_bundle([b"x" * 65_536])
    with pytest.raises(ValueError, match="malformed"):
        decode_bundle(b"\0\0" * 257)
    with pytest.raises(ValueError, match="within"):
        decode_bundle(b"\0\5abc")
