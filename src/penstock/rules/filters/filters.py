"""What an agent declares of its filters: what is looked for, where, and what is done about it."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Literal, get_args

from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import FiltersInvalid
from penstock.ports.classifiers import ContentClassifier, Finding
from penstock.rules.filters import cards, custom, email, iban, national, phone, secrets
from penstock.rules.filters.custom import PatternUnsafe
from penstock.rules.filters.finding import GROUPS, KINDS

VERSION = 1
"""Of what is found and how it is replaced: part of an agent's release."""
Action = Literal["flag", "redact", "tokenise", "block"]
PlaceName = Literal["output", "results", "arguments", "input"]
Untrusted = Literal["allow", "hold", "deny"]
STRICTNESS: dict[str, int] = {"flag": 0, "redact": 1, "tokenise": 2, "block": 3}
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
SCORE_MIN = 0.5
_FINDERS: dict[str, Callable[[str], Iterable[Finding]]] = {
    "card": cards.find,
    "iban": iban.find,
    "email": email.find,
    "national_id": national.find,
    "secret": secrets.find,
}
_TEXT = re.compile(r"(?:([a-z]+):)?([a-z_,]+)=([a-z]+)")


@dataclass(frozen=True, slots=True)
class Classified:
    """A classifier that is asked as well, and what is done about the kinds that it finds.

    Attributes:
        classifier: see `penstock.ports.classifiers`.
        actions: what is done, by the classifier's own kinds; others that it finds are passed over.
        score_min: findings of a lower score are passed over.
        timeout_seconds: how long it has. One that fails or is late counts as one that found something to block, unless
            nothing it finds is ever blocked and ``on_failure`` is ``pass``.
        on_failure: ``block``, or ``pass``.
    """

    classifier: ContentClassifier
    actions: Mapping[str, Action]
    score_min: float = SCORE_MIN
    timeout_seconds: float = 2.0
    on_failure: Literal["block", "pass"] = "block"

    def __post_init__(self) -> None:
        _actions(self.classifier.name, self.actions, None)
        if "tokenise" in self.actions.values():
            raise FiltersInvalid(f"{self.classifier.name}: what a classifier finds can be redacted, not tokenised")
        if self.on_failure == "pass" and "block" in self.actions.values():
            raise FiltersInvalid(f"{self.classifier.name} blocks, so it cannot be passed over when it fails")
        if not 0 < self.timeout_seconds <= 60:
            raise FiltersInvalid(f"{self.classifier.name} has {self.timeout_seconds!r} s; 0 < it <= 60")

    @property
    def part(self) -> str:
        """What makes another release."""
        return f"{self.classifier.name} {sorted(self.actions.items())} {self.score_min} {self.on_failure}"


@dataclass(frozen=True, slots=True)
class Place:
    """The filters of one place, ready for use."""

    actions: Mapping[str, Action]
    finders: Sequence[Callable[[str], Iterable[Finding]]]
    score_min: float
    classifiers: Sequence[Classified] = ()
    widest: int = 0
    """Characters that one of the agent's own patterns may match, at most; 0 = there is none here."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look for."""
        return not self.finders and not self.classifiers


IDLE = Place({}, (), SCORE_MIN)
"""Where nothing is looked for."""


