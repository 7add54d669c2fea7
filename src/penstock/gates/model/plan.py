"""How much a model call may use, whether it must be the last one, and what the model is told about it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from penstock.events import Amount, Filtered
from penstock.events.messages import Message, say
from penstock.gates.model.conversation import Conversation
from penstock.gates.run.context import RunContext
from penstock.gates.run.words import NOTE_70, NOTE_90, NOTE_SPIRAL, NOTE_SPIRAL_LAST
from penstock.ports.cache import Cache
from penstock.ports.model import Model, ModelSettings, Price, ToolSpec
from penstock.rules import budget as budget_rule
from penstock.rules import spiral
from penstock.rules.verdict import RunFacts

NOTES = {spiral.NUDGE: NOTE_SPIRAL, 70: NOTE_70, 90: NOTE_90, spiral.LAST: NOTE_SPIRAL_LAST}
MIN_OUTPUT_TOKENS = 32  # an answer with less room than this is not worth its prompt
FINAL_OUTPUT_TOKENS = 512  # room for the last answer, set aside when the run starts


class Keeping(Protocol):
    """An answer that is asked for in a form of its own, and kept in that one: a wire format's."""

    def request(self) -> bytes:
        """All that is sent, in one form for all requests that are the same.

        Raises:
            ValueError: there is no such form.
        """
        ...

    def pack(self) -> bytes | None:
        """The answer that has just come; None when it cannot be given again as it was."""
        ...

    def unpack(self, data: bytes) -> Message | None:
        """What was packed, which is served if the gate takes the message; None when it cannot be read."""
        ...

    def stands(self, how: str) -> None:
        """What came of asking the cache: hit | miss."""
        ...


class ModelCall(msgspec.Struct, frozen=True):
    """What an agent asks of the model gate."""

    model: Model
    conversation: Conversation
    tools: Sequence[ToolSpec] = ()
    tools_digest: str = ""
    output_tool: ToolSpec | None = None
    settings: ModelSettings = msgspec.field(default_factory=lambda: ModelSettings(max_tokens=1024))
    purpose: str = "step"  # step | repair | final | a word of the agent's own
    attempts: int = 3
    can_answer_last: bool = True  # a forced last answer makes sense: room is set aside for it
    heard: bool = False  # somebody outside said something since the model's last answer
    fallbacks: Sequence[Model] = ()  # asked in turn when the model before has failed for good
    hedge_after: float | None = None  # seconds after which a second attempt is made beside the first
    optional: bool = False  # a limit that it does not fit into denies the call, and does not end the run
    cache: Cache | None = None  # the answer may be one that an equal call was given before
    accepts: Callable[[Message], bool] | None = None  # what the agent would not take is neither kept nor served
    filtered: Sequence[Filtered] = ()  # what was found in the prompt before it came here
    keeping: Keeping | None = None  # how the answer is kept, when whoever asks wants more of it than the message

    @property
    def offered(self) -> Sequence[ToolSpec]:
        """All definitions that are sent, and paid for, with the prompt."""
        return self.tools if self.output_tool is None else [*self.tools, self.output_tool]


class Plan(msgspec.Struct, frozen=True):
    """One attempt as the budget allows it.

    ``level`` is the note that is added to the conversation with it (0 = none); ``messages`` is the conversation's own
    list, or a shortened copy when the last answer needs room.
    """

    final: bool
    level: int
    max_tokens: int
    reserved: Amount
    messages: Sequence[Message]
    note: Message | None = None
    shortened: bool = False
    looping: bool = False  # the level comes from going round in circles, not from a limit


def most_tokens(ctx: RunContext, asked: ModelCall) -> int:
    """The most tokens, of prompt and answer, that the next attempt could use as the budget stands."""
    return make_plan(ctx, asked, asked.model.price()).reserved.tokens


