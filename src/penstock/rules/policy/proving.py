"""What can be proved of a policy: rules that can never decide, rules at odds, and what a change newly allows.

With the solver z3 (``pip install 'penstock[policy]'``). What it says never happens does not; what it says happens comes
with a call for which the policy itself was asked. Where it finds none in its time, that is said.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import ProverMissing
from penstock.rules.policy.cases import CallText
from penstock.rules.policy.explaining import decide_safely
from penstock.rules.policy.policy_set import CompiledRule, PolicySet
from penstock.rules.verdict import Verdict

if TYPE_CHECKING:
    from penstock.rules.policy.encoding import Outcome, Pair, Space

QUESTION_MS = 5000
SECONDS_MAX = 30.0
"""For all questions about a policy or a change; what is not answered by then is not decided."""
BUSY_SECONDS = 10.0
PAIRS_MAX = 300
TRIES = 5
"""Examples that are asked for until one is confirmed by the policy itself."""


@dataclass(slots=True, frozen=True)
class Proof:
    """One thing that was found out about a policy, or about a change of it.

    Attributes:
        kind: never_applies | decides_nothing | overlap | at_odds | newly_<verdict> | not_decided.
        words: what, for people.
        rules: the rules that it is about.
        call: an example, asked and confirmed; None where there is none to show.
        place: where the first of the rules stands; empty for a change.
    """

    kind: str
    words: str
    rules: tuple[str, ...] = ()
    call: CallText | None = None
    place: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it is a mistake in the policy, and not only worth knowing."""
        return self.kind in ("never_applies", "decides_nothing", "at_odds")

    def plain(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "words": self.words,
            "rules": list(self.rules),
            "place": self.place,
            "example": None if self.call is None else plain_call(self.call),
        }


def plain_call(text: CallText) -> dict[str, Any]:
    """A call as a test would write it."""
    call = text.call
    said: dict[str, Any] = {"tool": call.tool, "effect": call.effect, "risk": call.risk, "args": call.args}
    for name in ("agent", "release", "environment", "tenant", "behalf", "tags", "taint"):
        value = getattr(call, name)
        if value and (name, value) not in (("environment", "development"), ("tenant", "default")):
            said[name] = dict(value) if name in ("tags", "taint") else value
    if text.before:
        said["before"] = [{"tool": tool, "args": args} for tool, args, _ in text.before[:20]]
    return said


_solver_lock = threading.Lock()  # z3 keeps all formulas of a process in one place that knows no threads


@contextlib.contextmanager
def _solving(*policies: PolicySet) -> "Iterator[_Question | None]":
    """The solver for these policies; None while another thread asks it."""
    if not _solver_lock.acquire(timeout=BUSY_SECONDS):
        yield None
        return
    try:
        yield _Question(*policies)
    finally:
        _solver_lock.release()


_BUSY = Proof("not_decided", "nothing was proved: the solver is busy with another policy")


def analyse(policy: PolicySet) -> list[Proof]:
    """Rules that can never apply or decide, and rules that speak against each other.

    Raises:
        ProverMissing: z3 is not installed.
    """
    with _solving(policy) as question:
        return [_BUSY] if question is None else _analyse(question, policy)


def _analyse(question: "_Question", policy: PolicySet) -> list[Proof]:
    space, found = question.space, []
    pairs = [(rule, space.rule(rule)) for rule in policy.rules]
    outcome = space.outcome(policy)
    for rule, pair in pairs:
        place = str(rule.text.place)
        name = rule.text.name
        applies = pair.holds if rule.text.then is Verdict.ALLOW else pair.counts
        possible = question.ask(applies)
        if possible is False:
            found.append(Proof("never_applies", f"{name}: its conditions contradict each other", (name,), None, place))
            continue
        decides = question.ask(_decides(rule, pair, pairs, outcome, space))
        if decides is False:
            words = f"{name}: it decides nothing: {_why_not(rule)}"
            found.append(Proof("decides_nothing", words, (name,), None, place))
        if possible is None or decides is None:
            found.append(Proof("not_decided", f"{name}: the solver found no answer in its time", (name,), None, place))
    return found + _overlaps(question, pairs, policy)


def newly(old: PolicySet, new: PolicySet) -> list[Proof]:
    """What a change makes of calls, the least strict first: newly allowed, then held, then denied, with an example.

    Raises:
        ProverMissing: z3 is not installed.
    """
    with _solving(old, new) as question:
        return [_BUSY] if question is None else _newly(question, old, new)


