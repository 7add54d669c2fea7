"""What was decided about an agent's releases, as the signed statements say: they are the truth, rows a copy of it.

Each statement is about one change of the agent's route, has the number of the route that it leads to, and names the
digest of the one before it. `Standing` takes them one after the other and believes what may follow; `Ledger` reads them
from the store, and does not let a process be taken back behind what it has seen.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from penstock.kernel.canonical import canonical_json
from penstock.kernel.errors import InputInvalid, ReleaseInvalid
from penstock.ports.rollouts import WHOLE, Move, Release, Rollouts, Route, SignedStatement, State
from penstock.runs.rollouts.manifest import read as read_manifest
from penstock.runs.rollouts.signing import DECISION, Keyring

FORM = 1
"""Of statements. A process that does not know a form does not believe it."""
PAGE = 500
CONFIRM = "say what of it is approved: penstock releases confirm AGENT"
_FROM: dict[State, tuple[State, ...]] = {
    "review": ("draft", "rejected", "rolled_back", "retired"),
    "approved": ("review",),
    "rejected": ("review", "approved"),
    "canary": ("approved", "retired", "canary"),
    "live": ("approved", "retired", "canary"),
    "retired": ("draft", "review", "approved", "rejected", "canary", "live"),
    "rolled_back": ("canary", "live"),
}


class Taken(msgspec.Struct, frozen=True):
    """One release's step. ``author``: as its manifest says; ``reason``: SHA-256 of the words, "" = there are none."""

    release: str
    state: State
    author: str
    reason: str = ""


class Statement(msgspec.Struct, frozen=True):
    """One change of an agent's route, made by ``actor``: how it is from then on, and which releases took which step.

    Attributes:
        number: of the route that it leads to.
        before: SHA-256 of the statement before it; "" = there is none.
        at: microseconds since the epoch, by the store's clock.
        anew: nothing from before counts: ``actor`` approves the releases that it names, as they stand.
    """

    tenant: str
    agent: str
    number: int
    before: str
    actor: str
    at: int
    live: str
    canary: str
    share: int
    previous: str
    moves: list[Taken]
    anew: bool = False
    format: int = FORM


@dataclass(slots=True)
class Held:
    """What the statements say of one release. ``used``: it was put in use, so that runs may be of it."""

    state: State = "draft"
    author: str = ""
    submitter: str = ""
    approved_by: str = ""
    used: bool = False


@dataclass(slots=True)
class Standing:
    """How an agent's releases stand by all that was said of them so far."""

    route: Route
    digest: str = ""
    releases: dict[str, Held] = field(default_factory=dict)

    def release(self, known: Release) -> Release:
        """A release as the statements have it."""
        held = self.releases.get(known.id, Held())
        share = self.route.share if known.id == self.route.canary else 0
        return replace(known, state=held.state, approved_by=held.approved_by, share=share)

    def submitter(self, release: str) -> str:
        """Who put it up for review."""
        return self.releases.get(release, Held()).submitter

    def take(self, said: Statement, digest: str) -> str:
        """Go on to what was decided; why it cannot follow, "" = it was taken. Then nothing has changed."""
        why = self._misplaced(said)
        if why:
            return why
        after = {} if said.anew else {release: _another(held) for release, held in self.releases.items()}
        for move in said.moves:
            held = after.setdefault(move.release, Held())
            why = _confirmed(held, move, said) if said.anew else _moved(held, move, said)
            if why:
                return f"the release {move.release[:12]} {why}"
        for release, state in ((said.live, "live"), (said.canary, "canary")):
            if release and after.get(release, Held()).state != state:
                return f"the release {release[:12]} is not {state} by what was signed"
        if (0 < said.share < WHOLE) != bool(said.canary):
            return f"{said.share / 100:g} % is no share of a canary"
        self.releases, self.digest = after, digest
        self.route = Route(said.tenant, said.agent, said.number, said.live, said.canary, said.share, said.previous)
        return ""

    def _misplaced(self, said: Statement) -> str:
        route = self.route
        if (said.tenant, said.agent) != (route.tenant, route.agent):
            return "it is about another agent"
        if said.anew:
            return "" if said.number > route.number else "it is of before what was known"
        if said.number != route.number + 1:
            return f"the statement {route.number + 1} is missing"
        if said.before != self.digest:
            return "it follows upon another history than the one that was known"
        return ""


def _another(held: Held) -> Held:
    """Another of the same."""
    return Held(held.state, held.author, held.submitter, held.approved_by, held.used)


def _moved(held: Held, move: Taken, said: Statement) -> str:
    """Why the release cannot take that step; "" = it has."""
    if held.state not in _FROM.get(move.state, ()):
        return f"was {held.state.replace('_', ' ')}, and cannot become {move.state.replace('_', ' ')}"
    if held.author not in ("", move.author):
        return "has another author than before"
    held.author = move.author
    if move.state == "review":
        held.submitter, held.approved_by = said.actor, ""
    elif move.state == "approved":
        if said.actor in (held.author, held.submitter):
            return f"was approved by {said.actor}, whose it is"
        held.approved_by = said.actor
    elif move.state in ("canary", "live"):
        if not held.approved_by:
            return "was put in use, and nobody had approved it"
        held.used = True
    elif move.state in ("rejected", "rolled_back"):
        held.approved_by = ""
    held.state = move.state
    return ""


