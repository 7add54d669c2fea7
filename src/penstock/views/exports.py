"""Exports of what was recorded, with its proofs: what `penstock.verifier.verify` checks without Penstock.

An export is a text file. Each line is a word, a space, and what belongs to it:

    log      what it is of, the history of the log's keys, the checkpoint: JSON
    node     level and hash of a part of the Merkle tree that is not shown otherwise
    leaf     a leaf, its bytes as they are hashed
    chain    a run whose events follow, or '' for the operators' actions: JSON
    event    number, hash, and the stored bytes; of an action: number, hash, time, bytes
    payload  reference and bytes (base64) of what an event talks about; only where content was asked for
    who      who answers for a call of the run: JSON
    end      a signature of the log's key over the SHA-256 of all lines before it

Nodes and leaves cover the tree from the left, so its root follows from them; where a checkpoint that the reader holds
has its end, no node reaches across, so that one's root follows too.
"""

import base64
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from penstock.journal.archive import addresses_in
from penstock.journal.leaves import base_of
from penstock.journal.merkle import covering
from penstock.journal.notes import Checkpoint, Note, Verifier, origin_of
from penstock.journal.payloads import ref_text, unpack
from penstock.journal.proofs import Tree
from penstock.kernel.errors import CheckpointForeign, LogForked, NotSealed, SignatureRefused
from penstock.kernel.ids import id_time_us
from penstock.ports.audit import LEAVES_MAX, StoredCheckpoint
from penstock.ports.journal import Journal
from penstock.ports.records import RunFilter, RunRow
from penstock.views.accountability import accounts_of
from penstock.views.oversight import Watches, watches

STATEMENT = "penstock.audit.export/v1"
EVENTS_AT_ONCE = 2000
PAYLOADS_AT_ONCE = 16
NODES_AT_ONCE = 1000
ACTIONS_AT_ONCE = 500
RUNS_MAX = 100_000
"""Runs of one customer in one export, at most."""
SKEW_US = 3600 * 1_000_000
"""How far the clock that a run's id is made with may be ahead of the store's, for the first leaf of a period."""


@dataclass(slots=True, frozen=True)
class Wanted:
    """What to export: some runs, the runs of a customer, or all runs of a period (by the time in their ids).

    Attributes:
        since: microseconds; a period is exported with all leaves of the log since then, so that none can be left out.
        held: the size of a checkpoint that the reader holds, 0 = none.
        content: with payloads, and the keys of their subjects, which alone prove that they are the ones recorded.
    """

    runs: Sequence[UUID] = ()
    customer: str = ""
    since: int | None = None
    until: int | None = None
    held: int = 0
    content: bool = False


@dataclass(slots=True)
class Exported:
    """What an export holds so far."""

    runs: int = 0
    events: int = 0
    actions: int = 0
    payloads: int = 0
    erased: int = 0
    pruned: int = 0
    size: int = 0  # of the log, leaves
    bytes: int = 0
    covered: dict[UUID, int] = field(default_factory=dict)  # by run: its last event that is in the log


