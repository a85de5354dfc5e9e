"""The tree against the recursive definitions of RFC 6962 and the vectors of the CT project."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.audit import merkle

# Leaves and roots of the Certificate Transparency reference tree (sizes 1 to 8).
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
CT_INCLUSION_0_OF_8 = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
CT_CONSISTENCY_6_TO_8 = (
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
)


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def tree(size: int) -> list[bytes]:
    return [merkle.leaf_hash(str(i).encode()) for i in range(size)]


def node_table(leaves: list[bytes]) -> dict[merkle.Node, bytes]:
    nodes: dict[merkle.Node, bytes] = {(0, i): leaf for i, leaf in enumerate(leaves)}
    growing = merkle.CompactRange()
    for leaf in leaves:
        for level, position, value in growing.append(leaf):
            nodes[level, position] = value
    return nodes


def inclusion(leaves: list[bytes], index: int, size: int) -> tuple[bytes, ...]:
    return merkle.assemble(merkle.inclusion_nodes(index, size), node_table(leaves))


def consistency(leaves: list[bytes], old: int, new: int) -> tuple[bytes, ...]:
    return merkle.assemble(merkle.consistency_nodes(old, new), node_table(leaves))


def test_roots_of_the_ct_reference_tree() -> None:
    leaves = [merkle.leaf_hash(leaf) for leaf in CT_LEAVES]
    for size, root in enumerate(CT_ROOTS, 1):
        assert merkle.root_of(leaves[:size]).hex() == root
    assert merkle.root_of([]) == merkle.EMPTY_ROOT == sha256().digest()


def test_proofs_of_the_ct_reference_tree() -> None:
    leaves = [merkle.leaf_hash(leaf) for leaf in CT_LEAVES]
    assert tuple(h.hex() for h in inclusion(leaves, 0, 8)) == CT_INCLUSION_0_OF_8
    assert tuple(h.hex() for h in consistency(leaves, 6, 8)) == CT_CONSISTENCY_6_TO_8


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_inclusion_proof_is_the_recursive_one_and_verifies(case: tuple[int, int]) -> None:
    index, size = case
    leaves = tree(size)
    root = naive_root(leaves)
    proof = inclusion(leaves, index, size)
    assert list(proof) == naive_path(index, leaves)
    assert merkle.root_of(leaves) == root
    assert merkle.verify_inclusion(leaves[index], index, size, proof, root)


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_consistency_proof_is_the_recursive_one_and_verifies(case: tuple[int, int]) -> None:
    old, new = case
    leaves = tree(new)
    proof = consistency(leaves, old, new)
    assert list(proof) == naive_subproof(old, leaves, True)
    assert merkle.verify_consistency(old, new, proof, naive_root(leaves[:old]), naive_root(leaves))


@pytest.mark.attack("L1")
@given(st.data())
def test_an_altered_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    leaves = tree(size)
    root = merkle.root_of(leaves)
    proof = list(inclusion(leaves, index, size))
    other = data.draw(
        st.integers(0, size - 1).filter(lambda i: i != index) if size > 1 else st.just(-1)
    )
    assert not merkle.verify_inclusion(leaves[index], other, size, proof, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"x"), index, size, proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*proof, root], root)
    assert not merkle.verify_inclusion(leaves[index], index, size, proof, merkle.leaf_hash(b"x"))
    if proof:
        spot = data.draw(st.integers(0, len(proof) - 1))
        bent = bytes((proof[spot][0] ^ 1,)) + proof[spot][1:]
        wrong = [*proof[:spot], bent, *proof[spot + 1 :]]
        assert not merkle.verify_inclusion(leaves[index], index, size, wrong, root)
        assert not merkle.verify_inclusion(leaves[index], index, size, proof[:-1], root)


@pytest.mark.attack("L1")
@given(st.data())
def test_an_altered_history_has_no_consistency_proof(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 40))
    old = data.draw(st.integers(1, new - 1))
    leaves = tree(new)
    spot = data.draw(st.integers(0, old - 1))
    rewritten = [*leaves]
    rewritten[spot] = merkle.leaf_hash(b"rewritten")
    proof = consistency(rewritten, old, new)
    was, now = merkle.root_of(leaves[:old]), merkle.root_of(rewritten)
    assert not merkle.verify_consistency(old, new, proof, was, now)
    honest = consistency(leaves, old, new)
    assert not merkle.verify_consistency(old, new, honest, was, now)
    assert not merkle.verify_consistency(old, new, [*honest, was], was, merkle.root_of(leaves))
    assert not merkle.verify_consistency(old, new, honest[:-1], was, merkle.root_of(leaves))


def test_the_empty_tree_begins_every_tree_and_no_other() -> None:
    root = merkle.root_of(tree(3))
    assert merkle.verify_consistency(0, 3, [], merkle.EMPTY_ROOT, root)
    assert merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    assert not merkle.verify_consistency(0, 3, [], root, root)
    assert not merkle.verify_consistency(0, 0, [], root, root)
    assert not merkle.verify_consistency(3, 2, [], root, root)


def test_a_hostile_proof_is_bounded() -> None:
    leaf = merkle.leaf_hash(b"")
    assert not merkle.verify_inclusion(leaf, 0, 2**62, [leaf] * 100, leaf)
    assert not merkle.verify_inclusion(leaf, 0, 2, [b"short"], leaf)


@given(st.integers(0, 300), st.integers(0, 40))
def test_a_range_resumes_from_its_edge(size: int, more: int) -> None:
    leaves = tree(size + more)
    nodes = node_table(leaves[:size])
    resumed = merkle.CompactRange(size, [nodes[node] for node in merkle.edge_nodes(size)])
    for leaf in leaves[size:]:
        resumed.append(leaf)
    assert resumed.size == size + more
    assert resumed.root() == merkle.root_of(leaves)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="edge"):
        merkle.CompactRange(3, [merkle.EMPTY_ROOT])
    with pytest.raises(ValueError, match="not in the tree"):
        merkle.inclusion_nodes(3, 3)
    with pytest.raises(ValueError, match="between"):
        merkle.consistency_nodes(4, 3)
    with pytest.raises(ValueError, match="power of two"):
        merkle.perfect_root([merkle.EMPTY_ROOT] * 3)
    with pytest.raises(ValueError, match="fold"):
        merkle.fold([])
    assert merkle.perfect_root(tree(8)) == merkle.root_of(tree(8))
