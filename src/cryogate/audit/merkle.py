"""Merkle tree hashing and proofs of RFC 6962 section 2 (the same in RFC 9162), SHA-256.

Pure: values in, values out. A *node* ``(level, position)`` is the perfect subtree over the leaves
``[position << level, (position + 1) << level)``; any storage that can give node hashes can give
proofs. What may never change: the two prefix bytes, or every signed root becomes worthless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

Node = tuple[int, int]
NodeGroup = tuple[Node, ...]

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one log entry: SHA-256(0x00 ‖ entry).

    The prefix keeps leaves and inner nodes apart, so no inner node passes for an entry.
    """
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Root over neighbouring perfect subtrees, given from left to right, larger ones first.

    Raises:
        ValueError: no hash was given.
    """
    if not hashes:
        raise ValueError("nothing to fold")
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Root of a perfect subtree over ``hashes``, of which there are a power of two.

    Raises:
        ValueError: their number is not a power of two.
    """
    if not hashes or len(hashes) & (len(hashes) - 1):
        raise ValueError("a perfect subtree has a power of two of leaves")
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


class CompactRange:
    """The right edge of a growing tree: one hash for each set bit of its size."""

    __slots__ = ("_edge", "_size")

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        """``edge`` holds the hashes of `edge_nodes` for ``size``.

        Raises:
            ValueError: their numbers do not fit.
        """
        if size < 0 or len(edge) != size.bit_count():
            raise ValueError("the edge does not fit the size")
        self._size = size
        self._edge = list(edge)

    @property
    def size(self) -> int:
        """How many leaves have been appended."""
        return self._size

    def copy(self) -> CompactRange:
        """An independent range with the same leaves."""
        return CompactRange(self._size, self._edge)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add one leaf hash; gives the inner nodes it completed as (level, position, hash)."""
        done: list[tuple[int, int, bytes]] = []
        level, position, value = 0, self._size, leaf
        while position & 1:
            value = sha256(b"\x01" + self._edge.pop() + value).digest()
            level += 1
            position >>= 1
            done.append((level, position, value))
        self._edge.append(value)
        self._size += 1
        return done

    def root(self) -> bytes:
        """Merkle tree hash of all leaves so far."""
        return fold(self._edge) if self._edge else EMPTY_ROOT


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Merkle tree hash of leaf hashes."""
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def _cover(start: int, end: int) -> NodeGroup:
    """Perfect subtrees that fill [start, end), left to right.

    Safe only for the ranges of the proofs below: their start is a multiple of the largest power
    of two in them, so sizes fall from left to right and `fold` gives the RFC's tree hash.
    """
    nodes: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return tuple(nodes)


def edge_nodes(size: int) -> NodeGroup:
    """The nodes of the right edge of a tree of ``size`` leaves, largest first."""
    return _cover(0, size)


def inclusion_nodes(index: int, size: int) -> tuple[NodeGroup, ...]:
    """Which nodes make up PATH(index, D[size]); each group folds into one hash of the proof.

    Raises:
        ValueError: ``index`` is not in a tree of ``size``.
    """
    if not 0 <= index < size:
        raise ValueError("index is not in the tree")
    groups: list[NodeGroup] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < middle:
            groups.append(_cover(middle, end))
            end = middle
        else:
            groups.append(_cover(start, middle))
            start = middle
    return tuple(reversed(groups))


def consistency_nodes(old: int, new: int) -> tuple[NodeGroup, ...]:
    """Which nodes make up PROOF(old, D[new]); each group folds into one hash of the proof.

    Raises:
        ValueError: not ``0 < old <= new``.
    """
    if not 0 < old <= new:
        raise ValueError("no consistency proof between these sizes")
    groups: list[NodeGroup] = []
    start, end, whole = 0, new, True
    while end != old:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if old <= middle:
            groups.append(_cover(middle, end))
            end = middle
        else:
            groups.append(_cover(start, middle))
            start, whole = middle, False
    if not whole:
        groups.append(_cover(start, end))
    return tuple(reversed(groups))


def assemble(groups: Sequence[NodeGroup], hashes: Mapping[Node, bytes]) -> tuple[bytes, ...]:
    """The proof itself, once the hashes of its nodes are known.

    Raises:
        KeyError: a node's hash is missing.
    """
    return tuple(fold([hashes[node] for node in group]) for group in groups)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether ``leaf`` is at ``index`` in the tree of ``size`` and ``root`` (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size or not _plausible(proof):
        return False
    position, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and value == root


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Whether the tree of ``new`` leaves begins with the one of ``old`` (RFC 9162 2.1.4.2).

    The empty tree is the beginning of every tree; its root is checked all the same.
    """
    if not 0 <= old <= new or not _plausible(proof):
        return False
    if old == new:
        return not proof and old_root == new_root and (old > 0 or old_root == EMPTY_ROOT)
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if not old & (old - 1):
        path.insert(0, old_root)
    if not path:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = path[0]
    for value in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first = node_hash(value, first)
            second = node_hash(value, second)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = node_hash(second, value)
        position >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


def _plausible(proof: Sequence[bytes]) -> bool:
    # 64 levels hold more entries than can exist; bounds the work that a hostile proof can cause.
    return len(proof) <= 65 and all(len(value) == HASH_BYTES for value in proof)