def _confirmed(held: Held, move: Taken, said: Statement) -> str:
    if said.actor == move.author:
        return f"was confirmed by {said.actor}, whose it is"
    if move.state not in ("approved", "canary", "live", "retired", "rolled_back"):
        return f"was confirmed while it was {move.state}"
    held.state, held.author, held.used = move.state, move.author, move.state != "approved"
    held.approved_by = "" if move.state == "rolled_back" else said.actor
    return ""


class Ledger:
    """The statements about one agent's releases, as far as they are believed here.

    Attributes:
        standing: by the last that is believed; its route's number 0 = none is.
        problem: why what the store has besides does not count; "" = all of it fits.
    """

    def __init__(self, store: Rollouts, keyring: Keyring, tenant: str, agent: str) -> None:
        self.standing = Standing(Route(tenant, agent))
        self.problem = ""
        self.keys: set[str] = set()
        """Ids of the keys by which what counts was signed."""
        self._store = store
        self._keyring = keyring

    @property
    def is_begun(self) -> bool:
        """Whether anything counts."""
        return self.standing.route.number > 0

    async def follow(self, row: Route, head: int) -> None:
        """Take what was said since, up to the statement ``head``; ``row``: the route as its row has it, of the same
        moment.

        Raises:
            JournalUnavailable: the store cannot be asked.
        """
        known = self.standing.route
        if head < known.number:
            self.problem = f"the store went back from the statement {known.number} to {head}"
            return
        self.problem = await self._read(head)
        if self.problem:
            return
        route = self.standing.route
        if row.number != head:
            self.problem = (
                f"the change {row.number} is not signed" if row.number > head else "the route's row was set back"
            )
        elif row != route and self.is_begun:
            self.problem = f"the route's row says {_words(row)}, and {_words(route)} was signed"

    async def _read(self, head: int) -> str:
        known, broken = self.standing.route, ""
        after = known.number
        while after < head:
            page = await self._store.statements(known.tenant, known.agent, after, PAGE)
            for item in page:
                after = item.number
                if after > head:
                    break
                broken = self._take(item, broken)
            if len(page) < PAGE:
                break
        if not broken and self.standing.route.number < head:
            return f"the statement {self.standing.route.number + 1} is missing"
        return broken

    def _take(self, item: SignedStatement, broken: str) -> str:
        """What is wrong then; "" = nothing. After something wrong only what is said anew counts."""
        why = self._keyring.objection_to(item)
        said = None if why else read(item.body)
        if said is None or said.number != item.number:
            return broken or f"statement {item.number}: {why or 'it cannot be read here'}"
        if broken and not said.anew:
            return broken
        why = self.standing.take(said, digest_of(item.body))
        if why:
            return broken or f"statement {item.number}: {why}"
        self.keys = {item.key} if said.anew else self.keys | {item.key}
        return ""

    def objection(self, release: str, author: str) -> str:
        """Why runs of a release are not executed here; "" = it was approved and put in use."""
        held = self.standing.releases.get(release)
        if held is None or not held.used:
            found = self.problem or ("" if self.is_begun else "no step of its agent is signed")
            return f"nobody whose key is trusted here has put it in use{found and ': '}{found}; {CONFIRM}"
        if held.author != author:
            return f"it is by {author}, and a release by {held.author} was approved"
        return ""


def author_of(release: Release) -> str:
    """Who drafted it, as its manifest says, which is signed."""
    try:
        return read_manifest(release.manifest).author
    except ReleaseInvalid:  # what cannot be read can be taken out of use
        return release.author


def state_of(route: Route, moves: Sequence[Move], authors: dict[str, str], **said: object) -> Statement:
    """The statement of a change. ``said``: its fields that are not of the route."""
    taken = [Taken(move.release, move.state, authors[move.release], reason_digest(move.reason)) for move in moves]
    return Statement(
        tenant=route.tenant,
        agent=route.agent,
        number=route.number,
        live=route.live,
        canary=route.canary,
        share=route.share,
        previous=route.previous,
        moves=taken,
        **said,  # type: ignore[arg-type]
    )


def sign(keyring: Keyring, said: Statement) -> SignedStatement:
    """The statement as it is kept.

    Raises:
        ReleaseKeyMissing: there is no key to sign with.
    """
    body = canonical_json(msgspec.to_builtins(said))
    key, signature = keyring.sign(body, DECISION)
    return SignedStatement(said.tenant, said.agent, said.number, body, key, signature)


def read(body: bytes) -> Statement | None:
    """A statement; None = it is of a form that is not known here."""
    try:
        plain = msgspec.json.decode(body)
        if canonical_json(plain) != body:
            return None
        found = msgspec.convert(plain, Statement)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError, InputInvalid):
        return None
    return found if found.format == FORM else None


def digest_of(body: bytes) -> str:
    """What the next statement names this one by."""
    return hashlib.sha256(body).hexdigest()


def reason_digest(reason: str) -> str:
    """SHA-256 of the words, 64 hex digits; "" of none."""
    return hashlib.sha256(reason.encode()).hexdigest() if reason else ""


def _words(route: Route) -> str:
    live = route.live[:12] or "the code as it is offered"
    return f"{live}, canary {route.canary[:12]} {route.share / 100:g} %" if route.canary else live