def _newly(question: "_Question", old: PolicySet, new: PolicySet) -> list[Proof]:
    before, after = question.space.outcome(old), question.space.outcome(new)
    import z3

    found = []
    for then in Verdict:
        for was in sorted(Verdict, reverse=True):
            if was is then:
                continue
            formula = z3.And(before.of(was), after.of(then))
            call, answer = question.example(
                formula, lambda text, was=was, then=then: _is(old, text, was) and _is(new, text, then)
            )
            kind, change = f"newly_{then.name.lower()}", f"{_PAST[was]} before, is now {_PAST[then]}"
            if call is not None:
                clause = decide_safely(new, call.made(new)).clause
                words = f"what was {change}" + (f", by {clause}" if clause else "")
                found.append(Proof(kind, words, (clause,) if clause else (), call))
            elif answer is not False:
                words = f"something that was {change}, perhaps: the solver found no example that holds"
                found.append(Proof("not_decided", words))
    return found


_PAST = {Verdict.ALLOW: "allowed", Verdict.FLAG: "flagged", Verdict.HOLD: "held", Verdict.DENY: "denied"}


def _is(policy: PolicySet, text: CallText, verdict: Verdict) -> bool:
    return decide_safely(policy, text.made(policy)).verdict is verdict


class _Question:
    """The solver, with all that holds of every call."""

    def __init__(self, *policies: PolicySet) -> None:
        try:
            import z3
        except ImportError as error:
            raise ProverMissing("the solver z3 is not installed, and nothing can be proved without it") from error
        from penstock.rules.policy.encoding import Space

        self._z3 = z3
        self.space: Space = Space()
        for policy in policies:
            self.space.outcome(policy)
        self._solver = z3.Solver()
        self._solver.set("timeout", QUESTION_MS)
        self._solver.set("random_seed", 0)
        self._until = wall_seconds() + SECONDS_MAX
        self._solver.add(*self.space.sense())

    def ask(self, formula: Any) -> bool | None:
        """Whether some call fulfils it; None = not known in time."""
        if wall_seconds() > self._until:
            return None
        self._solver.push()
        try:
            self._solver.add(formula)
            answer = self._solver.check()
        finally:
            self._solver.pop()
        return None if answer == self._z3.unknown else bool(answer == self._z3.sat)

    def example(self, formula: Any, holds: Any) -> tuple[CallText | None, bool | None]:
        """A call that fulfils it and of which ``holds`` is true; and whether the solver thinks that there is one."""
        if wall_seconds() > self._until:
            return None, None
        plainer = self.space.alone()
        if plainer:
            text, _ = self._examples(self._z3.And(formula, *plainer), holds)
            if text is not None:
                return text, True
        return self._examples(formula, holds)

    def _examples(self, formula: Any, holds: Any) -> tuple[CallText | None, bool | None]:
        from penstock.rules.policy.counterexample import example

        self._solver.push()
        try:
            self._solver.add(formula)
            for number in range(TRIES):
                answer = self._solver.check()
                if answer != self._z3.sat:
                    return None, None if number or answer == self._z3.unknown else False
                model = self._solver.model()
                text = example(self.space, model)
                if holds(text):
                    return _plainest(text, holds), True
                self._solver.add(self._other_than(model))
        finally:
            self._solver.pop()
        return None, True

    def _other_than(self, model: Any) -> Any:
        free = [*self.space.free.values(), *(known for known, _ in self.space.measures.values())]
        free += [value.kind for value in self.space.values.values()]
        differing = [variable != model.eval(variable, model_completion=True) for variable in free]
        return self._z3.Or(*differing) if differing else self._z3.BoolVal(False)


def _apply(policy: PolicySet, text: CallText, *rules: CompiledRule) -> bool:
    """Whether all of these rules apply to the call."""
    call = text.made(policy)
    return all(rule.concerns(call) and rule.applies(call) is True for rule in rules)