class Export:
    """One export of a tenant's record.

    Args:
        sign: with the log's key.
    """

    def __init__(self, journal: Journal, tenant: str, wanted: Wanted, sign: Callable[[bytes], bytes]) -> None:
        self._journal = journal
        self._tenant = tenant
        self._wanted = wanted
        self._sign = sign
        self._digest = hashlib.sha256()
        self._actions = 0
        self._watched: Watches | None = None
        self.done = Exported()

    async def lines(self) -> AsyncIterator[bytes]:
        """The export, line by line. Nothing of it is held in memory but what the log says of the runs in it.

        Raises:
            NotSealed: there is no log yet, or a run that was asked for is not in it.
        """
        async for line in self._lines():
            self._digest.update(line)
            self.done.bytes += len(line)
            yield line
        signature = self._sign(f"{STATEMENT}\n{self._digest.hexdigest()}\n".encode())
        yield b"end %s\n" % signature.hex().encode()

    async def _lines(self) -> AsyncIterator[bytes]:
        wanted, audit = self._wanted, self._journal.audit
        point = await newest(self._journal, self._tenant)
        size = self.done.size = Checkpoint.parse(Note.parse(point.note).text).size
        keys = await audit.keys()
        yield _line(
            "log",
            {
                "format": 1,
                "base": base_of(keys[0]),
                "tenant": self._tenant,
                "keys": [key.statement for key in keys],
                "checkpoint": point.whole,
                "since": wanted.since,
                "until": wanted.until if wanted.until is not None else (1 << 62),
                "customer": wanted.customer,
                "content": wanted.content,
                "at": await self._journal.now(),
            },
        )
        if wanted.since is None:
            runs = await self._named_runs()
            async for line in self._proofs(runs, size):
                yield line
        else:
            async for line in self._whole_tree(size):
                yield line
            inside = range(wanted.since, wanted.until if wanted.until is not None else 1 << 62)
            runs = [run for run in self.done.covered if id_time_us(run) in inside]
        for run in sorted(runs):
            async for line in self._run(run):
                yield line
        if wanted.since is not None and self._actions:
            async for line in self._list_of_actions():
                yield line

    async def _named_runs(self) -> list[UUID]:
        runs = list(dict.fromkeys(self._wanted.runs))
        before: UUID | None = None
        while self._wanted.customer and len(runs) < RUNS_MAX:
            where = RunFilter(tags={"customer": self._wanted.customer}, before=before)
            page = await self._journal.list_runs(self._tenant, where, 1000)
            runs += [row.id for row in page]
            if not page:
                break
            before = page[-1].id
        return runs

    async def _proofs(self, runs: Sequence[UUID], size: int) -> AsyncIterator[bytes]:
        """The leaves of some runs, and the nodes between them."""
        tree = Tree(self._journal.audit, self._tenant, size)
        found = {}
        for at in range(0, len(runs), 1000):
            for leaf in await self._journal.audit.leaves_of(self._tenant, runs[at : at + 1000]):
                if leaf.index < size and leaf.run is not None:
                    found[leaf.index] = leaf
                    self.done.covered[leaf.run] = leaf.seq
        if missing := [run for run in self._wanted.runs if run not in self.done.covered]:
            raise NotSealed(f"run {missing[0]} is not in the audit log of {self._tenant!r}")
        begin = 0
        for index in [*sorted(found), size]:
            async for line in self._nodes(tree, begin, index):
                yield line
            if index < size:
                yield b"leaf " + found[index].data + b"\n"
            begin = index + 1

    async def _whole_tree(self, size: int) -> AsyncIterator[bytes]:
        """All leaves from the last one before the period on."""
        wanted, audit = self._wanted, self._journal.audit
        assert wanted.since is not None
        begin = max(0, await audit.leaf_since(self._tenant, wanted.since - SKEW_US) - 1)
        async for line in self._nodes(Tree(audit, self._tenant, size), 0, min(begin, size)):
            yield line
        while begin < size:
            leaves = await audit.leaves(self._tenant, begin, min(begin + LEAVES_MAX, size))
            if not leaves or leaves[0].index != begin:
                raise NotSealed("a part of the audit log is not in the store", hint="compare the log with a backup")
            for leaf in leaves:
                yield b"leaf " + leaf.data + b"\n"
                if leaf.run is not None:
                    self.done.covered[leaf.run] = leaf.seq
                elif leaf.kind == "actions":
                    self._actions = leaf.seq
            begin = leaves[-1].index + 1

    async def _nodes(self, tree: Tree, begin: int, end: int) -> AsyncIterator[bytes]:
        held = self._wanted.held
        stops = [begin, held, end] if begin < held < end else [begin, end]
        names = [name for left, right in itertools.pairwise(stops) for name in covering(left, right)]
        for at in range(0, len(names), NODES_AT_ONCE):
            part = names[at : at + NODES_AT_ONCE]
            for (level, _), node in zip(part, await tree.nodes(part), strict=True):
                yield b"node %d %s\n" % (level, node.hex().encode())

    async def _run(self, run: UUID) -> AsyncIterator[bytes]:
        journal, last = self._journal, self.done.covered[run]
        row = await journal.get_run(self._tenant, run)
        first = await journal.tape(self._tenant, run, limit=1)
        pruned = not first and (row is None or row.pruned_at is not None)
        key = None if row is None else await journal.subject_key(self._tenant, row.subject)
        content = self._wanted.content and key is not None
        refs: dict[bytes, None] = {}
        erased = 0
        if row is not None and not pruned and (content or key is None):
            refs = dict.fromkeys(await self._addresses(run, last))
            erased = len(refs) if key is None else 0
        salt = base64.b64encode(key).decode() if content and key is not None else ""
        yield _line("chain", {"run": str(run), "salt": salt, "erased": erased, "pruned": pruned})
        self.done.runs += 1
        self.done.erased += erased
        self.done.pruned += pruned
        if pruned or row is None:
            return
        async for line in self._events(run, last):
            yield line
        if content:
            async for line in self._payloads(row, list(refs), key):
                yield line
        if self._watched is None:
            since = min((id_time_us(one) for one in self.done.covered), default=0)
            self._watched = await watches(journal, self._tenant, since)
        for account in await accounts_of(journal, row, last, watched=self._watched):
            yield _line("who", account)

    async def _events(self, run: UUID, last: int) -> AsyncIterator[bytes]:
        after = 0
        while after < last:
            events = await self._journal.tape(self._tenant, run, after=after, limit=min(EVENTS_AT_ONCE, last - after))
            for event in events:
                yield b"event %d %s %s\n" % (event.seq, event.hash.hex().encode(), event.body)
            self.done.events += len(events)
            if not events:
                return  # the verifier says what is missing
            after = events[-1].seq

    async def _addresses(self, run: UUID, last: int) -> list[bytes]:
        found: dict[bytes, None] = {}
        after = 0
        while after < last:
            events = await self._journal.tape(self._tenant, run, after=after, limit=min(EVENTS_AT_ONCE, last - after))
            if not events:
                break
            for event in events:
                found.update(dict.fromkeys(addresses_in(event.body)))
            after = events[-1].seq
        return list(found)

    async def _payloads(self, row: RunRow, refs: Sequence[bytes], key: bytes | None) -> AsyncIterator[bytes]:
        for at in range(0, len(refs), PAYLOADS_AT_ONCE):
            stored = await self._journal.get_payloads(row.tenant, row.subject, refs[at : at + PAYLOADS_AT_ONCE])
            for where, payload in stored.items():
                yield b"payload %s %s\n" % (ref_text(where).encode(), base64.b64encode(unpack(payload, key)))
                self.done.payloads += 1

    async def _list_of_actions(self) -> AsyncIterator[bytes]:
        yield _line("chain", {"run": "", "salt": "", "erased": 0, "pruned": False})
        after = 0
        while after < self._actions:
            limit = min(ACTIONS_AT_ONCE, self._actions - after)
            actions = await self._journal.actions.since(self._tenant, after, limit)
            if not actions:
                return
            for action in actions:
                yield b"event %d %s %d %s\n" % (action.seq, action.hash.hex().encode(), action.at, action.body)
            self.done.actions += len(actions)
            after = actions[-1].seq


