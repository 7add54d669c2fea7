"""Reading the calls that are over off a run's events: the one way in which gates and views come to know them."""

from collections.abc import Callable
from typing import Any

from penstock.events import (
    ANSWERED,
    ApprovalDecided,
    ApprovalRequested,
    ChildIntent,
    ChildOutcome,
    Event,
    MessageReceived,
    ModelIntent,
    ModelOutcome,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
)
from penstock.rules.past import PastCall, Spoken
from penstock.rules.spiral_detector import Detector, Stretch

NOT_APPROVED = frozenset(("deny", "expired", "withdrawn"))
OK = frozenset(("ok", "happened"))


class TapeReader:
    """Fed with a run's events in order, it feeds the detector."""

    def __init__(self, past: list[PastCall] | None = None, spoken: Spoken | None = None) -> None:
        """``past`` and ``spoken`` are those of another reader, to go on from."""
        self.detector = Detector(past or ())
        self.spoken = spoken or Spoken()
        if self.spoken.heard:
            self.detector.hear()
        self._open: dict[str, PastCall] = {}

    def take(self, event: Event) -> Stretch | None:
        """The next event; the stretch of calls in vain that ended with it, if one did."""
        read = READ.get(type(event))
        call: PastCall | None = read(self, event) if read is not None else None
        if call is None:
            return None
        spoken = self.spoken
        call.path, call.at = event.path, event.at
        call.nano, call.busy, call.turn = spoken.nano, spoken.busy, spoken.turn
        call.said, call.prompt, call.heard = spoken.said, spoken.prompt, spoken.heard
        spoken.heard = False
        return self.detector.take(call)

    def hear(self) -> None:
        """A message has come from outside."""
        self.spoken.heard = True
        self.detector.hear()

    def take_model_intent(self, event: ModelIntent) -> None:
        if event.heard:
            self.hear()

    def take_model_outcome(self, event: ModelOutcome) -> None:
        spoken = self.spoken
        spoken.nano += event.used.nano
        spoken.busy += event.latency
        if event.status in ANSWERED and not event.again:
            spoken.turn += 1
            spoken.said = event.said
            if event.status == "ok":  # of a cached answer nobody counted the prompt
                spoken.prompt = event.used.tokens_in

    def take_tool_intent(self, event: ToolIntent) -> None:
        self._open[event.path] = PastCall(
            event.tool,
            event.digest,
            ok=False,
            shape=event.shape,
            write=event.effect == "write",
            repeatable=event.repeatable,
        )

    def take_tool_outcome(self, event: ToolOutcome) -> PastCall | None:
        self.spoken.nano += event.used.nano
        if event.again:
            return None
        call = self._open.pop(event.path, None)
        if call is not None:
            call.ok = event.status in OK
            call.result, call.facts = _ref(event, "result"), event.facts
            call.failure = f"{event.failure.code} {event.failure.words}" if event.failure is not None else ""
        return call

    def take_approval_requested(self, event: ApprovalRequested) -> None:
        self._open.setdefault(event.path, PastCall(event.tool, event.call_digest, ok=False))

    def take_approval_decided(self, event: ApprovalDecided) -> PastCall | None:
        call = self._open.pop(event.path, None) if event.decision in NOT_APPROVED else None
        if call is not None:
            call.refused = True
        elif event.decision == "answer":
            call = self._open.pop(event.path, None)
            if call is not None:
                call.ok = True
        return call

    def take_verdict(self, event: VerdictRecorded) -> PastCall | None:
        return None if event.gate == "model" else PastCall(event.name, event.digest, ok=False, refused=True)

    def take_child_intent(self, event: ChildIntent) -> None:
        self._open[event.path] = PastCall(event.child_agent, event.digest, ok=False)

    def take_child_outcome(self, event: ChildOutcome) -> PastCall | None:
        self.spoken.nano += event.totals.nano
        call = self._open.pop(event.path, None)
        if call is not None:
            call.ok, call.result = event.outcome == "succeeded", _ref(event, "output")
            call.failure = event.code
        return call

    def take_message(self, event: MessageReceived) -> None:
        self.hear()


def _ref(event: Event, name: str) -> str:
    refs = event.payloads.get(name)
    return refs[0] if refs else ""


READ: dict[type[Event], Callable[[TapeReader, Any], PastCall | None]] = {
    ModelIntent: TapeReader.take_model_intent,
    ModelOutcome: TapeReader.take_model_outcome,
    ToolIntent: TapeReader.take_tool_intent,
    ToolOutcome: TapeReader.take_tool_outcome,
    ApprovalRequested: TapeReader.take_approval_requested,
    ApprovalDecided: TapeReader.take_approval_decided,
    VerdictRecorded: TapeReader.take_verdict,
    ChildIntent: TapeReader.take_child_intent,
    ChildOutcome: TapeReader.take_child_outcome,
    MessageReceived: TapeReader.take_message,
}
"""Kinds of events that say something of calls, and what is read of each."""
