"""Whether a run goes round in circles, judged by the calls on its tape; pure, and in constant time a call.

A call brings something new when it succeeds and its result says something that no call of the window had said, or when
it is a write that was not made before. All others are in vain, and stand in one *stretch* until something new comes.

A result says something new when a quarter of its facts (`penstock.rules.sketch`) were not known. Of a call with the
arguments of an earlier one any new fact will do; so it does of a tool's first call. A call that repeats an earlier
one after a pause that shows patience is *polling*: neither new nor in vain. A message from outside ends the stretch,
unless the next call comes back as one of the stretch had: then it changed nothing, and the stretch goes on.

The score is how many calls in vain the stretch has, at most `TURN_MOST` for one answer of the model, however many calls
that asked for at once; and `EXTRA` more for each of these: the prompt has grown by half, the calls alternate (A B A B),
the model says again the very words it had said before. With something new it starts again from 0.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from penstock.rules.past import PastCall
from penstock.rules.sketch import HASH_BYTES, unpacked

WINDOW = 50  # calls that are looked back upon, at least; twice as many at most
TURNS = 8  # answers of the model whose calls are looked back upon, at least, however many calls each asks for at once
WINDOW_MOST = 1000  # calls, whatever they are
NEW_SHARE = 0.25  # of a result's facts: with fewer new ones it says nothing new
SURELY_MIN = 4  # facts of which the samples tell for certain, from which on the others are left aside
TURN_MOST = 2  # what the calls of one answer of the model add to the score, at most
EXTRA = 0.5  # what each further sign adds to it
GREW = 1.5  # the prompt, since the last new fact: a sign
FIRST_PAUSE_US = 2_000_000  # the shortest pause that shows patience; what models take is no pause
PAUSE_GROWS = 1.25  # how much longer than the one before it the next must be
LONG_PAUSE_US = 30_000_000  # a pause of this length shows patience, whatever the one before was
SAME_WORDS = 0.6  # texts are rewordings of each other when their samples agree to this share (Jaccard)

Kind = Literal["same", "near", "known", "failed", "refused"]


@dataclass(slots=True, frozen=True)
class Vain:
    """A call that brought nothing new, and in what way. ``like``: the call that it repeats, if it repeats one."""

    call: PastCall
    kind: Kind
    like: PastCall | None = None


@dataclass(slots=True, frozen=True)
class Reading:
    """The evidence of a stretch. ``growth`` of the prompt and ``nano``-dollars are those since the last new fact.

    ``kinds``: how many calls are in vain in which way; ``extras``: what else speaks for a spiral.
    """

    score: float = 0.0
    count: int = 0
    kinds: tuple[tuple[str, int], ...] = ()
    extras: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    growth: float = 1.0
    nano: int = 0

    @property
    def words(self) -> str:
        """The same for people; names of tools, paths and numbers only."""
        if not self.count:
            return "no call was in vain"
        said = ", ".join(f"{count} {_words_of[kind]}" for kind, count in self.kinds)
        more = "".join(f"; {extra}" for extra in self.extras)
        paths = ", ".join(self.paths[-8:])
        where = f" (calls {'… ' if len(self.paths) > 8 else ''}{paths})" if paths else ""
        return f"{self.count} calls since the last new fact, {said}{where}{more}"


_calm = Reading()
_words_of = {
    "same": "with the arguments of an earlier one",
    "near": "nearly the same as an earlier one",
    "known": "told only what was known",
    "failed": "failed",
    "refused": "refused",
}


@dataclass(slots=True)
class Stretch:
    """Calls in vain since ``since``, which brought the last new fact."""

    since: PastCall
    calls: list[Vain] = field(default_factory=list)
    points: float = 0.0
    extras: dict[str, None] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """About how many calls in a row were in vain."""
        return self.points + EXTRA * len(self.extras) if self.calls else 0.0

    def reading(self) -> Reading:
        """Its evidence."""
        if not self.calls:
            return _calm
        since, last = self.since, self.calls[-1].call
        kinds = Counter(vain.kind for vain in self.calls)
        return Reading(
            self.score,
            len(self.calls),
            tuple(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
            tuple(self.extras),
            frozenset(vain.call.name for vain in self.calls),
            tuple(vain.call.path for vain in self.calls if vain.call.path),
            last.prompt / since.prompt if since.prompt and last.prompt else 1.0,
            max(0, last.nano - since.nano),
        )


class Detector:
    """Fed with calls in the order in which they were over."""

    def __init__(self, past: Iterable[PastCall] = ()) -> None:
        self.past: list[PastCall] = []
        """The calls of the window."""
        self._clear()
        for call in past:
            self.past.append(call)
            self._take(call)

    def _clear(self) -> None:
        self.stretch = Stretch(PastCall("", "", ok=True))
        self._aside: Stretch | None = None  # one that a message has interrupted
        self._results: set[str] = set()
        self._facts: set[bytes] = set()
        self._read: tuple[str, list[bytes]] = "", []  # the sketch that was unpacked last, and its hashes
        self._surely = b"\xff" * HASH_BYTES  # a larger hash may be missing from the sample of an earlier result
        self._said: deque[str] = deque(maxlen=WINDOW)
        self._tools: dict[str, _Tool] = {}
        self._turn, self._turn_points = -1, 0

    def hear(self) -> None:
        """Somebody outside said something: calm, until a call comes back as one before had."""
        if self.stretch.calls:
            self._aside = self.stretch
            self.stretch = Stretch(self._aside.since)

    def take(self, call: PastCall) -> Stretch | None:
        """A further call is over; the stretch that ended with it, or outgrew the window. Sets ``call.polled``."""
        before: Stretch | None = None
        count = len(self.past)
        if count >= 2 * WINDOW and count % WINDOW == 0 and count >= 2 * (size := _window(self.past)):
            kept, self.past, before = self.past[-size:], [], self.latest
            self._clear()
            for old in kept:
                self.past.append(old)
                self._take(old)
        self.past.append(call)
        return self._take(call) or (before if before is not None and before.calls else None)

    @property
    def latest(self) -> Stretch:
        """The stretch that has not ended."""
        return self._aside or self.stretch

    def _take(self, call: PastCall) -> Stretch | None:
        if call.heard:
            self.hear()
        tool = self._tools.setdefault(call.name, _Tool())
        like, kind = tool.like(call)
        is_new = self._brings_news(call, tool, kind)
        call.polled = not is_new and not call.refused and tool.is_patient(call)
        vain = None
        if not is_new and not call.polled and not (call.repeatable and kind == "same"):
            vain = Vain(call, _kind_of(call, kind), like)
        ended = self._after_message(call, vain)
        self._learn(call, tool)
        if is_new:
            ended = ended or (self.stretch if self.stretch.calls else None)
            self.stretch = Stretch(call)
        elif vain is not None:
            self._add(vain)
        if call.said:
            self._said.append(call.said)
        return ended

    def _after_message(self, call: PastCall, vain: Vain | None) -> Stretch | None:
        """Go on with the stretch before the message if the call came back as one of it had; else that has ended."""
        aside, self._aside = self._aside, None
        if aside is not None and vain is not None and any(_alike(call, other.call) for other in aside.calls):
            self.stretch = aside
            return None
        return aside

    def _brings_news(self, call: PastCall, tool: "_Tool", kind: str) -> bool:
        if not call.ok:
            return False
        if call.write:
            return kind not in ("same", "reworded")
        if not call.result:
            return kind != "same"
        if call.result in self._results:
            return False
        if not call.facts:
            return True
        share = self._new_share(call.facts)
        return share > 0 if kind == "same" or not tool.calls else share >= NEW_SHARE

    def _new_share(self, facts: str) -> float:
        """Which share of the facts was not known. Where the samples do not allow to tell, it is taken as new."""
        if not self._facts:
            return 1.0
        hashes = self._hashes(facts)
        surely = [one for one in hashes if one <= self._surely]
        if len(surely) >= SURELY_MIN:
            hashes = surely
        return sum(one not in self._facts for one in hashes) / len(hashes) if hashes else 1.0

    def _learn(self, call: PastCall, tool: "_Tool") -> None:
        tool.add(call)
        if call.ok and call.result:
            self._results.add(call.result)
            hashes = self._hashes(call.facts)
            self._facts.update(hashes)
            if call.facts.endswith("~") and hashes:
                self._surely = min(self._surely, hashes[-1])

    def _hashes(self, facts: str) -> list[bytes]:
        if self._read[0] != facts:
            self._read = facts, unpacked(facts)
        return self._read[1]

    def _add(self, vain: Vain) -> None:
        stretch, call = self.stretch, vain.call
        if call.turn != self._turn:
            self._turn, self._turn_points = call.turn, 0
            if call.said and call.said in self._said:
                stretch.extras["the model said the same words again"] = None
        if self._turn_points < TURN_MOST:
            self._turn_points += 1
            stretch.points += 1
        stretch.calls.append(vain)
        if _alternates([one.call for one in stretch.calls[-4:]]):
            stretch.extras["two calls in turn"] = None
        if stretch.since.prompt and call.prompt >= GREW * stretch.since.prompt:
            stretch.extras["the prompt grew by half"] = None


class _Tool:
    """The earlier calls of one tool, found by what they were asked."""

    def __init__(self) -> None:
        self.calls = 0
        self._by_digest: dict[str, PastCall] = {}
        self._but_one: dict[bytes, PastCall] = {}
        self._unread: list[PastCall] = []  # whose shapes nothing was compared with yet
        self._latest: PastCall | None = None
        self._pause = 0

    def like(self, call: PastCall) -> tuple[PastCall | None, str]:
        """The latest call that it repeats, and how: same | near | reworded | ""."""
        same = self._by_digest.get(call.digest)
        if same is not None:
            return same, "same"
        if not self.calls:
            return None, ""
        for earlier in self._unread:
            self._but_one.update(dict.fromkeys(_keys(earlier.shape), earlier))
        self._unread.clear()
        keys = _keys(call.shape)
        for key in keys:
            near = self._but_one.get(key)
            if near is not None:
                return near, "reworded" if key is keys[-1] and _reworded(call.shape, near.shape) else "near"
        return None, ""

    def is_patient(self, call: PastCall) -> bool:
        """Whether the pause since the tool's latest call is long, or clearly longer than the one before."""
        pause = self._pause_before(call)
        return pause >= LONG_PAUSE_US or (pause >= FIRST_PAUSE_US and pause >= PAUSE_GROWS * self._pause)

    def add(self, call: PastCall) -> None:
        self._pause = self._pause_before(call)
        self._latest = call
        self.calls += 1
        self._by_digest[call.digest] = call
        self._unread.append(call)

    def _pause_before(self, call: PastCall) -> int:
        latest = self._latest
        return 0 if latest is None else max(0, (call.at - latest.at) - (call.busy - latest.busy))


