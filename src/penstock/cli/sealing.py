"""How a stop is reported: when it was sealed, what was open then, what became of that."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.cli.output import note, say
from penstock.cli.text import plural, safe
from penstock.views.lines import clock_time

if TYPE_CHECKING:
    from penstock.ports.records import OpenIntent, Sealed
    from penstock.views.open_calls import OpenCall


def as_json_of(sealed: "Sealed") -> dict[str, Any]:
    """The fields of an acknowledgement."""
    return {
        "control": sealed.control,
        "sealed": sealed.sealed,
        "at": sealed.at,
        "open": sealed.open_intents,
        "blockers": sealed.blockers,
    }


def print_sealed(what: str, sealed: "Sealed") -> None:
    """Say whether and since when nothing new starts, and which calls were under way then."""
    if sealed.sealed:
        say(f"{what}: sealed at {clock_time(sealed.at)}; nothing new starts in its scope")
    else:
        say(f"{what}: not sealed; a call may still start")
        for blocker in sealed.blockers:
            say(f"  held up by {safe(blocker)}")
    if not sealed.open_intents:
        say("no call was under way")
        return
    say(f"{plural(len(sealed.open_intents), 'call')} under way then:")
    for intent in sealed.open_intents:
        over = "its time was over at" if intent.ends_by <= sealed.at else "over at the latest by"
        say(f"  {intent_words(intent)}, {over} {clock_time(intent.ends_by)}")


def intent_words(intent: "OpenIntent | OpenCall") -> str:
    """Which call it is."""
    attempt = f", attempt {intent.attempt}" if intent.attempt > 1 else ""
    return f"{safe(intent.name)} at {intent.path} of run {intent.run}{attempt}"


def print_quiesced(calls: "Sequence[OpenCall]") -> None:
    """Say how each of the calls that were under way has ended, or that it is in doubt."""
    doubts = [call for call in calls if call.status == "in_doubt"]
    for call in calls:
        say(f"  {intent_words(call)}: {call.status.replace('_', ' ')}")
    if doubts:
        say(f"quiesced; {plural(len(doubts), 'call')} in doubt: they may or may not have taken effect")
        note("  hint: ask the receiving systems; nothing will repeat these calls while the kill holds")
    else:
        say("quiesced")