@dataclass(frozen=True)
class Filters:
    """What is looked for in an agent's outputs, in what its tools return, and in what they are given.

    An action is ``flag`` (counted), ``redact`` (``[card]`` stands in its place), ``tokenise`` (a token stands in its
    place, and tools that declare it get the value back) or ``block`` (the answer, the result or the call as a whole).
    Kinds are ``card``, ``iban``, ``phone``, ``email``, ``national_id``, ``secret``, the groups ``pii`` and ``all``,
    and the names of ``patterns``.

    Attributes:
        everywhere: actions by kind, for each place that is not said anything of. What tools are given is changed only
            where ``arguments`` says so: of ``everywhere`` only ``block`` and ``flag`` count there. What runs are given
            is filtered only where ``input`` says so.
        output: what models say, before the agent sees it, and before whoever listens hears it.
        results: what tools return, and say when they fail.
        arguments: what tools are given.
        patterns: regular expressions by name, with bounds (see `penstock.rules.filters.custom`).
        regions: countries whose telephone numbers are known without a country code; default 25 of them.
        score_min: findings of a lower score are passed over.
        classifiers: asked besides, for output and results, and for input where ``input`` is said.
        after_untrusted: what becomes of a write after the run has read something untrusted, unless the arguments that
            its tool declares in ``grounded`` are in the words of whoever asked.
        trusted_input: False = the run's own input was written by a stranger (a mail, a ticket): it counts as untrusted.
        input: what runs are given: their input before it is stored, events that they wait for and what people answer
            before they are recorded. None = nothing of it is looked at, whatever ``everywhere`` says.

    Raises:
        FiltersInvalid: an unknown kind, action or region, or a pattern that could run away.
    """

    everywhere: Mapping[str, Action] = field(default_factory=dict)
    output: Mapping[str, Action] | None = None
    results: Mapping[str, Action] | None = None
    arguments: Mapping[str, Action] | None = None
    patterns: Mapping[str, str] = field(default_factory=dict)
    regions: Sequence[str] = phone.REGIONS
    score_min: float = SCORE_MIN
    classifiers: Sequence[Classified] = ()
    after_untrusted: Untrusted = "allow"
    trusted_input: bool = True
    input: Mapping[str, Action] | None = None
    places: Mapping[PlaceName, Place] = field(init=False, repr=False, compare=False)
    part: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.after_untrusted not in get_args(Untrusted):
            raise FiltersInvalid(f"after_untrusted is {self.after_untrusted!r}; there are allow, hold, deny")
        unknown = [region for region in self.regions if not phone.is_region(region)]
        if unknown:
            raise FiltersInvalid(
                f"{unknown[0]!r} is no country with telephone numbers; write two letters, such as 'US'"
            )
        try:
            patterns = {name: custom.compiled(name, text) for name, text in self.patterns.items()}
        except PatternUnsafe as error:
            raise FiltersInvalid(str(error)) from error
        wrong = [name for name in patterns if name in (*KINDS, *GROUPS) or not NAME.fullmatch(name)]
        if wrong:
            raise FiltersInvalid(f"{wrong[0]!r} cannot name a pattern: it is taken, or no short lower-case word")
        common = _actions("everywhere", self.everywhere, patterns)
        given: dict[str, Action] = {kind: action for kind, action in common.items() if action in ("block", "flag")}
        actions: dict[PlaceName, dict[str, Action]] = {
            "output": common if self.output is None else _actions("output", self.output, patterns),
            "results": common if self.results is None else _actions("results", self.results, patterns),
            "arguments": given if self.arguments is None else _actions("arguments", self.arguments, patterns),
        }
        if self.input is not None:  # agents that say nothing of it keep their releases
            actions["input"] = _actions("input", self.input, patterns)
        places = {name: self._place(name, said, patterns) for name, said in actions.items()}
        places.setdefault("input", IDLE)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "part", self._part(actions))

    def _place(self, name: PlaceName, actions: dict[str, Action], patterns: dict[str, re.Pattern[str]]) -> Place:
        finders = [finder for kind, finder in _FINDERS.items() if kind in actions]
        if "phone" in actions:
            finders.append(partial(phone.find, regions=tuple(self.regions)))
        own = {kind: pattern for kind, pattern in patterns.items() if kind in actions}
        if own:
            finders.append(custom.finder(own))
        asked = () if name == "arguments" else tuple(self.classifiers)
        return Place(actions, finders, self.score_min, asked, max(map(custom.widest, own.values()), default=0))

    def _part(self, actions: dict[PlaceName, dict[str, Action]]) -> str:
        said = [
            VERSION,
            {name: dict(sorted(place.items())) for name, place in actions.items()},
            dict(sorted(self.patterns.items())),
            list(self.regions),
            self.score_min,
            [one.part for one in self.classifiers],
            self.after_untrusted,
            self.trusted_input,
        ]
        return f"filters: {hashlib.sha256(stable_json(said)).hexdigest()[:16]}"

    @property
    def tokenises(self) -> bool:
        """Whether tokens are put in the place of anything."""
        return any("tokenise" in place.actions.values() for place in self.places.values())


def leaving(actions: Mapping[str, Action], **options: Any) -> Filters:
    """Filters of answers that leave as they are: whoever gets them makes the calls in them, past the gates, so that
    what is said of words counts for calls too. ``options``: fields of `Filters`.

    Raises:
        FiltersInvalid: as `Filters`.
    """
    filters = Filters(output=actions, **options)
    places = {**filters.places, "arguments": filters.places["output"]}
    object.__setattr__(filters, "places", places)
    return filters


def _actions(where: str, said: Mapping[str, Any], patterns: Mapping[str, Any] | None) -> dict[str, Action]:
    """Groups written out; what is said of a kind by its own name counts before what is said of its group."""
    groups: dict[str, Action] = {}
    single: dict[str, Action] = {}
    for kind, action in said.items():
        if action not in STRICTNESS:
            raise FiltersInvalid(f"{where} says {action!r} of {kind}; there are {', '.join(STRICTNESS)}")
        if patterns is not None and kind in GROUPS:
            names = (*GROUPS[kind], *patterns) if kind == "all" else GROUPS[kind]
            groups |= dict.fromkeys(names, action)
        elif patterns is None or kind in KINDS or kind in patterns:
            single[kind] = action
        else:
            known = ", ".join((*KINDS, *GROUPS, *patterns))
            raise FiltersInvalid(f"{where} names {kind!r}, which nothing looks for; there are {known}")
    return groups | single


@lru_cache(maxsize=16)
def read_filters(text: str) -> Filters | None:
    """Filters as a setting writes them: ``pii=redact secret=block input:card=redact untrusted=hold``, with a place
    before what is said of it alone; None when it is empty.

    Raises:
        FiltersInvalid: it is written in another way.
    """
    said: dict[str, dict[str, Any]] = {}
    untrusted: Any = "allow"
    for word in text.split():
        match = _TEXT.fullmatch(word)
        if match is None or match[1] not in (None, *get_args(PlaceName)):
            raise FiltersInvalid(f"{word[:40]!r} is not of the form kind,kind=action, or place:kind,kind=action")
        for kind in match[2].split(","):
            if kind == "untrusted" and not match[1]:
                untrusted = match[3]
            else:
                said.setdefault(match[1] or "everywhere", {})[kind] = match[3]
    if not text.split():
        return None
    places: dict[str, Any] = {name: said.get(name) for name in get_args(PlaceName)}
    return Filters(said.get("everywhere", {}), **places, after_untrusted=untrusted)
