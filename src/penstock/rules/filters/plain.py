"""Filters as plain data: what a release keeps of them, and what of two of them differs, in words.

Classifiers are code. Here they have names, with what is done about what they find, so that a release says which it was
reviewed with; whoever reads it brings them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from penstock.kernel.errors import FiltersInvalid
from penstock.rules.filters import phone
from penstock.rules.filters.filters import SCORE_MIN, Action, Classified, Filters, PlaceName, Untrusted

Actions = dict[str, Action]
Score = Annotated[float, Meta(ge=0, le=1)]
NAMES_MAX = 100
_DONE = {"flag": "flagged", "redact": "redacted", "tokenise": "tokenised", "block": "blocked", "": "passed"}


class ClassifierPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is said of a classifier beside its code."""

    actions: Actions
    score_min: Score = SCORE_MIN
    on_failure: Literal["block", "pass"] = "block"


class _Plain(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of `Filters`; see there."""

    everywhere: Actions = {}
    output: Actions | None = None
    results: Actions | None = None
    arguments: Actions | None = None
    input: Actions | None = None
    patterns: Annotated[dict[str, str], Meta(max_length=NAMES_MAX)] = {}
    regions: Annotated[tuple[str, ...], Meta(max_length=NAMES_MAX)] = phone.REGIONS
    score_min: Score = SCORE_MIN
    classifiers: dict[str, ClassifierPart] = {}
    after_untrusted: Untrusted = "allow"
    trusted_input: bool = True


def plain_of(filters: Filters) -> dict[str, Any]:
    """What is declared, as JSON has it; fields that say nothing are left out, so that ``{}`` is no filters."""
    said = _Plain(
        dict(filters.everywhere),
        _copied(filters.output),
        _copied(filters.results),
        _copied(filters.arguments),
        _copied(filters.input),
        dict(filters.patterns),
        tuple(filters.regions),
        filters.score_min,
        {one.classifier.name: _part(one) for one in filters.classifiers},
        filters.after_untrusted,
        filters.trusted_input,
    )
    plain: dict[str, Any] = msgspec.to_builtins(said)
    return plain


def filters_of(plain: Any, own: Sequence[Classified] = ()) -> Filters:
    """Filters of their plain form. ``own``: the classifiers that are there.

    Raises:
        FiltersInvalid: a field that there is not or that cannot be so, or a classifier that is not there, or for which
            something else is said there.
    """
    said = _read(plain)
    there = {one.classifier.name: one for one in own}
    for name, part in said.classifiers.items():
        if name not in there:
            raise FiltersInvalid(f"the classifier {name[:80]!r} is not offered here")
        if _part(there[name]) != part:
            raise FiltersInvalid(f"of what the classifier {name[:80]!r} finds, something else is made here")
    return _filters(said, [one for name, one in there.items() if name in said.classifiers])


def settled(plain: Any, own: Sequence[Classified] = ()) -> dict[str, Any]:
    """The plain form of what somebody writes by hand: ``classifiers`` are a list of names; without one, all that the
    agent has.

    Raises:
        FiltersInvalid: as `filters_of`.
    """
    there = {one.classifier.name: one for one in own}
    if isinstance(plain, dict):
        names = plain.get("classifiers", list(there))
        if isinstance(names, list):
            if strange := [name for name in names if not isinstance(name, str) or name not in there]:
                has = ", ".join(there) or "none"
                raise FiltersInvalid(f"there is no classifier {str(strange[0])[:80]!r}; the agent has {has}")
            parts = {name: msgspec.to_builtins(_part(there[name])) for name in names}
            plain = {**plain, "classifiers": parts}
    return plain_of(filters_of(plain, own))


def changes(old: Any, new: Any) -> list[str]:
    """What the second does otherwise than the first, in words; [] = nothing. None = it says nothing of filters, so that
    those of the code count.

    Raises:
        FiltersInvalid: one of them cannot be read.
    """
    if old is None or new is None:
        if new is None:
            return [] if old is None else ["no filters of its own: those of the code count"]
        return ["filters of its own, in place of those of the code:", *(changes({}, new) or ["none"])]
    was, now = _read(old), _read(new)
    before, after = _filters(was, ()), _filters(now, ())
    lines: list[str] = []
    for place in get_args(PlaceName):
        then, here = before.places[place].actions, after.places[place].actions
        lines += [
            f"{place}: {kind} is {_DONE[here.get(kind, '')]}, was {_DONE[then.get(kind, '')]}"
            for kind in sorted({*then, *here})
            if then.get(kind) != here.get(kind)
        ]
    lines += _named("the pattern", was.patterns, now.patterns)
    lines += _named("the classifier", was.classifiers, now.classifiers)
    if was.regions != now.regions:
        lines.append(f"telephone numbers of {', '.join(now.regions)}, was {', '.join(was.regions)}")
    if was.score_min != now.score_min:
        lines.append(f"findings count from a score of {now.score_min:g}, was {was.score_min:g}")
    if was.after_untrusted != now.after_untrusted:
        lines.append(f"after something untrusted: {now.after_untrusted}, was {was.after_untrusted}")
    if was.trusted_input != now.trusted_input:
        lines.append(f"its input is {'' if now.trusted_input else 'not '}to be trusted")
    return lines


def _named(what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted({*was, *now}):
        before, after = _shown(was.get(name)), _shown(now.get(name))
        if before != after:
            lines.append(f"{what} {name} is {after or 'gone'}, was {before or 'not there'}")
    return lines


def _shown(said: Any) -> str:
    if said is None or isinstance(said, str):
        return said or ""
    acts = ", ".join(f"{kind}={action}" for kind, action in sorted(said.actions.items()))
    return f"{acts} from a score of {said.score_min:g}, {said.on_failure} when it fails"


def _read(plain: Any) -> _Plain:
    try:
        return msgspec.convert(plain, _Plain)
    except msgspec.ValidationError as error:
        raise FiltersInvalid(f"filters cannot be read: {error}") from error


def _filters(said: _Plain, classifiers: Sequence[Classified]) -> Filters:
    given = {name: getattr(said, name) for name in _Plain.__struct_fields__ if name != "classifiers"}
    return Filters(**given, classifiers=tuple(classifiers))


def _copied(actions: Mapping[str, Action] | None) -> Actions | None:
    return None if actions is None else dict(actions)


def _part(one: Classified) -> ClassifierPart:
    return ClassifierPart(dict(one.actions), float(one.score_min), one.on_failure)
