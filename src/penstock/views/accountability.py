"""Who answers for what a run did.

For each call of a tool, a model or another agent: who built, reviewed and released what was called, whose policy let it
through, who approved it, who oversaw it, who bears responsibility, and for whom it ran.

All of it is read from the record: events of the run, which the chain covers, and the release that they name. Where the
record names nobody, the account says so, rather than guess.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalVoted,
    ChildIntent,
    ControlApplied,
    Event,
    ModelIntent,
    RuleVerdict,
    RunSubmitted,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
)
from penstock.kernel.errors import EventUnreadable, PolicyInvalid, SpanUnknown
from penstock.kernel.ids import id_time_us
from penstock.ports.journal import Journal
from penstock.ports.people import default_person
from penstock.ports.records import RunRow
from penstock.ports.rollouts import Manifest
from penstock.rules.policy.policy_set import PolicySet
from penstock.views.lines import clock_time
from penstock.views.oversight import FOREVER, Watch, Watches, during, watches, words
from penstock.views.signatures import decided_at, steps_signed

EVENTS_AT_ONCE = 2000
CONTROLS_MAX = 100
STEPS_MAX = 100

OwnerOf = Callable[[str, str], str]
"""Of a policy's version and the name of one of its rules: who owns the rule; '' = not known here."""


def owners_in(policy: PolicySet | None) -> OwnerOf:
    """The owners that a policy names, for verdicts that were given under this very version of it."""
    owners = {} if policy is None else {rule.text.name: rule.text.owner for rule in policy.rules}
    known = "" if policy is None else policy.version
    return lambda version, clause: owners.get(clause, "") if version == known else ""


