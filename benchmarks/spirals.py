"""Spirals: how many runs that go round in circles are found, how soon, and how many honest ones are taken for one.

Made-up runs of kinds and seeds that the detector was not tuned on, tickets of the simulated desk, and recorded runs of
tau-bench's airline and of SWE-agent with labels of our own. Nobody steps in: what is measured is when the detector
would have.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt

from benchmarks import spiral_cases, spiral_desk, spiral_recorded
from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure, quantile
from benchmarks.spiral_cases import SEEDS_SEEN, Case, Maker
from penstock.rules.spiral_detector import Detector
from penstock.rules.spirals import DEFAULT

GROUP = "Spirals"
Z = 1.96


@dataclass(slots=True)
class Tally:
    """How many of some runs reached each rung; ``delays``: calls from a spiral's beginning to the nudge."""

    runs: int = 0
    nudged: int = 0
    limited: int = 0
    stopped: int = 0
    delays: list[int] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Run the detector over a case."""
        rungs = rungs_of(case)
        self.runs += 1
        self.nudged += rungs[0] > 0
        self.limited += rungs[1] > 0
        self.stopped += rungs[2] > 0
        if rungs[0] and case.begins:
            self.delays.append(rungs[0] - case.begins + 1)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.runs + other.runs,
            self.nudged + other.nudged,
            self.limited + other.limited,
            self.stopped + other.stopped,
            self.delays + other.delays,
        )


def rungs_of(case: Case) -> tuple[int, int, int]:
    """The number of the call, from 1, after which the default nudge, limit and stop were reached; 0 = never."""
    detector = Detector()
    found = [0, 0, 0]
    for number, call in enumerate(case.calls(), 1):
        detector.take(call)
        for rung, threshold in enumerate((DEFAULT.nudge, DEFAULT.limit, DEFAULT.stop)):
            if detector.stretch.score >= threshold and not found[rung]:
                found[rung] = number
    return found[0], found[1], found[2]


def tally(cases: Iterable[Case]) -> Tally:
    """Of all cases."""
    total = Tally()
    for case in cases:
        total.add(case)
    return total


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share: E. B. Wilson, *Probable inference*, JASA 22 (1927)."""
    if not of:
        return 0.0, 1.0
    share, z2 = hits / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def made_up(makers: dict[str, Maker], seeds: Sequence[int]) -> dict[str, Tally]:
    """Of each kind, one run a seed."""
    return {kind: tally(spiral_cases.make(kind, maker, seed) for seed in seeds) for kind, maker in makers.items()}


def recorded(*, odd: bool) -> dict[str, list[tuple[int, int]]]:
    """The labelled runs of one half of the tasks by their label: run, and the call at which they would be nudged; runs
    that nobody has read are ``unread``."""
    labels = spiral_recorded.labels()
    found: dict[str, list[tuple[int, int]]] = {"calls": [], "words": [], "honest": [], "unread": []}
    for task, case in spiral_recorded.recorded():
        if (task % 2 == 1) is odd:
            label = labels.get(case.seed)
            found[label.kind if label else "unread"].append((case.seed, rungs_of(case)[0]))
    return found


async def measure(bench: Bench) -> list[Figure]:
    """Shares with their intervals."""
    seeds = range(SEEDS_SEEN, SEEDS_SEEN + (20 if bench.quick else 500))
    bench.say("made-up runs")
    spirals = made_up(spiral_cases.SPIRALS_HELD, seeds)
    honest = made_up(spiral_cases.HONEST_HELD, seeds)
    figures = [*_found("kinds not tuned on", spirals), *_spared("kinds not tuned on", honest)]
    hits, wrong = (sum(one.nudged for one in kinds.values()) for kinds in (spirals, honest))
    note = f"precision on {len(spirals)} kinds of spiral and {len(honest)} honest ones alike often"
    figures.append(_share("of those nudged, spirals, kinds not tuned on", hits, hits + wrong, note))
    figures += _found("kinds tuned on, other seeds", made_up(spiral_cases.SPIRALS_SEEN, seeds))
    figures += _spared("kinds tuned on, other seeds", made_up(spiral_cases.HONEST_SEEN, seeds))
    bench.say("tickets of the simulated desk")
    tickets = await spiral_desk.cases(11, 60 if bench.quick else 1_000, 0.3)
    figures += _found("simulated desk", {"desk": tally(case for case in tickets if case.begins)})
    figures += _spared("simulated desk", {"desk": tally(case for case in tickets if not case.begins)})
    bench.say("recorded runs")
    figures += _recorded("tau-bench airline, odd tasks, not tuned on", odd=True)
    figures += _recorded("tau-bench airline, even tasks, looked at", odd=False)
    for what, found in spiral_recorded.by_label().items():
        figures += _never_tried(f"{what}, not tuned on", found)
    return [*figures, _cost(bench)]


