"""Approvals: a person decides on exact arguments, once."""

from penstock.events.envelope import Event, RuleVerdict


class ApprovalRequested(Event, tag="approval.requested"):
    """A call waits for a person. ``payloads.args`` are the arguments; ``digest`` is SHA-256 of their RFC 8785 form."""

    approval: str
    tool: str
    digest: str
    call_digest: str = ""  # the stored form's digest, what replay compares
    call_id: str = ""
    risk: str = "high"
    question: str = "may_run"  # may_run | did_it_happen
    policy: str = ""  # policy version it was asked under
    expires: int = 0  # microseconds since the epoch
    verdicts: list[RuleVerdict] = []


class ApprovalDecided(Event, tag="approval.decided"):
    """``actor`` is who decided; ``payloads.reason`` their words."""

    approval: str
    decision: str  # approve | deny | expired | withdrawn | happened | did_not_happen | mismatch
    digest: str = ""
