"""The next thing the simulated agent does: a ladder from the first look-up to the answer, and the ways to fall off."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from penstock.adapters.simulated.conversation import Conversation, PastCall
from penstock.adapters.simulated.examples import Guess
from penstock.adapters.simulated.persona import Habits, Persona, heeds
from penstock.adapters.simulated.playbook import (
    CLOSE_ACCOUNT,
    ESCALATE,
    FREEZE_CARD,
    GET_ACCOUNT,
    LIST_TRANSACTIONS,
    REFUND,
    SEARCH_HELP,
    SEND_REPLY,
    Play,
    play_for,
)
from penstock.adapters.simulated.words import (
    MARK,
    cents,
    doubt,
    help_sentences,
    opening_thought,
    rephrased,
    reply_text,
    topic,
)
from penstock.adapters.simulated.writes import planned_write

MISREMEMBERED = "get_customer_profile"  # a tool that no bank of ours has


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the agent makes. ``broken`` cuts its JSON off in the middle."""

    name: str
    args: dict[str, Any]
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """One turn: words and calls, or the answer."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    answer: dict[str, Any] | None = None
    spiral: int = 0  # which round of a spiral this is, from 1


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a move depends on."""

    seed: int
    habits: Habits
    persona: Persona
    guess: Guess
    talk: Conversation
    offered: Collection[str]
    play: Play = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "play", play_for(self.guess.category))

    @property
    def reads(self) -> list[str]:
        return [name for name in self.play.reads if name in self.offered]

    @property
    def unsure(self) -> bool:
        return self.guess.margin < self.habits.unsure_below


def next_move(scene: Scene, *, must_answer: bool) -> Move:
    """The move that follows from the conversation so far. ``must_answer``: calls are forbidden."""
    if must_answer:
        return _answer(scene, cut_short=True)
    return (
        _look_up(scene)
        or _spiral(scene, late=False)
        or _hand_over(scene)
        or _write(scene)
        or _send(scene)
        or _spiral(scene, late=True)
        or _answer(scene, cut_short=False)
    )


def _look_up(scene: Scene) -> Move | None:
    talk, persona = scene.talk, scene.persona
    missing = [name for name in scene.reads if not _settled(talk.named(name))]
    if not missing:
        return None
    text = opening_thought(scene.guess) if talk.turn == 0 else "Let me try that again."
    if persona.unknown_tool and len(talk.named(MISREMEMBERED)) < (2 if persona.stubborn else 1):
        return Move(text, (Call(MISREMEMBERED, {"customer_id": talk.customer}),))
    broken = persona.malformed and all(call.args is not None for call in talk.calls)
    return Move(text, tuple(_read(scene, name, broken and name == missing[0]) for name in missing))


def _settled(calls: list[PastCall]) -> bool:
    return len(calls) >= 2 or any(call.status == "ok" for call in calls)


def _read(scene: Scene, name: str, broken: bool = False) -> Call:
    if name == SEARCH_HELP:
        return Call(name, {"query": topic(scene.guess.category)}, broken)
    if name == LIST_TRANSACTIONS:
        return Call(name, {"customer_id": scene.talk.customer, "limit": 20}, broken)
    return Call(name, {"customer_id": scene.talk.customer}, broken)


def _spiral(scene: Scene, *, late: bool) -> Move | None:
    talk, persona = scene.talk, scene.persona
    if not persona.spirals or persona.late is not late or not scene.reads:
        return None
    start = _after(talk, [SEND_REPLY]) if late else _after(talk, scene.reads)
    step = talk.turn - start
    if step >= persona.spiral_steps or _stopped(scene, start):
        return None
    facts = next((call.text for call in talk.calls if call.status == "ok"), "nothing certain")
    text = doubt(scene.seed, talk.question, scene.guess.category, step, facts)
    return Move(text, (_round(scene, step, late=late),), spiral=step + 1)


def _after(talk: Conversation, names: Iterable[str]) -> int:
    """The turn after which each of the tools had been asked to a good result, or twice."""
    ends = []
    for name in names:
        calls = talk.named(name)
        good = next((call.turn for call in calls if call.status == "ok"), None)
        ends.append(good if good is not None else calls[:2][-1].turn if calls else talk.turn)
    return max(ends, default=-1) + 1


def _stopped(scene: Scene, start: int) -> bool:
    return any(
        turn > start and heeds(scene.seed, scene.talk.question, number, scene.habits.heed)
        for number, turn in enumerate(scene.talk.interventions)
    )