class Party(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody, in which part, and where the record says so. ``at``: microseconds since the epoch; 0 = not said.
    ``until``: when what they did ended, where that took a time; 0 = not said, or not yet."""

    who: str
    part: str
    source: str
    at: int = 0
    detail: str = ""
    until: int = 0


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call, and who answers for it.

    Attributes:
        path, seq: of the call in the run, and of the event that began it, or that says why it did not.
        what: tool | model | child | refused.
        parties: in the order built, reviewed, released, policy, approved, oversaw, responsible, beneficiary.
        missing: parts for which the record names nobody.
        binding: what acted in the tool's place in its environment; "" = itself.
    """

    run: UUID
    path: str
    seq: int
    at: int
    what: str
    name: str
    agent: str
    release: str
    parties: list[Party]
    missing: list[str] = []
    effect: str = ""
    risk: str = ""
    attempt: int = 1
    binding: str = ""


PARTS = ("built", "reviewed", "released", "policy", "approved", "oversaw", "responsible", "beneficiary")
NEEDED = ("built", "reviewed", "released", "responsible", "beneficiary")
"""Parts that somebody should have in every call; the others only where there was a hold, or an intervention."""


async def accounts_of(
    journal: Journal,
    row: RunRow,
    last: int | None = None,
    *,
    path: str | None = None,
    owner_of: OwnerOf | None = None,
    watched: Watches | None = None,
) -> list[Account]:
    """The accounts of a run's calls, in order, up to an event; with ``path`` those of that call alone.

    ``watched``: who had which runs in their hands, when that was read already.

    Raises:
        EventUnreadable: an event cannot be read.
    """
    last = row.last_seq if last is None else last
    owners = [owners_in(await _policy_of(journal, row))] + ([owner_of] if owner_of is not None else [])
    if watched is None:
        watched = await watches(journal, row.tenant, id_time_us(row.id))
    controls = await _controls(journal, row)
    record = _Record(row, await _released(journal, row), controls, owners, watched.get(row.id, ()))
    after = 0
    while after < last:
        rows = await journal.tape(row.tenant, row.id, after=after, limit=min(EVENTS_AT_ONCE, last - after))
        if not rows:
            break
        for item in rows:
            try:
                record.take(decode(item.body))
            except EventUnreadable:  # of a newer kind: it names no call that this version knows of
                continue
        after = rows[-1].seq
    return [record.account(event) for event in record.calls if path is None or event.path == path]


async def account_of(
    journal: Journal, row: RunRow, step: str, owner_of: OwnerOf | None = None, watched: Watches | None = None
) -> list[Account]:
    """The accounts of one step: the path of a call, or the number of the event that began it.

    Raises:
        SpanUnknown: the run has no such call.
    """
    found = await accounts_of(journal, row, path=step, owner_of=owner_of, watched=watched)
    if not found and step.isdigit():
        every = await accounts_of(journal, row, owner_of=owner_of, watched=watched)
        found = [item for item in every if item.seq == int(step)]
    if not found:
        raise SpanUnknown(
            f"run {row.id} has no call {step!r}", hint="give the path that `penstock runs show` has before the call"
        )
    return found


class _Record:
    """What the events of a run say of its calls."""

    def __init__(
        self,
        row: RunRow,
        released: Sequence[Party],
        controls: Sequence[Party],
        owners: Sequence[OwnerOf],
        watched: Sequence[Watch],
    ) -> None:
        self.row = row
        self.released = list(released)
        self.overseen = list(controls)
        self.owners = owners
        self.calls: list[ToolIntent | ModelIntent | ChildIntent | VerdictRecorded] = []
        self.submitted: RunSubmitted | None = None
        self.requested: dict[str, list[ApprovalRequested]] = {}  # by path
        self.decided: dict[str, list[Party]] = {}  # by approval
        self.settled: dict[str, list[Party]] = {}  # by path
        self.watched = watched
        self.lasted: dict[str, tuple[int, int]] = {}  # by path: its first and last event's time

    def take(self, event: Event) -> None:
        """Note what the event says."""
        begun, ended = self.lasted.get(event.path, (event.at, event.at))
        self.lasted[event.path] = min(begun, event.at), max(ended, event.at)
        match event:
            case RunSubmitted():
                self.submitted = event
            case ToolIntent() | ModelIntent() | ChildIntent() | VerdictRecorded():
                self.calls.append(event)
            case ApprovalRequested():
                self.requested.setdefault(event.path, []).append(event)
            case ApprovalVoted():
                detail = f"allowed it, for {event.behalf}" if event.behalf else "allowed it"
                self._decided(event, f"does not count: {event.problem}" if event.problem else detail)
            case ApprovalEdited():
                self._decided(event, "allowed it with other arguments")
            case ApprovalDecided():
                self._decided(event, f"{event.decision}: {event.problem}" if event.problem else event.decision)
            case ControlApplied():
                detail = f"{event.action} of {event.scope}"
                self.overseen.append(Party(event.actor, "oversaw", f"event {event.seq}", event.at, detail))
            case ToolOutcome() if event.settled_by == "person" and event.actor:
                settled = Party(event.actor, "oversaw", f"event {event.seq}", event.at, f"said that it {event.status}")
                self.settled.setdefault(event.path, []).append(settled)

    def _decided(self, event: ApprovalVoted | ApprovalEdited | ApprovalDecided, detail: str) -> None:
        key = f", signed by key {event.signed.key}" if event.signed is not None else ""
        said = Party(event.actor, "approved", f"event {event.seq}", decided_at(event), detail + key)
        self.decided.setdefault(event.approval, []).append(said)

    def account(self, event: "ToolIntent | ModelIntent | ChildIntent | VerdictRecorded") -> Account:
        """Who answers for the call that the event began, or refused."""
        parties = [
            *self._built(event),
            *self.released,
            *self._policy([*self._held_by(event), *event.verdicts]),
            *self._approved(event),
            *self.settled.get(event.path, ()),
            *self.overseen,
            *self._watched(event),
            *self._beneficiary(),
        ]
        parties += self._responsible(event, parties)
        parties = sorted((party for party in parties if party.who), key=lambda party: PARTS.index(party.part))
        named = {party.part for party in parties}
        needed = [part for part in NEEDED if part not in named]
        if any(item.question == "may_run" for item in self.requested.get(event.path, ())) and "approved" not in named:
            needed.append("approved")
        tool = event if isinstance(event, ToolIntent) else None
        return Account(
            run=self.row.id,
            path=event.path,
            seq=event.seq,
            at=event.at,
            what=_what(event),
            name=_name(event),
            agent=event.agent or self.row.agent,
            release=event.release or self.row.release,
            parties=parties,
            missing=needed,
            effect=tool.effect if tool else "",
            risk=tool.risk if tool else "",
            attempt=getattr(event, "attempt", 1),
            binding=tool.binding if tool else "",
        )

    def _built(self, event: Event) -> list[Party]:
        labels = event.labels if isinstance(event, ToolIntent) else {}
        source = f"labels of the tool, event {event.seq}"
        found = [Party(labels.get("built_by") or labels.get("owner", ""), "built", source)]
        if reviewed := labels.get("reviewed", ""):
            found.append(Party(labels.get("reviewed_by") or labels.get("owner", ""), "reviewed", source, 0, reviewed))
        return found

    def _policy(self, verdicts: Sequence[RuleVerdict]) -> list[Party]:
        found = []
        for verdict in verdicts:
            clause, version = verdict.clause, verdict.policy
            owner = verdict.owner or next(
                (who for owner_of in self.owners if clause and (who := owner_of(version, clause))), ""
            )
            source = f"policy {version[:12]}, rule {clause}" if clause else f"{verdict.rule}@{verdict.version}"
            detail = f"{verdict.verdict}: {verdict.reason}" if verdict.reason else verdict.verdict
            found.append(Party(owner or ("penstock" if not clause else "not named"), "policy", source, 0, detail))
        return found

    def _held_by(self, event: Event) -> list[RuleVerdict]:
        asked = [item for item in self.requested.get(event.path, ()) if item.seq < event.seq]
        return [verdict for item in asked for verdict in item.verdicts]

    def _approved(self, event: Event) -> list[Party]:
        own = getattr(event, "approval", "")
        asked = [item for item in self.requested.get(event.path, ()) if item.seq < event.seq]
        names = dict.fromkeys([*([own] if own else []), *(item.approval for item in asked)])
        return [party for name in names for party in self.decided.get(name, ())]

    def _responsible(self, event: Event, parties: Sequence[Party]) -> list[Party]:
        labels = event.labels if isinstance(event, ToolIntent) else {}
        if who := labels.get("responsible") or labels.get("owner"):
            return [Party(who, "responsible", f"labels of the tool, event {event.seq}")]
        released = [party for party in parties if party.part == "released" and party.who]
        return [Party(party.who, "responsible", f"released it: {party.source}") for party in released[:1]]

    def _watched(self, event: Event) -> list[Party]:
        """Those who had the run in their hands while the call was waited for or made."""
        found = []
        for watch in during(self.watched, *self.lasted[event.path]):
            until = 0 if watch.until == FOREVER else watch.until
            span = f"from {clock_time(watch.since)}" + (f" to {clock_time(until)}" if until else "")
            answers = [
                item.source
                for item in self._approved(event)
                if default_person(item.who) == default_person(watch.who) and watch.since <= item.at <= watch.until
            ]
            answered = f"; answered: {', '.join(answers)}" if answers and watch.how != "assigned" else ""
            detail = f"{words(watch)}, {span}{answered}"
            found.append(Party(watch.who, "oversaw", watch.source, watch.since, detail, until))
        return found

    def _beneficiary(self) -> list[Party]:
        said = self.submitted
        if said is None:
            return []
        source = f"event {said.seq}"
        found = [Party(said.tags.get("customer", ""), "beneficiary", source, 0, "customer")]
        if said.behalf:
            found.append(Party(said.behalf, "beneficiary", source, 0, "on whose behalf"))
        if said.actor:
            found.append(Party(said.actor, "beneficiary", source, said.at, "submitted it"))
        return found


def _what(event: Event) -> str:
    kinds = {ToolIntent: "tool", ModelIntent: "model", ChildIntent: "child"}
    return kinds.get(type(event), "refused")


def _name(event: "ToolIntent | ModelIntent | ChildIntent | VerdictRecorded") -> str:
    if isinstance(event, ToolIntent):
        return event.tool
    if isinstance(event, ModelIntent):
        return event.model
    return event.child_agent if isinstance(event, ChildIntent) else event.name


async def _released(journal: Journal, row: RunRow) -> list[Party]:
    """Who drafted, approved and put into use the release that the run is of, where it is a managed one."""
    rollouts = journal.rollouts
    release = await rollouts.get(row.tenant, row.release)
    if release is None:
        return []
    signed = await steps_signed(journal, row.tenant, release.agent)
    source = f"release {release.id[:12]}"
    found = [Party(release.author, "built", source, release.drafted_at, "drafted the release")]
    steps = (await rollouts.steps(row.tenant, release.id))[:STEPS_MAX]
    parts = {"approved": ("reviewed", "approved the release"), "canary": ("released", "to some of the runs")}
    parts["live"] = ("released", "to all runs")
    for step in steps:
        if step.state in parts and step.at <= (row.ended_at or step.at):
            part, words = parts[step.state]
            key = signed.get((step.release, step.state, step.actor), "")
            words += f", signed by key {key}" if key else ", not signed"
            found.append(Party(step.actor, part, f"{source}, step {step.number}", step.at, words))
    return found


async def _policy_of(journal: Journal, row: RunRow) -> PolicySet | None:
    """The policy that is part of the run's release."""
    release = await journal.rollouts.get(row.tenant, row.release)
    if release is None:
        return None
    try:
        sources = msgspec.json.decode(release.manifest, type=Manifest).policy
        return PolicySet.compile(sources) if sources else None
    except (msgspec.DecodeError, PolicyInvalid):
        return None


async def _controls(journal: Journal, row: RunRow) -> list[Party]:
    """Who stopped or released the run itself, as far as the store of stops knows."""
    return [
        Party(item.actor, "oversaw", f"control {item.id}", item.at, f"{item.action}: {item.reason}".rstrip(": "))
        for item in await journal.controls.of_run(row.tenant, row.id, CONTROLS_MAX)
    ]