def _plainest(text: CallText, holds: Any) -> CallText:
    """The same example without what plays no part in it."""
    for part in ("args", "tags", "taint"):
        for name in list(getattr(text.call, part)):
            less = {key: value for key, value in getattr(text.call, part).items() if key != name}
            call = dataclasses.replace(text.call, **{part: less})  # type: ignore[arg-type]
            tried = CallText(call, text.before)
            text = tried if holds(tried) else text
    alone = CallText(text.call)
    text = alone if holds(alone) else text
    for name, plain in (
        ("effect", "write"),
        ("risk", "medium"),
        ("agent", ""),
        ("release", ""),
        ("environment", "development"),
        ("tenant", "default"),
    ):
        tried = CallText(dataclasses.replace(text.call, **{name: plain}), text.before)  # type: ignore[arg-type]
        text = tried if holds(tried) else text
    return text


def _decides(
    rule: CompiledRule, pair: "Pair", pairs: "list[tuple[CompiledRule, Pair]]", outcome: "Outcome", space: "Space"
) -> Any:
    """That the rule makes a difference: that a call would fare otherwise without it, or be held on other terms."""
    import z3

    others = [(more, other) for more, other in pairs if more is not rule]
    then = rule.text.then
    if then is Verdict.DENY:
        denied = [other.counts for more, other in others if more.text.then is Verdict.DENY]
        return z3.And(pair.counts, space.text("risk") != "prohibited", z3.Not(z3.Or(*denied)))
    if then is Verdict.HOLD:
        if rule.text.terms is not None:
            return z3.And(pair.counts, outcome.hold)
        held = [other.counts for more, other in others if more.text.then is Verdict.HOLD]
        return z3.And(pair.counts, z3.Not(outcome.deny), z3.Not(z3.Or(*held)))
    if then is Verdict.FLAG:
        marked = [other.counts for more, other in others if more.text.then is Verdict.FLAG]
        return z3.And(pair.counts, outcome.flag, z3.Not(z3.Or(*marked)))
    high = space.text("risk") == "high"
    granted = [
        other.holds if more.names_high else z3.And(other.holds, z3.Not(high))
        for more, other in others
        if more.text.then is Verdict.ALLOW
    ]
    grants = pair.holds if rule.names_high else z3.And(pair.holds, z3.Not(high))
    needed = z3.Or(high, space.text("effect") != "read")
    return z3.And(grants, needed, z3.Or(outcome.allow, outcome.flag), z3.Not(z3.Or(*granted)))


def _why_not(rule: CompiledRule) -> str:
    if rule.text.then is Verdict.ALLOW:
        return "others allow it already, a stricter rule covers it, it is about reads, or about high risk unnamed"
    return "other rules say the same or something stricter of every call that it is about"


def _overlaps(question: _Question, pairs: "list[tuple[CompiledRule, Pair]]", policy: PolicySet) -> list[Proof]:
    """Pairs of rules that speak of one call and say different things of it."""
    import z3

    from penstock.rules.policy.encoding import are_at_odds

    found: list[Proof] = []
    allows = [(rule, pair) for rule, pair in pairs if rule.text.then is Verdict.ALLOW]
    holds = [(rule, pair) for rule, pair in pairs if rule.text.then is Verdict.HOLD]
    denies = [(rule, pair) for rule, pair in pairs if rule.text.then is Verdict.DENY]
    wanted = [
        (one, other) for place, one in enumerate(holds) for other in holds[:place] if are_at_odds(one[0], other[0])
    ]
    at_odds = len(wanted)
    wanted += [(one, other) for one in allows for other in (*holds, *denies)]
    for number, ((rule, pair), (other, pair_of_other)) in enumerate(wanted):
        if number >= PAIRS_MAX:
            words = f"{len(wanted) - number:,} more pairs of rules were not compared; the bound is {PAIRS_MAX}"
            found.append(Proof("not_decided", words))
            break
        first, second = rule.text.name, other.text.name
        if number < at_odds:
            call, _ = question.example(
                z3.And(pair.counts, pair_of_other.counts),
                lambda text: decide_safely(policy, text.made(policy)).verdict is Verdict.DENY,
            )
            words = f"{first} and {second} hold one call, and nobody may answer for both: it is denied"
            kind = "at_odds"
        else:
            call, _ = question.example(
                z3.And(pair.holds, pair_of_other.holds),
                lambda text, rule=rule, other=other: _apply(policy, text, rule, other),
            )
            kind, verb = "overlap", "holds" if other.text.then is Verdict.HOLD else "denies"
            words = f"{first} allows what {second} {verb}: the stricter wins"
        if call is not None:
            found.append(Proof(kind, words, (first, second), call, str(rule.text.place)))
    return found