def _share(name: str, hits: int, of: int, note: str, aim: str = "") -> Figure:
    low, high = wilson(hits, of)
    words = f"{hits:,} of {of:,} runs; 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return Figure(GROUP, name, 100 * hits / of if of else 0.0, "%", aim, f"{words}. {note}".rstrip(". ") + ".")


def _found(what: str, kinds: dict[str, Tally]) -> list[Figure]:
    total = sum(kinds.values(), Tally())
    each = ", ".join(f"{kind} {100 * one.nudged / one.runs:.0f} %" for kind, one in kinds.items())
    each = f"The interval is over seeds of these kinds, not over kinds: {each}"
    figures = [_share(f"spirals found, {what}", total.nudged, total.runs, each if len(kinds) > 1 else "")]
    if total.delays:
        late = quantile(total.delays, 0.5), quantile(total.delays, 0.95)
        note = f"median; 95 % within {late[1]:g}"
        figures.append(Figure(GROUP, f"calls until the nudge, {what}", late[0], "calls", "", note))
    return figures


def _spared(what: str, kinds: dict[str, Tally]) -> list[Figure]:
    total = sum(kinds.values(), Tally())
    each = ", ".join(f"{kind} {one.nudged}" for kind, one in kinds.items())
    note = f"{total.limited} made to answer, {total.stopped} stopped. Nudged: {each}"
    return [_share(f"honest runs nudged, {what}", total.nudged, total.runs, note)]


def _recorded(what: str, *, odd: bool) -> list[Figure]:
    found = recorded(odd=odd)
    hits = [run for run, at in found["calls"] if at]
    wrong = [run for run, at in found["honest"] if at]
    words = sum(at > 0 for _, at in found["words"])
    unread = sum(at > 0 for _, at in found["unread"])
    missed = f"found: {hits}; {words} of {len(found['words'])} that circle in words alone"
    told = f"runs {wrong}; {unread} of {len(found['unread'])} unread ones"
    return [
        _share(f"spirals found, {what}", len(hits), len(found["calls"]), missed),
        _share(f"honest runs nudged, {what}", len(wrong), len(found["honest"]), told),
        _share(
            f"of those nudged, spirals, {what}", len(hits), len(hits) + len(wrong), "precision on the labelled runs"
        ),
    ]


def _never_tried(what: str, found: dict[str, list[Case]]) -> list[Figure]:
    hits, wrong = ([case.seed for case in found[kind] if rungs_of(case)[0]] for kind in ("calls", "honest"))
    return [
        _share(f"spirals found, {what}", len(hits), len(found["calls"]), f"found: {hits}"),
        _share(f"honest runs nudged, {what}", len(wrong), len(found["honest"]), f"runs {wrong}"),
    ]


def _cost(bench: Bench) -> Figure:
    """Microseconds a call, the sketches included that the gates make."""
    cases = [
        spiral_cases.make(kind, maker, seed)
        for kind, maker in (spiral_cases.HONEST_HELD | spiral_cases.SPIRALS_HELD).items()
        for seed in range(5 if bench.quick else 40)
    ]
    calls = [list(case.calls()) for case in cases]
    began = clock()
    for run in calls:
        detector = Detector()
        for call in run:
            detector.take(call)
    spent = clock() - began
    return Figure(GROUP, "the detector", 1e6 * spent / sum(map(len, calls)), "µs a call", "", "without the sketches")
