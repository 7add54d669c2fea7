"""The Merkle tree of RFC 6962 (2.1), in parts: what grows it, what proves with it, what checks a proof.

Nodes are named by level and index: node (0, i) is the hash of leaf i, node (l, i) covers leaves i * 2**l to
(i + 1) * 2**l. Only nodes that are full are ever stored; the others follow from them.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""The root of a tree without leaves (RFC 6962, 2.1)."""

Node = tuple[int, int]
"""Level and index."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: a leaf can never be taken for a node."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two halves."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The right edge of a tree: the largest full subtrees, from the left. All that is needed to append to it.

    Args:
        size: leaves so far.
        hashes: one for each bit of ``size`` that is set, the largest subtree's first, joined.
    """

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, hashes: bytes = b"") -> None:
        if len(hashes) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"{len(hashes)} bytes are no frontier of {size} leaves")
        self.size = size
        self._edge = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf."""
        self.append_node(0, leaf)

    def append_node(self, level: int, node: bytes) -> None:
        """Add a full subtree of ``2 ** level`` leaves, which must begin where one of its size may.

        Raises:
            ValueError: it may not begin here.
        """
        if self.size % (1 << level):
            raise ValueError(f"a subtree of level {level} cannot begin at leaf {self.size}")
        merges = self.size >> level
        while merges & 1:
            node = node_hash(self._edge.pop(), node)
            merges >>= 1
        self._edge.append(node)
        self.size += 1 << level

    def root(self) -> bytes:
        """The root of the tree as it is."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root

    def hashes(self) -> bytes:
        """As the second argument of the constructor."""
        return b"".join(self._edge)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over the hashes of leaves."""
    edge = Frontier()
    for leaf in leaves:
        edge.append(leaf)
    return edge.root()


def covering(begin: int, end: int) -> list[Node]:
    """The fewest full nodes that cover the leaves ``begin`` to ``end``, exclusive, from the left."""
    nodes = []
    while begin < end:
        level = min((begin & -begin).bit_length() - 1 if begin else 63, (end - begin).bit_length() - 1)
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The subtrees whose roots prove that leaf ``index`` is in the tree of that size, the lowest first (2.1.1)."""
    ranges: list[tuple[int, int]] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    return ranges[::-1]


def consistency_ranges(old: int, size: int) -> list[tuple[int, int]]:
    """The subtrees whose roots prove that the tree of ``old`` leaves is the beginning of that of ``size`` (2.1.2)."""
    if not 0 < old < size:
        return []
    ranges: list[tuple[int, int]] = []
    begin, end, whole = 0, size, True
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin, whole = middle, False
    if not whole:
        ranges.append((begin, end))
    return ranges[::-1]


def range_root(begin: int, end: int, node: Callable[[Node], bytes]) -> bytes:
    """The root of the subtree of leaves ``begin`` to ``end``, exclusive, from full nodes.

    The subtrees of proofs begin where a full one of their size may, so their full nodes fold from the right.
    """
    found = [node(name) for name in covering(begin, end)]
    root = found[-1]
    for left in reversed(found[:-1]):
        root = node_hash(left, root)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf of that hash is at that place of the tree with that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Whether the tree with the old root is the beginning of that with the other one (RFC 9162, 2.1.4.2)."""
    if old == size:
        return not proof and old_root == root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < size or not proof:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_found = found = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_found, found = node_hash(sibling, old_found), node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root


def _split(count: int) -> int:
    """The largest power of two that is smaller."""
    return 1 << ((count - 1).bit_length() - 1)
