"""Verdicts that stopped or marked a call. Verdicts on calls that went ahead are in their intents."""

from penstock.events.envelope import Event, RuleVerdict


class VerdictRecorded(Event, tag="verdict.recorded"):
    """A gate's answer to a call that was not made. ``payloads.args`` is what was asked."""

    gate: str  # model | tool | child
    name: str  # the model, tool or agent asked for
    verdict: str  # deny | hold | flag
    digest: str = ""
    call_id: str = ""
    passed: list[str] = []
    verdicts: list[RuleVerdict] = []
    ends_run: bool = False  # a limit was reached: the run ends with it
