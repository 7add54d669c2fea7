"""Timers."""

from penstock.events.envelope import Event


class TimerSet(Event, tag="timer.set"):
    """The agent sleeps until ``until`` (microseconds since the epoch)."""

    until: int
    duration: int = 0  # microseconds asked for


class TimerFired(Event, tag="timer.fired"):
    """The time had come."""

    late: int = 0  # microseconds after ``until``
