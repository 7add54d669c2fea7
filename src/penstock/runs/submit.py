"""Making a run of an agent and an input."""

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from penstock.agents.budget import Budget
from penstock.events import RunSubmitted, encode
from penstock.gates.filters.incoming import Incoming, filters_for, released_input
from penstock.gates.filters.vault import sealed
from penstock.journal.chain import genesis, link
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.kernel.canonical import MAX_SAFE_INTEGER, NAME_MAX_CHARS, canonical_digest, check_size, stable_json
from penstock.kernel.clock import Clock
from penstock.kernel.errors import (
    AgentUnknown,
    BudgetInvalid,
    IdempotencyConflict,
    InputInvalid,
    InputTooLarge,
    TagInvalid,
    UsageError,
)
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.queue import Bounds, Order
from penstock.ports.records import NewRun, Payload, Row, Submitted
from penstock.ports.rollouts import Routing, Side
from penstock.rules.filters.filters import read_filters
from penstock.settings import Settings

TENANT_MAX_CHARS = 64
NEVER_FIT = (InputInvalid, InputTooLarge, TagInvalid, BudgetInvalid)
"""What the same submission would meet again: a worker that submits for somebody does not try it again."""
ERROR_MAX_CHARS = 500  # of such an error, kept for whoever declared what was to be submitted
PRIORITY_MAX = 1_000_000
MAX_WAIT_SECONDS = 366 * 86_400
KNOWN_TAGS = ("customer", "feature", "task_type", "user", "kind")
KINDS = ("judge", "shadow")
"""What a run may be made for beside the work itself: its costs are told apart."""
_DECLARED = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_OWN_TAG = re.compile(r"x_[a-z0-9_]{1,30}")


@dataclass(slots=True, frozen=True)
class Request:
    """One run to be submitted. ``value`` is the agent's input.

    Attributes:
        key: idempotency key: the same key and request give the same run, however often they are sent.
        tags: customer, feature, task_type, user, kind (`KINDS`), and own ones whose keys begin with ``x_``;
            pseudonyms, not names.
        budget: instead of the agent's own.
        subject: the person the run is about (a pseudonym): erasing the subject erases the run's content.
        priority: higher first.
        session: runs of one session go one at a time, in the order of submission.
        deadline: microseconds since the epoch after which the run is not worth starting; 0 = none.
        max_wait_seconds: refuse at once when the run is expected to wait longer before it starts; None = any wait.
        behalf: for whom it runs.
        actor: who submits it.
    """

    agent: AgentDef
    value: Any
    key: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    budget: Budget | None = None
    tenant: str | None = None
    subject: str = ""
    session: str = ""
    priority: int = 0
    deadline: int = 0
    behalf: str = ""
    actor: str = "api"
    max_wait_seconds: float | None = None


def check_agent(agent: object) -> None:
    """Refuse what is no agent.

    Raises:
        AgentUnknown: it is none, such as an agent's name.
    """
    if not hasattr(agent, "invoke"):
        raise AgentUnknown(f"{str(agent)[:80]!r} is no agent", hint="pass the agent itself, not its name")


def check_declared_name(name: object, what: str, error: type[UsageError]) -> None:
    """Refuse what cannot be the name of a schedule or trigger.

    Raises:
        UsageError: ``error``.
    """
    if not isinstance(name, str) or not _DECLARED.fullmatch(name):
        hint = "use up to 64 lower-case letters, digits, dots, dashes, underscores"
        raise error(f"{str(name)[:100]!r} is not a {what}'s name", hint=hint)


async def submit(
    journal: Journal, clock: Clock, settings: Settings, requests: list[Request], routing: Routing | None = None
) -> list[UUID]:
    """Submit runs, as `submit_each`; their ids, in order."""
    return [done.id for done in await submit_each(journal, clock, settings, requests, routing)]


async def submit_each(
    journal: Journal, clock: Clock, settings: Settings, requests: list[Request], routing: Routing | None = None
) -> list[Submitted]:
    """Submit runs, all or (for bad input) none; what each came to, in order. Durable when this returns.

    ``routing``: which releases they get; None = those of their agents as they are offered.

    Raises:
        InputInvalid, InputTooLarge, TagInvalid, BudgetInvalid: nothing was submitted.
        QueueFull: a queue is at its bound, or the wait would be too long; nothing was submitted.
        IdempotencyConflict: a key was used before for another request; all others are submitted.
    """
    submitted = await submit_together(journal, clock, settings, requests, routing)
    for request, done in zip(requests, submitted, strict=True):
        check_conflict(request, done)
    return submitted


async def submit_together(
    journal: Journal, clock: Clock, settings: Settings, requests: list[Request], routing: Routing | None = None
) -> list[Submitted]:
    """`submit_each` for requests that do not know of each other: a conflict is told in the value of its own request."""
    prepared = [await _prepare(journal, clock, settings, request, routing) for request in requests]
    await _admit(journal, settings, requests, [run for run, _ in prepared])
    payloads = [payload for _, theirs in prepared for payload in theirs]
    return await journal.submit([run for run, _ in prepared], payloads)


def check_conflict(request: Request, done: Submitted) -> None:
    """Tell whoever used a key a second time.

    Raises:
        IdempotencyConflict: the key had made another run.
    """
    if done.conflict:
        raise IdempotencyConflict(f"the key {request.key!r} made the run {done.id} from another request", run=done.id)


async def _admit(journal: Journal, settings: Settings, requests: list[Request], runs: list[NewRun]) -> None:
    """Have the runs let into the queue, which gives them their ranks."""
    orders = [
        Order(
            run.tenant,
            run.agent,
            run.release,
            run.tags.get("customer", ""),
            run.priority,
            run.key,
            run.session,
            0 if request.max_wait_seconds is None else max(1, round(request.max_wait_seconds * 1e6)),
        )
        for request, run in zip(requests, runs, strict=True)
    ]
    bounds = Bounds(settings.queue_max_per_agent, settings.queue_max_per_customer)
    for run, rank in zip(runs, await journal.queue.admit(orders, bounds), strict=True):
        run.rank = rank


