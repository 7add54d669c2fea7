"""Appending to an audit log: leaves for chains that have gone on, tiles that become full, and a signed checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.journal.leaves import ActionsLeaf, AnyLeaf, KeyLeaf, RunLeaf, make_leaf
from penstock.journal.merkle import Frontier, leaf_hash, root_of
from penstock.journal.notes import Checkpoint, Note, SigningKey, origin_of
from penstock.kernel.errors import NotSealed
from penstock.ports.audit import LEAVES_MAX, TILE_WIDTH, Ahead, Audit, Growth, Leaf, LogHead, LogKey, Tile

CHECKPOINTS_KEPT = 10_000
"""Of one log, besides those that witnesses signed: whoever holds an older one has it himself."""


@dataclass(slots=True, frozen=True)
class Signer:
    """What a log is sealed with: the key, the name of all logs here, and the keys so far, this one the last."""

    key: SigningKey
    base: str
    keys: Sequence[LogKey]


async def grow_log(
    audit: Audit, signer: Signer, tenant: str, was: LogHead, ahead: Sequence[Ahead], now_us: int
) -> Growth:
    """What is to be appended to one tenant's log for chains that have gone on.

    Args:
        was: the log's head as it is.
        ahead: of this tenant, each chain once.
        now_us: the store's time.
    """
    at = max(now_us, was.at)
    leaves = _leaves(signer, tenant, was, ahead, at)
    hashes = [leaf_hash(leaf.data) for leaf in leaves]
    edge = Frontier(was.size, was.frontier)
    for leaf in hashes:
        edge.append(leaf)
    actions = max([was.actions, *(item.seq for item in ahead if item.run is None)])
    now = LogHead(edge.size, edge.hashes(), actions, signer.keys[-1].number, at)
    origin = origin_of(signer.base, tenant)
    text = Checkpoint(origin, edge.size, edge.root()).text()
    note = Note(text, [signer.key.sign_note(origin, text)])
    return Growth(tenant, was, now, leaves, await _tiles(audit, tenant, was.size, hashes), str(note))


def _leaves(signer: Signer, tenant: str, was: LogHead, ahead: Sequence[Ahead], at: int) -> list[Leaf]:
    said: list[AnyLeaf] = [
        KeyLeaf(tenant=tenant, at=at, number=key.number, statement=key.statement)
        for key in signer.keys
        if key.number > was.key
    ]
    for item in ahead:
        if item.run is None:
            said.append(ActionsLeaf(tenant=tenant, at=at, seq=item.seq, hash=item.head.hex()))
        else:
            said.append(RunLeaf(tenant=tenant, at=at, run=item.run, seq=item.seq, hash=item.head.hex()))
    return [make_leaf(index, data) for index, data in enumerate(said, was.size)]


async def _tiles(audit: Audit, tenant: str, size: int, hashes: Sequence[bytes]) -> list[Tile]:
    """The tiles that these leaves fill. What is in a tile already is read only when it is filled now."""
    tiles: list[Tile] = []
    level, begin, nodes = 0, size, list(hashes)
    while (begin + len(nodes)) // TILE_WIDTH > begin // TILE_WIDTH:
        place = begin // TILE_WIDTH
        first = place * TILE_WIDTH
        if begin > first:
            nodes = [*await _nodes(audit, tenant, level, first, begin), *nodes]
        full = len(nodes) // TILE_WIDTH
        made = []
        for at in range(full):
            part = nodes[at * TILE_WIDTH : (at + 1) * TILE_WIDTH]
            made.append(Tile(level, place + at, b"".join(part), root_of(part)))
        tiles += made
        level, begin, nodes = level + 1, place, [tile.root for tile in made]
    return tiles


async def _nodes(audit: Audit, tenant: str, level: int, begin: int, end: int) -> list[bytes]:
    if level == 0:
        found = [leaf_hash(leaf.data) for leaf in await audit.leaves(tenant, begin, end)]
    else:
        found = await audit.tile_roots(tenant, level - 1, begin, end)
    if len(found) != end - begin:
        raise NotSealed("a part of the audit log is not in the store", hint="compare the log with a backup")
    return found


async def seal(
    audit: Audit, signer: Signer, ahead: Sequence[Ahead], now_us: int, *, checkpoints_kept: int = CHECKPOINTS_KEPT
) -> int:
    """Append leaves for chains that have gone on to the logs of their tenants; how many leaves were written.

    A log that somebody else has appended to meanwhile is left as it is: what was to be added is found ahead again.
    """
    by_tenant: dict[str, list[Ahead]] = {}
    for item in ahead:
        by_tenant.setdefault(item.tenant, []).append(item)
    written = 0
    while by_tenant:
        part: dict[str, list[Ahead]] = {}
        room = LEAVES_MAX
        for tenant in list(by_tenant):
            items = by_tenant.pop(tenant)
            part[tenant], rest = items[:room], items[room:]
            room -= len(part[tenant])
            if rest:
                by_tenant[tenant] = rest
            if room <= 0:
                break
        heads = await audit.heads(list(part))
        growths = [
            await grow_log(audit, signer, tenant, heads.get(tenant, LogHead()), items, now_us)
            for tenant, items in part.items()
        ]
        grown = await audit.grow(growths, checkpoints_kept)
        written += sum(len(growth.leaves) for growth, done in zip(growths, grown, strict=True) if done)
        if not all(grown):
            break
    return written