def make_plan(ctx: RunContext, asked: ModelCall, price: Price | None) -> Plan:
    """How much the call may use, and whether it must be the last one."""
    conversation, facts = asked.conversation, ctx.facts
    if asked.can_answer_last and not (facts.aside_tokens or facts.aside_nano):
        _set_aside(ctx, asked, price)
    bound = conversation.bound(asked.model, asked.offered)
    by_limits, by_circles = budget_rule.level(facts), _spiral_level(facts, asked)
    level, looping = max(by_limits, by_circles), by_circles > by_limits
    wants_last = asked.can_answer_last and level >= budget_rule.MUST_ANSWER
    note_size = len(NOTE_70) + 16
    if not wants_last:
        room = _output_room(ctx, bound + note_size, price, final=False)
        if room >= min(MIN_OUTPUT_TOKENS, asked.settings.max_tokens) or not asked.can_answer_last:
            # A single question has nothing to wrap up; what to do about the budget is the agent's code to decide.
            note = budget_note(conversation, level) if asked.can_answer_last else None
            most = max(1, min(asked.settings.max_tokens, room))
            size = bound + (note_size if note else 0)
            return Plan(False, level, most, _reserve(size, most, price), conversation.messages, note, looping=looping)
    room = _output_room(ctx, bound + note_size, price, final=True)
    most = max(1, min(asked.settings.max_tokens, room))
    messages: Sequence[Message] = conversation.messages
    is_short = False
    level = spiral.LAST if looping and level == spiral.LAST else budget_rule.MUST_ANSWER
    note = budget_note(conversation, level)
    size = bound + note_size
    if room < min(FINAL_OUTPUT_TOKENS, asked.settings.max_tokens):
        most = min(asked.settings.max_tokens, FINAL_OUTPUT_TOKENS)
        free = _input_room(ctx, most, price)
        shorter = conversation.shortened(asked.model, asked.offered, free, say("note", NOTES[level]))
        if shorter is not None:
            messages, size, is_short = shorter, asked.model.prompt_bound(shorter, asked.offered), True
    return Plan(True, level, most, _reserve(size, most, price), messages, note, is_short, looping)


def _spiral_level(facts: RunFacts, asked: ModelCall) -> int:
    """The rung of the ladder that is due: the model is told of its circles before it has to answer for them."""
    level = 0 if asked.heard else spiral.level(facts)
    return spiral.NUDGE if level and asked.conversation.level < spiral.NUDGE else level


def _set_aside(ctx: RunContext, asked: ModelCall, price: Price | None) -> None:
    """Keep room for one last answer to the opening of the conversation."""
    facts = ctx.facts
    last = say("note", NOTE_90)
    tokens_in = asked.model.prompt_bound([*asked.conversation.head(), last], asked.offered)
    tokens_out = min(asked.settings.max_tokens, FINAL_OUTPUT_TOKENS)
    facts.aside_tokens = tokens_in + tokens_out
    facts.aside_nano = price.at_most(tokens_in, tokens_out) if price else 0
    budget = facts.budget
    small_tokens = budget.tokens and facts.tokens == 0 and facts.aside_tokens > budget.tokens
    small_money = budget.nano and facts.nano == 0 and facts.aside_nano > budget.nano
    if small_tokens or small_money:
        words = (
            f"the budget cannot hold even one answer: that may take {facts.aside_tokens:,} tokens "
            f"({facts.aside_nano:,} nano-dollars)"
        )
        ctx.end("failed", "budget_invalid", words, needed=["a larger budget or a shorter prompt"])


def _reserve(tokens_in: int, tokens_out: int, price: Price | None) -> Amount:
    return Amount(tokens_in, tokens_out, price.at_most(tokens_in, tokens_out) if price else 0)


def _output_room(ctx: RunContext, tokens_in: int, price: Price | None, *, final: bool) -> int:
    """Output tokens that still fit after ``tokens_in`` of input."""
    facts, room = ctx.facts, 1 << 40
    if facts.budget.tokens:
        aside = 0 if final else facts.aside_tokens
        room = facts.budget.tokens - facts.tokens - facts.held_tokens - aside - tokens_in
    if facts.budget.nano and price:
        free = facts.budget.nano - facts.nano - facts.held_nano - (0 if final else facts.aside_nano)
        prompt = price.at_most(tokens_in, 0)
        left = free - prompt - 1
        rate = (price.at_most(tokens_in, 1_000_000) - prompt) / 1_000_000
        room = min(room, int(left / rate) if rate else (room if left >= 0 else -1))
    return room


def _input_room(ctx: RunContext, tokens_out: int, price: Price | None) -> int:
    """Input tokens that still fit beside ``tokens_out`` of output, nothing set aside."""
    facts, room = ctx.facts, 1 << 40
    if facts.budget.tokens:
        room = facts.budget.tokens - facts.tokens - facts.held_tokens - tokens_out
    if facts.budget.nano and price:
        left = facts.budget.nano - facts.nano - facts.held_nano - price.at_most(0, tokens_out) - 1
        per_token = price.at_most(1_000_000, 0) / 1_000_000
        room = min(room, int(left / per_token) if per_token else room)
    return room


def budget_note(conversation: Conversation, level: int) -> Message | None:
    if level <= conversation.level:
        return None
    return say("note", NOTES[min(level, budget_rule.MUST_ANSWER) if level not in NOTES else level])
