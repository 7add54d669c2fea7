"""Timers."""

from penstock.events.envelope import Event


class TimerSet(Event, tag="timer.set"):
    """The agent sleeps until ``until`` (microseconds since the epoch), or has so long for what it does next."""

    until: int
    duration: int = 0  # microseconds asked for
    name: str = "sleep"  # sleep | timeout


class TimerFired(Event, tag="timer.fired"):
    """The time had come. A time-out fires twice: then it cuts short what goes on inside it, and once all of that has
    ended (``settled``) the agent goes on."""

    late: int = 0  # microseconds after ``until``
    settled: bool = False
