"""Proofs out of a stored log: nodes are read from full tiles, and what is not full yet follows from what is below.

A proof costs some tiles of 8 KiB, whatever the size of the log.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.journal.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Node,
    consistency_ranges,
    covering,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    range_root,
)
from penstock.kernel.errors import NotSealed
from penstock.ports.audit import TILE_HEIGHT, TILE_WIDTH, Audit


@dataclass(slots=True, frozen=True)
class Inclusion:
    """That a leaf is in the tree of that size: its data, and the hashes beside its way to the root, lowest first."""

    index: int
    size: int
    data: bytes
    proof: Sequence[bytes]


class Tree:
    """A tenant's log as it was at some size."""

    def __init__(self, audit: Audit, tenant: str, size: int) -> None:
        self._audit = audit
        self._tenant = tenant
        self.size = size
        self._known: dict[Node, bytes] = {}
        self._rows: dict[tuple[int, int], list[bytes]] = {}  # nodes of tiles, full or not

    async def inclusion(self, index: int) -> Inclusion:
        """The proof that leaf ``index`` is in the tree.

        Raises:
            NotSealed: there is no such leaf.
        """
        found = await self._audit.leaves(self._tenant, index, index + 1) if 0 <= index < self.size else []
        if not found:
            raise NotSealed(f"the log of {self._tenant!r} has no leaf {index} at size {self.size}")
        ranges = inclusion_ranges(index, self.size)
        return Inclusion(index, self.size, found[0].data, await self._roots(ranges))

    async def consistency(self, old: int) -> list[bytes]:
        """The proof that the tree of ``old`` leaves is the beginning of this one.

        Raises:
            NotSealed: this one has fewer leaves.
        """
        if not 0 <= old <= self.size:
            raise NotSealed(f"the log of {self._tenant!r} has {self.size} leaves, not {old}")
        return await self._roots(consistency_ranges(old, self.size))

    async def root(self, size: int | None = None) -> bytes:
        """The root at that size, not above the tree's own."""
        size = self.size if size is None else size
        return (await self._roots([(0, size)]))[0] if size else EMPTY_ROOT

    async def nodes(self, names: Sequence[Node]) -> list[bytes]:
        """Full nodes, in the order they were asked for."""
        await self._load(names)
        return [self._node(name) for name in names]

    async def _roots(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        await self._load([name for begin, end in ranges for name in covering(begin, end)])
        return [range_root(begin, end, self._node) for begin, end in ranges]

    async def _load(self, names: Iterable[Node]) -> None:
        """Read the tiles that these nodes are in."""
        wanted: dict[int, set[int]] = {}
        for level, index in names:
            row, above = divmod(level, TILE_HEIGHT)
            place = index >> (TILE_HEIGHT - above)
            if (row, place) not in self._rows:
                wanted.setdefault(row, set()).add(place)
        for row, places in wanted.items():
            full = await self._audit.tiles(self._tenant, row, sorted(places))
            for place in places:
                if place in full:
                    nodes = full[place]
                    self._rows[row, place] = [nodes[at : at + HASH_BYTES] for at in range(0, len(nodes), HASH_BYTES)]
                else:
                    self._rows[row, place] = await self._partial(row, place)

    async def _partial(self, row: int, place: int) -> list[bytes]:
        """The nodes of the tile at the right edge: hashes of leaves, or the roots of the tiles below it."""
        begin = place * TILE_WIDTH
        if row == 0:
            found = await self._audit.leaves(self._tenant, begin, begin + TILE_WIDTH)
            return [leaf_hash(leaf.data) for leaf in found]
        return await self._audit.tile_roots(self._tenant, row - 1, begin, begin + TILE_WIDTH)

    def _node(self, name: Node) -> bytes:
        known = self._known.get(name)
        if known is None:
            level, index = name
            row, above = divmod(level, TILE_HEIGHT)
            nodes = self._rows[row, index >> (TILE_HEIGHT - above)]
            begin = (index << above) % TILE_WIDTH
            known = self._known[name] = _fold(nodes[begin : begin + (1 << above)], 1 << above)
        return known


def _fold(nodes: Sequence[bytes], count: int) -> bytes:
    if len(nodes) != count:
        raise NotSealed("a part of the audit log is not in the store", hint="compare the log with a backup")
    while len(nodes) > 1:
        nodes = [node_hash(nodes[at], nodes[at + 1]) for at in range(0, len(nodes), 2)]
    return nodes[0]
