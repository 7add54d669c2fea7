"""What runs are given, without what they may not have.

A run's input is filtered by whoever submits it, before anything of it is stored: what was redacted or blocked is kept
nowhere, and what the run reads is what is on its tape. What comes later (events that it waits for, what people say) is
filtered by whoever works on the run, as it is taken from the inbox and before it is recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from penstock.events import Filtered
from penstock.gates.filters.classifying import FAILED, classified
from penstock.gates.filters.releasing import records
from penstock.gates.filters.vault import keep, token, tokens_of
from penstock.kernel.canonical import stable_json
from penstock.kernel.clock import Clock
from penstock.kernel.errors import InputInvalid
from penstock.ports.agents import AgentDef
from penstock.ports.records import Letter
from penstock.ports.waits import EventLetter
from penstock.rules.filters.filters import Classified, Filters, Place
from penstock.rules.filters.plain import filters_of
from penstock.rules.filters.sift import Sifted, sift_text, sift_value

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext

WITHHELD_WORDS = "[withheld]"
"""In the place of what a person said."""
_FAILED = [Filtered("filters_failed", "block")]
_DECISIONS = ("approval:", "vote:")
"""How the names of letters begin in which people decide."""


@dataclass(slots=True)
class Incoming:
    """An input as it may be stored.

    Attributes:
        value: plain JSON.
        told_apart: what two submissions of one idempotency key are held against each other by: without tokens, which
            are others for each data subject, and without the classifiers, which may answer otherwise each time.
        filtered: what was found.
        withheld: why the run may not have it, in words; "" = it may.
        tokens: the values that tokens in it stand for, under ``subject_key``.
    """

    value: Any
    told_apart: Any
    subject_key: bytes
    filtered: list[Filtered] = field(default_factory=list)
    withheld: str = ""
    tokens: dict[str, str] = field(default_factory=dict)


def filters_for(agent: AgentDef, released: Mapping[str, Any] | None, default: Filters | None) -> Filters | None:
    """The filters of a new run: those of its release, else the agent's own, else the setting's.

    Raises:
        FiltersInvalid: the release has a classifier that is not offered here.
    """
    own: Filters | None = getattr(agent, "filters", None)
    if released is None:
        return own if own is not None else default
    classifiers: Sequence[Classified] = () if own is None else own.classifiers
    return filters_of(released, classifiers) if classifiers else _compiled(stable_json(released))


@lru_cache(maxsize=256)
def _compiled(plain: bytes) -> Filters:
    return filters_of(msgspec.json.decode(plain))


async def released_input(
    agent: AgentDef, plain: Any, filters: Filters | None, subject_key: bytes, clock: Clock
) -> Incoming:
    """An input, plain JSON, as the run of that agent may have it. ``subject_key``: of its data subject."""
    place = filters.places["input"] if filters is not None else None
    if place is None or place.is_idle:
        return Incoming(plain, plain, subject_key)
    sifted = Sifted()
    try:
        value = sift_value(place, plain, partial(token, subject_key), sifted)
        told_apart = sift_value(place, plain, None, Sifted()) if sifted.tokens else value
        value = await _judged(clock, place, value, sifted)
    except Exception as error:
        return Incoming(None, None, subject_key, _FAILED, f"the filters failed: {type(error).__name__}")
    withheld = sifted.blocked
    if (FAILED, "block") in sifted.counts:
        value = None  # nobody knows what is in it
    if sifted.is_changed and not withheld and not _fits(agent, value):
        kinds = ", ".join(sorted({kind for kind, action in sifted.counts if action != "flag"}))
        withheld = f"{kinds}, without which it is no input of {agent.name}"
    return Incoming(value, told_apart, subject_key, records(sifted), withheld, {} if withheld else sifted.tokens)


async def released_event(ctx: "RunContext", data: bytes) -> tuple[bytes, list[Filtered], str]:
    """The value of an event, JSON, as the run may have it; what was found; and why it may not have it, "" = it may."""
    place = _place(ctx)
    if place is None:
        return data, [], ""
    sifted = Sifted()
    ctx.schedule.loading += 1  # the run waits for nothing else
    try:
        value = msgspec.json.decode(data)
        released = sift_value(place, value, tokens_of(ctx), sifted)
        released = await _judged(ctx.services.clock, place, released, sifted)
    except Exception as error:
        return b"", _FAILED, f"the filters failed: {type(error).__name__}"
    finally:
        ctx.schedule.loading -= 1
    if sifted.blocked:
        return b"", records(sifted), sifted.blocked
    keep(ctx, sifted.tokens)
    return data if released == value else stable_json(released), records(sifted), ""


def released_words(ctx: "RunContext", words: str) -> tuple[str, list[Filtered]]:
    """What a person said, as the run may have it. Their decision stands, whatever they said with it."""
    place = _place(ctx)
    if place is None or not words:
        return words, []
    sifted = Sifted()
    try:
        released = sift_text(place, words, tokens_of(ctx), sifted)
    except Exception:
        return WITHHELD_WORDS, _FAILED
    if sifted.blocked:
        return WITHHELD_WORDS, records(sifted)
    keep(ctx, sifted.tokens)
    return released, records(sifted)


def released_letter(ctx: "RunContext", letter: Letter) -> bytes:
    """The body of a letter that is recorded before anything waits for it: of an event its value, of a decision the
    words with it. Classifiers are asked when it is taken. A signed decision stays as it is, for its signature is over
    its words: without it, it would be taken for a forgery."""
    place = _place(ctx)
    if place is None:
        return letter.body
    if letter.dedup.startswith(_DECISIONS):
        said = msgspec.json.decode(letter.body)
        if said.get("reason") and not (said.get("voter") or {}).get("signed"):
            said["reason"] = released_words(ctx, said["reason"])[0]
        return msgspec.json.encode(said)
    if letter.kind != "event":
        return letter.body
    event = msgspec.json.decode(letter.body, type=EventLetter)
    sifted = Sifted()
    try:
        released = stable_json(sift_value(place, msgspec.json.decode(event.value), tokens_of(ctx), sifted))
        withheld = sifted.blocked
    except Exception as error:
        released, withheld = b"null", f"the filters failed: {type(error).__name__}"
    if withheld:
        return msgspec.json.encode(replace(event, value=msgspec.Raw(b"null"), withheld=withheld))
    keep(ctx, sifted.tokens)
    return msgspec.json.encode(replace(event, value=msgspec.Raw(released))) if sifted.is_changed else letter.body


def _place(ctx: "RunContext") -> Place | None:
    filters = ctx.facts.filters
    place = filters.places["input"] if filters is not None else None
    return None if place is None or place.is_idle else place


async def _judged(clock: Clock, place: Place, value: Any, into: Sifted) -> Any:
    """The value after the classifiers have seen it as a text; of one that is no text, what they change is blocked: an
    input of another form is none."""
    if not place.classifiers:
        return value
    text = value if isinstance(value, str) else stable_json(value).decode()
    judged = await classified(clock, place.classifiers, text, into)
    if judged == text or isinstance(value, str):
        return judged if isinstance(value, str) else value
    into.count("classified", "block")
    return None


def _fits(agent: AgentDef, value: Any) -> bool:
    try:
        agent.plain_input(value)
    except InputInvalid:
        return False
    return True