def _round(scene: Scene, step: int, *, late: bool) -> Call:
    talk, reads = scene.talk, scene.reads
    if late and step % 4 == 3:
        made = [*talk.named(SEND_REPLY)[:1], *(call for call in talk.named(REFUND)[:1] if call.status == "ok")]
        again = made[(step // 4) % len(made)] if made else None
        if again is not None and again.args is not None:
            return Call(again.name, again.args)
    if scene.persona.style == "stuck":
        return _read(scene, reads[0])
    if SEARCH_HELP in reads and (step % 2 == 0 or LIST_TRANSACTIONS not in reads):
        return Call(SEARCH_HELP, {"query": rephrased(talk.question, scene.guess.category, step)})
    if LIST_TRANSACTIONS in reads:
        return Call(LIST_TRANSACTIONS, {"customer_id": talk.customer, "limit": 5 + step})
    return _read(scene, reads[step % len(reads)])


def _hand_over(scene: Scene) -> Move | None:
    if not scene.unsure or ESCALATE not in scene.offered or scene.talk.named(ESCALATE):
        return None
    guess = scene.guess
    reason = f"not confident: {topic(guess.category)} or {topic(guess.runner_up)}? {MARK}"
    return Move(
        "I am not sure enough to act on this.",
        (Call(ESCALATE, {"customer_id": scene.talk.customer, "reason": reason, "category": guess.category}),),
    )


def _write(scene: Scene) -> Move | None:
    if scene.talk.succeeded(ESCALATE):
        return None
    write = planned_write(scene.talk, scene.guess.category, scene.play.write, scene.persona)
    if write is None or write[0] not in scene.offered:
        return None
    name, args = write
    made = scene.talk.named(name)
    tries = 2 if scene.persona.stubborn else 1
    if len(made) >= tries or any(call.status == "ok" for call in made):
        return None
    return Move("That is clear enough to act.", (Call(name, args),))


def _send(scene: Scene) -> Move | None:
    talk = scene.talk
    made = talk.named(SEND_REPLY)
    if SEND_REPLY not in scene.offered or talk.succeeded(ESCALATE) or _settled(made):
        return None
    return Move("I can answer now.", (Call(SEND_REPLY, {"customer_id": talk.customer, "text": _reply(scene)}),))


def _reply(scene: Scene) -> str:
    done: list[str] = []
    undone: list[str] = []
    for call in scene.talk.calls:
        if call.name in _DONE and call.args is not None:
            words = _DONE[call.name] if call.status == "ok" else _UNDONE[call.name]
            amount = call.args.get("amount_cents")
            words = words.format(amount=cents(amount) if type(amount) is int else "the amount")
            (done if call.status == "ok" else undone).append(words)
    # A refused try that was repeated is told once.
    undone = [] if done else list(dict.fromkeys(undone))
    help_text = help_sentences(scene.talk.result(SEARCH_HELP))
    opening = scene.play.opening if scene.talk.succeeded(GET_ACCOUNT) else "Thank you for your question."
    return reply_text(opening, help_text, list(dict.fromkeys(done)), undone)


_DONE = {
    FREEZE_CARD: "I have frozen the card, so nobody can pay with it; a new one can be ordered in the app.",
    REFUND: "I have refunded {amount}; you will see it on your account within two working days.",
    CLOSE_ACCOUNT: "I have closed your account.",
}
_UNDONE = {
    FREEZE_CARD: "I could not freeze the card myself; please freeze it in the app now.",
    REFUND: "I could not refund {amount} myself; a colleague will look at it.",
    CLOSE_ACCOUNT: "I cannot close an account from here; a colleague will contact you about it.",
}


def _left_to_do(scene: Scene, *, cut_short: bool) -> list[str]:
    """Writes that were refused or failed, and the one that an agent that was cut short did not come to."""
    talk = scene.talk
    wanted = [call.name for call in talk.calls if call.name in _DONE]
    if cut_short and scene.play.write in (FREEZE_CARD, REFUND):
        wanted.append(scene.play.write)
    return [name for name in dict.fromkeys(wanted) if not talk.succeeded(name)]


def _answer(scene: Scene, *, cut_short: bool) -> Move:
    talk = scene.talk
    actions = list(
        dict.fromkeys(
            call.name for call in talk.calls if call.status == "ok" and call.name in {*_DONE, SEND_REPLY, ESCALATE}
        )
    )
    sent = next((call.args for call in talk.named(SEND_REPLY) if call.status == "ok"), None)
    reply = sent.get("text") if sent else None
    if talk.succeeded(ESCALATE):
        reply = f"A colleague will look at your question and answer you. {MARK}"
    return Move(
        answer={
            "category": scene.guess.category,
            "reply": reply if isinstance(reply, str) else _reply(scene),
            "confidence": round(scene.guess.confidence, 3),
            "actions": actions,
            "left_to_do": _left_to_do(scene, cut_short=cut_short),
        }
    )