async def newest(journal: Journal, tenant: str) -> StoredCheckpoint:
    """A log's newest checkpoint.

    Raises:
        NotSealed: there is none.
    """
    found = await journal.audit.checkpoint(tenant)
    if found is None:
        raise NotSealed(f"the audit log of tenant {tenant!r} has no checkpoint yet")
    return found


async def held_size(journal: Journal, tenant: str, note: str) -> int:
    """The size of a checkpoint that somebody holds, when it is one of this log and a state that the log has been in.

    Raises:
        NoteInvalid: it is no checkpoint.
        CheckpointForeign: it is of another log.
        SignatureRefused: none of the log's keys has signed it.
        LogForked: the log has signed it, and was never in that state: its history was rewritten.
    """
    parsed = Note.parse(note)
    point = Checkpoint.parse(parsed.text)
    keys = await journal.audit.keys()
    origin = origin_of(base_of(keys[0]), tenant) if keys else ""
    if point.origin != origin:
        raise CheckpointForeign(f"the checkpoint is of the log {point.origin!r}; this one is {origin!r}")
    if not any(parsed.is_signed_by(Verifier(origin, key.public)) for key in keys):
        raise SignatureRefused(f"the checkpoint is signed with none of the keys of {origin!r}")
    heads = await journal.audit.heads([tenant])
    size = heads[tenant].size if tenant in heads else 0
    if point.size > size:
        raise LogForked(f"the log {origin!r} has {size} leaves, and has signed a checkpoint over {point.size}")
    if await Tree(journal.audit, tenant, size).root(point.size) != point.root:
        raise LogForked(f"the first {point.size} leaves of the log {origin!r} are not those of the checkpoint")
    return point.size


def _line(word: str, value: object) -> bytes:
    return word.encode() + b" " + msgspec.json.encode(value) + b"\n"
