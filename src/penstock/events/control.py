"""Stops and pauses as the run met them."""

from penstock.events.envelope import Event


class ControlApplied(Event, tag="control.applied"):
    """``actor`` asked for it; ``payloads.reason`` holds their words."""

    action: str  # kill | cancel | pause | resume
    scope: str  # run | agent | tool | customer | tenant | everything
    control: str = ""  # id of the control row