def _window(past: Sequence[PastCall]) -> int:
    """How many of the latest calls to keep: with answers that ask for many calls at once, those of several answers."""
    if past[0].turn == past[-1].turn:
        return WINDOW  # no model asks for them
    first = past[-1].turn - TURNS + 1
    return min(WINDOW_MOST, max(WINDOW, sum(call.turn >= first for call in past)))


def _kind_of(call: PastCall, kind: str) -> Kind:
    if call.refused:
        return "refused"
    if not call.ok:
        return "failed"
    return "same" if kind == "same" else "near" if kind else "known"


def _alike(call: PastCall, other: PastCall) -> bool:
    """Whether a tool gave the same answer as before: to the same question, or in the same words."""
    if call.name != other.name or call.ok is not other.ok:
        return False
    if call.digest == other.digest:
        return True
    return call.result == other.result if call.ok else bool(call.failure) and call.failure == other.failure


def _alternates(calls: Sequence[PastCall]) -> bool:
    if len(calls) < 4:
        return False
    first, second, third, fourth = (call.name + call.digest for call in calls)
    return first == third and second == fourth and first != second


def _keys(shape: str) -> list[bytes]:
    """One for each leaf that may differ: all the others, which must agree. One leaf alone makes nothing near."""
    leaves = unpacked(shape.partition(".")[0]) if shape else []
    if len(leaves) < 2 and "." not in shape:
        return []
    return [b"%d:" % at + b"".join(leaves[:at] + leaves[at + 1 :]) for at in range(len(leaves))]


def _reworded(shape: str, other: str) -> bool:
    """Whether their texts, in which alone they differ, say nearly the same, with the same numbers."""
    _, numbers, sample = (shape + "..").split(".")[:3]
    _, its_numbers, its_sample = (other + "..").split(".")[:3]
    if not sample or not its_sample or numbers != its_numbers:
        return False
    words, its_words = set(unpacked(sample)), set(unpacked(its_sample))
    return len(words & its_words) >= SAME_WORDS * len(words | its_words)