def check_request(request: Request, settings: Settings) -> None:
    """Refuse what no submission could carry, before anything is stored.

    Raises:
        InputInvalid, TagInvalid: says what.
    """
    request.agent.plain_input(request.value)
    checked_tags(request.tags, settings)
    _check_names(request, request.tenant or settings.tenant)


async def _prepare(
    journal: Journal, clock: Clock, settings: Settings, request: Request, routing: Routing | None
) -> tuple[NewRun, list[Payload]]:
    plain = request.agent.plain_input(request.value)
    data = check_size(stable_json(plain), settings.input_max_bytes, "the input", "input_max_bytes")
    tags = checked_tags(request.tags, settings)
    tenant = request.tenant or settings.tenant
    _check_names(request, tenant)
    run_id = new_id(clock)
    subject_key = token_bytes(32)
    if request.subject:
        subject_key = await journal.ensure_subject(tenant, request.subject, subject_key)
    subject = request.subject or str(run_id)
    side = Side(request.agent.release, request.agent.budget)
    if routing is not None:
        side = await routing.side(tenant, request.agent, request.session or request.key or str(run_id))
    budget = request.budget.record() if request.budget else side.budget
    if budget.depth > settings.depth_max:
        raise BudgetInvalid(f"budget depth={budget.depth} is over PENSTOCK_DEPTH_MAX={settings.depth_max}")
    filters = filters_for(request.agent, side.filters, read_filters(settings.filters))
    given = await released_input(request.agent, plain, filters, subject_key, clock)
    if given.value is not plain:
        data = stable_json(given.value)
    where = address(subject_key, data)
    written = await journal.releases.write_format()
    event = RunSubmitted(
        tenant=tenant,
        run=run_id,
        agent=request.agent.name,
        at=clock.now_us(),
        seq=1,
        env=settings.environment,
        release=side.release,
        actor=request.actor,
        behalf=request.behalf,
        tags=tags,
        payloads={"input": [ref_text(where)]},
        key=request.key or "",
        budget=budget,
        session=request.session,
        priority=request.priority,
        deadline=request.deadline,
        subject=request.subject,
        format=written,
        filtered=given.filtered,
        withheld=given.withheld,
    )
    body = encode(event)
    run = NewRun(
        tenant=tenant,
        id=run_id,
        agent=request.agent.name,
        release=side.release,
        event=Row(1, body, link(genesis(tenant, run_id), body)),
        subject=subject,
        subject_key=subject_key,
        env=settings.environment,
        key=request.key,
        request_digest=canonical_digest(_told_apart(request, given)) if request.key else "",
        session=request.session,
        priority=request.priority,
        deadline=request.deadline,
        format=written,
        tags=tags,
    )
    return run, [make_payload(tenant, subject, where, data), *sealed(tenant, subject, subject_key, given.tokens)]


def _told_apart(request: Request, given: Incoming) -> dict[str, Any]:
    return {"agent": request.agent.name, "input": given.told_apart}


def _check_names(request: Request, tenant: str) -> None:
    """What goes into keys and columns must be short plain text, and numbers must fit."""
    names = {
        "tenant": (tenant, TENANT_MAX_CHARS),
        "key": (request.key or "", NAME_MAX_CHARS),
        "session": (request.session, NAME_MAX_CHARS),
        "subject": (request.subject, NAME_MAX_CHARS),
        "actor": (request.actor, NAME_MAX_CHARS),
        "behalf": (request.behalf, NAME_MAX_CHARS),
    }
    for name, (text, most) in names.items():
        if not isinstance(text, str) or len(text) > most or not text.isprintable():
            raise InputInvalid(f"the {name} must be a text of at most {most} printable characters")
    if not tenant.strip():
        raise InputInvalid("the tenant must have a name")
    if not -PRIORITY_MAX <= request.priority <= PRIORITY_MAX:
        raise InputInvalid(f"the priority must be from -{PRIORITY_MAX:,} to {PRIORITY_MAX:,}")
    if request.max_wait_seconds is not None and not 0 <= request.max_wait_seconds <= MAX_WAIT_SECONDS:
        raise InputInvalid(f"max_wait_seconds must be from 0 to {MAX_WAIT_SECONDS:,}")
    if not 0 <= request.deadline <= MAX_SAFE_INTEGER:
        raise InputInvalid("the deadline must be a time in microseconds since the epoch; 0 = none")


def checked_tags(tags: dict[str, str], settings: Settings) -> dict[str, str]:
    """A copy of a run's tags.

    Raises:
        TagInvalid, InputInvalid: says what is wrong with them.
    """
    if len(tags) > settings.tags_max:
        raise TagInvalid(f"{len(tags)} tags; at most {settings.tags_max} are allowed")
    for key, value in tags.items():
        if key not in KNOWN_TAGS and not _OWN_TAG.fullmatch(key):
            raise TagInvalid(f"there is no tag named {key[:64]!r}")
        if not isinstance(value, str) or not 0 < len(value) <= settings.tag_value_max_chars:
            raise TagInvalid(f"the tag {key} must be a text of 1 to {settings.tag_value_max_chars} characters")
        if not value.isprintable():
            raise InputInvalid(f"the tag {key} contains control characters")
        if key == "kind" and value not in KINDS:
            raise TagInvalid(f"the tag kind is {value[:64]!r}", hint=f"it is one of {', '.join(KINDS)}, or left out")
    return dict(tags)
